//! Accounts as Open WebUI has them: signing up, in and out, passwords and keys.

mod groups;
mod users;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{self, Caller};
use super::error::{ApiError, json_body};
use super::openapi::shape;
use crate::app::App;
use crate::accounts::SignUp;
use crate::store::{Account, User, now};

/// Length of a request's body here, in bytes: strangers may send them.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What signs up and in.
#[derive(Deserialize, ToSchema)]
struct SignUpRequest {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 254, format = "email")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
struct SignIn {
    email: String,
    password: String,
}

/// What an administrator adds.
#[derive(Deserialize, ToSchema)]
struct Added {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 254, format = "email")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
    #[schema(value_type = Option<shape::Role>)]
    role: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct NewPassword {
    password: String,
    #[schema(min_length = 8, max_length = 200)]
    new_password: String,
}

/// Every route about people. Clients write some paths with a slash at their end and without.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(session))
        .route("/api/v1/auths", get(session))
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(add))
        .routes(routes!(change_password))
        .routes(routes!(key, make_key, delete_key))
        .merge(users::routes())
        .merge(groups::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// `POST /api/v1/auths/signup`
#[utoipa::path(
    post,
    path = "/api/v1/auths/signup",
    tag = "people",
    operation_id = "sign_up",
    summary = "Make an account, where that is switched on",
    request_body = SignUpRequest,
    responses(
        (status = 200, description = "a session, here and in the cookie `token`", body = shape::Session),
        (status = 403, description = "signing up is switched off"),
        (status = 429, description = "too many attempts: `retry-after` says how long to wait"),
        (status = 503, description = "too many are signing in at this moment"),
    ),
    security(()),
)]
async fn sign_up(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    app.accounts.admit_address(address(&request))?;
    let SignUpRequest {
        name,
        email,
        password,
    } = json_body(request).await?;
    let introduction = SignUp {
        name,
        email,
        password,
    };
    let account = app.accounts.sign_up(introduction).await?;
    tracing::info!(
        "user {} has signed up as {}",
        account.user.id,
        account.user.role
    );
    begin(&app, &account).await
}

/// `POST /api/v1/auths/signin`
#[utoipa::path(
    post,
    path = "/api/v1/auths/signin",
    tag = "people",
    operation_id = "sign_in",
    summary = "Begin a session",
    request_body = SignIn,
    responses(
        (status = 200, description = "a session, here and in the cookie `token`", body = shape::Session),
        (status = 429, description = "too many attempts: `retry-after` says how long to wait"),
        (status = 503, description = "too many are signing in at this moment"),
    ),
    security(()),
)]
async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    app.accounts.admit_address(address(&request))?;
    let SignIn { email, password } = json_body(request).await?;
    let account = app.accounts.sign_in(&email, password).await?;
    begin(&app, &account).await
}

/// `GET /api/v1/auths/signout`: ends the session, if there is one, and removes the cookie.
#[utoipa::path(
    get,
    path = "/api/v1/auths/signout",
    tag = "people",
    operation_id = "sign_out",
    summary = "End the session, if there is one, and remove the cookie",
    responses((status = 200, description = "no session any more", body = shape::Status)),
    security(()),
)]
async fn sign_out(
    State(app): State<Arc<App>>,
    caller: Option<Caller>,
) -> Result<Response, ApiError> {
    if let Some(caller) = caller
        && let Some(session) = &caller.session
    {
        let ended = app.accounts.end(session).await;
        ended.map_err(|error| ApiError::internal(&error.into()))?;
    }
    let headers = [(SET_COOKIE, cookie(&app, "", Some(0))?)];
    Ok((headers, Json(json!({"status": true}))).into_response())
}

/// `GET /api/v1/auths/`: who asks, in any role.
#[utoipa::path(
    get,
    path = "/api/v1/auths/",
    tag = "people",
    operation_id = "describe_caller",
    summary = "Who asks, in any role",
    responses((status = 200, description = "who", body = shape::Session)),
)]
async fn session(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = app.store.account(&caller.user.id).await;
    let account = account.map_err(|error| ApiError::internal(&error.into()))?;
    let email = account.map(|account| account.email).unwrap_or_default();
    // What came in a cookie is kept from scripts, and a key is no session.
    let token = auth::bearer_token(&headers).filter(|_| caller.session.is_some());
    let expires_at = caller.session.and_then(|session| session.expires_at);
    let body = described(&app, &caller.user, &email, token, expires_at).await?;
    Ok((not_stored(), Json(body)).into_response())
}

