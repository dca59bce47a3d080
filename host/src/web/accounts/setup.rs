//! The setup of the first administrator, for the person who can read the server's output.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions;
use super::sign_in_attempt::SignInAttempt;
use crate::accounts::SignUp;
use crate::app::App;
use crate::web::error::ApiError;
use crate::web::extractors::Json;
use crate::web::same_origin::SessionRequest;

#[derive(Serialize, ToSchema)]
pub(super) struct SetupState {
    /// No administrator has a password.
    needed: bool,
}

/// The first administrator's account.
#[derive(Deserialize, ToSchema)]
pub(super) struct Setup {
    /// The end of the URL that the server printed, after `#`.
    code: String,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 254, format = "email")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

/// `GET /api/v1/setup`
#[utoipa::path(
    get,
    path = "/api/v1/setup",
    tag = "people",
    operation_id = "describe_setup",
    summary = "Check whether an administrator has a password",
    responses((status = 200, description = "whether the setup is needed", body = SetupState)),
    security(()),
)]
pub(super) async fn describe(State(app): State<Arc<App>>) -> Result<Json<SetupState>, ApiError> {
    let needed = app.accounts.is_setup_needed().await?;
    Ok(Json(SetupState { needed }))
}

/// `POST /api/v1/setup`
#[utoipa::path(
    post,
    path = "/api/v1/setup",
    tag = "people",
    operation_id = "set_up",
    summary = "Give the first administrator a name, an email and a password, with the code that the server printed, and start a session",
    request_body = Setup,
    responses(
        (status = 200, description = "the session, also as the cookie `token`", body = sessions::Session),
        (status = 403, description = "the code is wrong, or a page of another origin caused the request"),
        (status = 409, description = "an administrator has a password already"),
        (status = 429, description = "too many attempts; retry after `retry-after`"),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
    security(()),
)]
pub(super) async fn set_up(
    State(app): State<Arc<App>>,
    _: SessionRequest,
    attempt: SignInAttempt,
    Json(body): Json<Setup>,
) -> Result<Response, ApiError> {
    let sign_up = SignUp {
        name: body.name,
        email: body.email,
        password: body.password,
    };
    let account = app
        .accounts
        .set_up(&body.code, sign_up)
        .await
        .inspect_err(|error| {
            attempt.record_refusal(&app, "a setup", error);
        })?;
    tracing::info!("user {} was set up as administrator", account.user.id);
    sessions::start(&app, account, attempt).await
}
