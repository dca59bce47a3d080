//! Sessions: sign up, sign in, sign out, and the caller's own.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_ground::guard::Guard;

use super::{PROFILE_IMAGE_URL, Permissions, Role, no_store};
use crate::accounts::{self, Identity, SessionToken, SignUp};
use crate::app::App;
use crate::store::{Account, User, now};
use crate::web::Status;
use crate::web::auth::{self, Caller};
use crate::web::client_ip::ClientIp;
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

/// An attempt to sign up or in. Extracting it counts it for the client's IP address, before the body
/// is read.
pub(super) struct SignInAttempt {
    ip: Option<IpAddr>,
}

impl SignInAttempt {
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

impl FromRequestParts<Arc<App>> for SignInAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let ClientIp(client) = ClientIp::new(parts, &app.clients);
        let ip = client.map(|client| client.ip);
        app.accounts.count_attempt(ip).inspect_err(|error| {
            record_refusal(app, Actor::Client(ip), "an attempt to sign in", error)
        })?;
        Ok(Self { ip })
    }
}

/// Records an attempt that was refused because of its credentials or their number.
pub(super) fn record_refusal(app: &App, actor: Actor<'_>, attempt: &str, error: &accounts::Error) {
    use accounts::Error::{InvalidCredentials, TooManyAttempts, WrongSetupCode};
    if !matches!(
        error,
        InvalidCredentials | TooManyAttempts { .. } | WrongSetupCode
    ) {
        return;
    }
    let guard = matches!(error, WrongSetupCode).then_some(Guard::SetupCode);
    app.audit.record(&Event {
        kind: RefusalKind::Access,
        guard,
        actor,
        engine: "",
        job: "",
        message: &format!("{attempt}: {error}"),
    });
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
    start(&app, &account, attempt).await
}

#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    email: String,
    password: String,
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
    Json(SignIn { email, password }): Json<SignIn>,
) -> Result<Response, ApiError> {
    let account = app
        .accounts
        .sign_in(&email, password)
        .await
        .inspect_err(|error| record_refusal(&app, Actor::Client(attempt.ip), "a sign-in", error))?;
    start(&app, &account, attempt).await
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
    Caller(Identity { user, session }): Caller,
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
    account: &Account,
    _: SignInAttempt,
) -> Result<Response, ApiError> {
    let SessionToken { token, expires_at } = app.accounts.start_session(account);
    let max_age_secs = expires_at.map(|at| at.saturating_sub(now()));
    let headers = [(SET_COOKIE, cookie(app, &token, max_age_secs)?)];
    let body = Session {
        token: Some(token),
        expires_at,
        ..Session::new(app, &account.user, account.email.clone()).await?
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
