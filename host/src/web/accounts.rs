//! Users as Open WebUI has them: accounts, sessions, API keys, groups and permissions.

mod api_key;
mod groups;
mod keys;
mod open_sessions;
mod sessions;
mod setup;
mod sign_in_attempt;
mod users;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::routing::get;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use pinhole_ground::audit::Actor;

use super::auth::{Administrator, User};
use super::error::ApiError;
use super::extractors::Json;
use super::json_body::JsonLimits;
use crate::accounts::SignUp;
use crate::app::App;
use sessions::Session;

/// Limits of a request body. Some of these routes are public.
const ACCOUNT_JSON: JsonLimits = JsonLimits {
    max_bytes: 64 << 10,
    ..JsonLimits::FORM
};

/// Path of the image that clients show for every user.
const PROFILE_IMAGE_URL: &str = "/user.png";

/// Clients write some paths with a slash at the end and without.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(sessions::describe))
        .route("/api/v1/auths", get(sessions::describe))
        .routes(routes!(sessions::sign_up))
        .routes(routes!(sessions::sign_in))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(setup::describe, setup::set_up))
        .routes(routes!(add_user))
        .routes(routes!(change_password))
        .routes(routes!(
            api_key::describe,
            api_key::replace,
            api_key::delete
        ))
        .merge(keys::routes())
        .merge(open_sessions::routes())
        .merge(users::routes())
        .merge(groups::routes())
        .layer(Extension(ACCOUNT_JSON))
}

/// Role of a user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Role {
    Admin,
    User,
    /// A user whom an administrator has not admitted yet.
    Pending,
}

impl Role {
    fn of(user: &crate::store::User) -> Self {
        match user.role.as_str() {
            "admin" => Self::Admin,
            "user" => Self::User,
            _ => Self::Pending,
        }
    }
}

/// Permissions, in Open WebUI's tree.
#[derive(Serialize, ToSchema)]
pub(super) struct Permissions {
    features: FeaturePermissions,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<ChatPermissions>,
}

/// Permissions of all users, which Open WebUI's client needs.
#[derive(Serialize, ToSchema)]
struct ChatPermissions {
    /// Always `true`: without it, the client of release 0.6 selects no model.
    temporary: bool,
    /// Always `false`: chats cannot be shared.
    share: bool,
}

#[derive(Serialize, ToSchema)]
struct FeaturePermissions {
    image_generation: bool,
}

impl Permissions {
    pub(super) fn new(image_generation: bool) -> Self {
        Self {
            features: FeaturePermissions { image_generation },
            chat: None,
        }
    }

    /// The permissions that a client needs for its user.
    pub(super) fn of_client(image_generation: bool) -> Self {
        Self {
            chat: Some(ChatPermissions {
                temporary: true,
                share: false,
            }),
            ..Self::new(image_generation)
        }
    }
}

/// Account that an administrator creates.
#[derive(Deserialize, ToSchema)]
struct NewUser {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 254, format = "email")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
    /// Default: `DEFAULT_USER_ROLE`.
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
}

/// `POST /api/v1/auths/add`
#[utoipa::path(
    post,
    path = "/api/v1/auths/add",
    tag = "people",
    operation_id = "add_user",
    summary = "Create an account for a user. For administrators",
    request_body = NewUser,
    responses(
        (status = 200, description = "the new user, without a session", body = Session),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
)]
async fn add_user(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(new): Json<NewUser>,
) -> Result<Json<Session>, ApiError> {
    let role = new
        .role
        .unwrap_or_else(|| app.accounts.rules().default_role.clone());
    let sign_up = SignUp {
        name: new.name,
        email: new.email,
        password: new.password,
    };
    let account = app.accounts.add(sign_up, &role).await?;
    let user = &account.user;
    tracing::info!("user {} was created by {}", user.id, administrator.id);
    Ok(Json(Session::new(&app, user, account.email).await?))
}

#[derive(Deserialize, ToSchema)]
struct PasswordChange {
    password: String,
    #[schema(min_length = 8, max_length = 200)]
    new_password: String,
}

/// `POST /api/v1/auths/update/password`
#[utoipa::path(
    post,
    path = "/api/v1/auths/update/password",
    tag = "people",
    operation_id = "change_password",
    summary = "Change the caller's password, end all their sessions and revoke their API key",
    request_body = PasswordChange,
    responses(
        (status = 200, description = "the password is changed", content_type = "application/json", body = bool),
        (status = 429, description = "too many attempts; retry after `retry-after`"),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
)]
async fn change_password(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(change): Json<PasswordChange>,
) -> Result<Json<bool>, ApiError> {
    let PasswordChange {
        password,
        new_password,
    } = change;
    app.accounts
        .change_password(&user, password, new_password)
        .await
        .inspect_err(|error| {
            sign_in_attempt::record_refusal(
                &app,
                Actor::User(&user.id),
                "a password change",
                error,
            );
        })?;
    Ok(Json(true))
}

/// For responses with a secret.
fn no_store() -> [(HeaderName, HeaderValue); 1] {
    [(CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}
