//! Sessions: sign up, sign in, sign out, and the caller's own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sign_in_attempt::SignInAttempt;
use super::{PROFILE_IMAGE_URL, Permissions, Role, no_store};
use crate::accounts::{Identity, Login, SessionToken, SignUp};
use crate::app::App;
use crate::store::{User, now};
use crate::web::Status;
use crate::web::auth::{self, Caller};
use crate::web::error::ApiError;
use crate::web::extractors::Json;
use crate::web::same_origin::SessionRequest;

/// A user and their session.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// Session token; `null` if the request has it as a cookie or has an API key.
    #[schema(required = true)]
    token: Option<String>,
    token_type: &'static str,
    /// Seconds since 1970; `null` if the session does not expire.
    #[schema(required = true)]
    expires_at: Option<i64>,
    id: String,
    email: String,
    name: String,
    role: Role,
    profile_image_url: &'static str,
    permissions: Permissions,
}

impl Session {
    /// The user without a session.
    pub(super) async fn new(app: &App, user: &User, email: String) -> Result<Self, ApiError> {
        Ok(Self {
            token: None,
            token_type: "Bearer",
            expires_at: None,
            id: user.id.clone(),
            email,
            name: user.name.clone(),
            role: Role::of(user),
            profile_image_url: PROFILE_IMAGE_URL,
            permissions: Permissions::of_client(auth::may_create_images(app, user).await?),
        })
    }
}

#[derive(Deserialize, ToSchema)]
pub(super) struct SignUpRequest {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 254, format = "email")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

/// `POST /api/v1/auths/signup`
#[utoipa::path(
    post,
    path = "/api/v1/auths/signup",
    tag = "people",
    operation_id = "sign_up",
    summary = "Create an account, if sign-up is enabled, and start a session",
    request_body = SignUpRequest,
    responses(
        (status = 200, description = "the session, also as the cookie `token`", body = Session),
        (status = 403, description = "sign-up is disabled, or a page of another origin caused the request"),
        (status = 429, description = "too many attempts; retry after `retry-after`"),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
    security(()),
)]
pub(super) async fn sign_up(
    State(app): State<Arc<App>>,
    _: SessionRequest,
    attempt: SignInAttempt,
    Json(body): Json<SignUpRequest>,
) -> Result<Response, ApiError> {
    let sign_up = SignUp {
        name: body.name,
        email: body.email,
        password: body.password,
    };
    let account = app.accounts.sign_up(sign_up).await?;
    let user = &account.user;
    tracing::info!("user {} signed up with role {}", user.id, user.role);
    start(&app, account, attempt).await
}

/// Email and password, or an API key.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// Required without `key`, like the password.
    email: Option<String>,
    password: Option<String>,
    /// The session ends with this key.
    key: Option<String>,
}

impl SignIn {
    async fn login(self, app: &App, attempt: &SignInAttempt) -> Result<Login, ApiError> {
        let login = match self {
            Self { key: Some(key), .. } => app.accounts.sign_in_with_key(&key).await,
            Self {
                email: Some(email),
                password: Some(password),
                ..
            } => {
                let account = app.accounts.sign_in(&email, password).await;
                account.map(Login::from)
            }
            Self { email, .. } => {
                let field = if email.is_none() { "email" } else { "password" };
                let detail = format!("{field} is missing: send email and password, or key");
                return Err(ApiError::invalid(field, detail));
            }
        };
        Ok(login.inspect_err(|error| attempt.record_refusal(app, "a sign-in", error))?)
    }
}

/// `POST /api/v1/auths/signin`
#[utoipa::path(
    post,
    path = "/api/v1/auths/signin",
    tag = "people",
    operation_id = "sign_in",
    summary = "Start a session",
    request_body = SignIn,
    responses(
        (status = 200, description = "the session, also as the cookie `token`", body = Session),
        (status = 403, description = "a page of another origin caused the request"),
        (status = 429, description = "too many attempts; retry after `retry-after`"),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
    security(()),
)]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    _: SessionRequest,
    attempt: SignInAttempt,
    Json(body): Json<SignIn>,
) -> Result<Response, ApiError> {
    let login = body.login(&app, &attempt).await?;
    start(&app, login, attempt).await
}

/// `GET /api/v1/auths/signout`
#[utoipa::path(
    get,
    path = "/api/v1/auths/signout",
    tag = "people",
    operation_id = "sign_out",
    summary = "End the session, if there is one, and remove the cookie",
    responses(
        (status = 200, description = "the caller has no session now", body = Status),
        (status = 403, description = "a page of another origin caused the request"),
    ),
    security(()),
)]
pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    _: SessionRequest,
    caller: Option<Caller>,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(session) = caller.and_then(|Caller(identity)| identity.session) {
        app.accounts.revoke_session(&session).await?;
    }
    let headers = [(SET_COOKIE, cookie(&app, "", Some(0))?)];
    Ok((headers, Json(Status { status: true })))
}

/// `GET /api/v1/auths/`
#[utoipa::path(
    get,
    path = "/api/v1/auths/",
    tag = "people",
    operation_id = "describe_caller",
    summary = "Return the caller, whatever their role",
    responses((status = 200, description = "the caller", body = Session)),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    Caller(Identity { user, session, .. }): Caller,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let account = app.store.account(&user.id).await?;
    let email = account.map_or_else(String::new, |account| account.email);
    let mut body = Session::new(&app, &user, email).await?;
    if let Some(session) = session {
        body.expires_at = session.expires_at;
        // A cookie's token stays hidden from scripts.
        body.token = auth::bearer_token(&headers).map(str::to_owned);
    }
    Ok((no_store(), Json(body)))
}

/// Starts a session for a user who has just authenticated.
pub(super) async fn start(
    app: &App,
    login: impl Into<Login>,
    attempt: SignInAttempt,
) -> Result<Response, ApiError> {
    let login = login.into();
    let client = attempt.into_client();
    let SessionToken { token, expires_at } = app.accounts.start_session(&login, &client).await;
    let max_age_secs = expires_at.map(|at| at.saturating_sub(now()));
    let headers = [(SET_COOKIE, cookie(app, &token, max_age_secs)?)];
    let body = Session {
        token: Some(token),
        expires_at,
        ..Session::new(app, &login.user, login.email).await?
    };
    Ok((headers, no_store(), Json(body)).into_response())
}

/// Hidden from scripts, and not sent with forms of other sites.
fn cookie(app: &App, token: &str, max_age_secs: Option<i64>) -> Result<HeaderValue, ApiError> {
    let mut cookie = format!("token={token}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(secs) = max_age_secs {
        cookie.push_str(&format!("; Max-Age={secs}"));
    }
    if app.accounts.rules().has_secure_cookie {
        cookie.push_str("; Secure");
    }
    HeaderValue::from_str(&cookie).map_err(|error| ApiError::internal(&error.into()))
}