/// `POST /api/v1/auths/add`: an administrator makes somebody's account.
#[utoipa::path(
    post,
    path = "/api/v1/auths/add",
    tag = "people",
    operation_id = "add_user",
    summary = "Make somebody's account. For administrators",
    request_body = Added,
    responses(
        (status = 200, description = "who was added; without a session", body = shape::Session),
        (status = 503, description = "too many are signing in at this moment"),
    ),
)]
async fn add(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let administrator = auth::administrator(&app, &headers).await?;
    let Added {
        name,
        email,
        password,
        role,
    } = json_body(request).await?;
    let introduction = SignUp {
        name,
        email,
        password,
    };
    let role = role.unwrap_or_else(|| app.accounts.rules().default_role.clone());
    let account = app.accounts.add(introduction, &role).await?;
    tracing::info!("user {} was added by {}", account.user.id, administrator.id);
    let body = described(&app, &account.user, &account.email, None, None).await?;
    Ok(Json(body))
}

/// `POST /api/v1/auths/update/password`: ends every session of the caller, this one too.
#[utoipa::path(
    post,
    path = "/api/v1/auths/update/password",
    tag = "people",
    operation_id = "change_password",
    summary = "Change the caller's password and end all their sessions",
    request_body = NewPassword,
    responses(
        (status = 200, description = "it is changed", body = shape::Done),
        (status = 429, description = "too many attempts: `retry-after` says how long to wait"),
        (status = 503, description = "too many are signing in at this moment"),
    ),
)]
async fn change_password(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<bool>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let NewPassword {
        password,
        new_password,
    } = json_body(request).await?;
    let changed = app.accounts.change_password(&user, password, new_password);
    changed.await?;
    Ok(Json(true))
}

/// `GET /api/v1/auths/api_key`: whether there is one. It is kept as its hash and cannot be shown.
#[utoipa::path(
    get,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "describe_key",
    summary = "Has the caller a key? It cannot be shown again",
    responses(
        (status = 200, description = "there is one", body = shape::Key),
        (status = 404, description = "there is none"),
    ),
)]
async fn key(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let known = app.store.has_key(&user.id).await;
    match known.map_err(|error| ApiError::internal(&error.into()))? {
        true => Ok(Json(json!({"api_key": "sk-********"}))),
        false => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "you have no key: make one with POST",
        )),
    }
}

/// `POST /api/v1/auths/api_key`: a new key in place of the one there was, shown this once.
#[utoipa::path(
    post,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "make_key",
    summary = "A new key in place of the one there was",
    responses((status = 200, description = "the key, shown this once", body = shape::Key)),
)]
async fn make_key(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let key = app.store.replace_key(&user.id).await;
    let key = key.map_err(|error| ApiError::internal(&error))?;
    Ok((not_stored(), Json(json!({"api_key": key}))).into_response())
}

/// `DELETE /api/v1/auths/api_key`
#[utoipa::path(
    delete,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "delete_key",
    summary = "Remove the caller's key",
    responses((status = 200, description = "there is none any more", body = shape::Done)),
)]
async fn delete_key(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let deleted = app.store.delete_keys(&user.id).await;
    deleted.map_err(|error| ApiError::internal(&error.into()))?;
    Ok(Json(true))
}

/// A session for who has just proved an account: in the answer and in the cookie `token`.
async fn begin(app: &App, account: &Account) -> Result<Response, ApiError> {
    let (token, expires_at) = app.accounts.begin(account);
    let secs = expires_at.map(|at| at.saturating_sub(now()));
    let cookie = [(SET_COOKIE, cookie(app, &token, secs)?)];
    let body = described(app, &account.user, &account.email, Some(&token), expires_at).await?;
    Ok((cookie, not_stored(), Json(body)).into_response())
}

/// Who somebody is, as Open WebUI says it.
async fn described(
    app: &App,
    user: &User,
    email: &str,
    token: Option<&str>,
    expires_at: Option<i64>,
) -> Result<Value, ApiError> {
    let makes_pictures = auth::may_create_images(app, user).await?;
    Ok(json!({
        "token": token,
        "token_type": "Bearer",
        "expires_at": expires_at,
        "id": user.id,
        "email": email,
        "name": user.name,
        "role": user.role,
        "profile_image_url": "/user.png",
        "permissions": permissions(makes_pictures),
    }))
}

/// The permissions that there are, in Open WebUI's tree.
fn permissions(makes_pictures: bool) -> Value {
    json!({"features": {"image_generation": makes_pictures}})
}

/// Scripts cannot read it, and other sites' forms do not send it.
fn cookie(app: &App, token: &str, secs: Option<i64>) -> Result<HeaderValue, ApiError> {
    let age = secs
        .map(|secs| format!("; Max-Age={secs}"))
        .unwrap_or_default();
    let secure = match app.accounts.rules().secure_cookie {
        true => "; Secure",
        false => "",
    };
    let cookie = format!("token={token}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
    HeaderValue::from_str(&cookie).map_err(|error| ApiError::internal(&error.into()))
}

fn not_stored() -> [(http::HeaderName, HeaderValue); 1] {
    [(CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Where the connection comes from. Headers that say otherwise can be made up.
fn address(request: &Request) -> Option<IpAddr> {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    connection.map(|ConnectInfo(address)| address.ip())
}
