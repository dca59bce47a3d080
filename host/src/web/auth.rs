//! Authentication: extractors for the user of a request, by its API key or session, and its role.
//!
//! A handler that takes [`User`], [`Administrator`] or [`ImageCreator`] runs only for a caller who
//! has that right.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::request::Parts;

use pinhole_ground::guard::Guard;

use super::error::{ApiError, Rejection};
use super::request_memory::RequestMemory;
use super::same_origin::{check_cookie_request, require_same_origin};
use crate::accounts::{Identity, LiveSession};
use crate::app::App;
use crate::jobs::{Requester, Snapshot};
use crate::store;

const USER_ROLES: &[&str] = &["user", "admin"];
const ADMINISTRATOR_ROLES: &[&str] = &["admin"];

/// A known user in any role, also a pending one.
pub(super) struct Caller(pub(super) Identity);

/// A signed-in user whose role is `user` or `admin`.
pub(super) struct User(pub(super) store::User);

/// A [`User`] and the session of the request, if it has one.
pub(super) struct UserIdentity(pub(super) Identity);

/// A signed-in user whose role is `admin`.
pub(super) struct Administrator(pub(super) store::User);

/// A signed-in user whose requests for images and chat completions are within their rate. Extracting it counts the
/// request, before the body is read.
pub(super) struct ChatUser(pub(super) store::User);

/// A [`ChatUser`] with the permission `features.image_generation`.
pub(super) struct ImageCreator(pub(super) store::User);

/// The administrator of a request on the control socket. Only its listener adds this extension.
#[derive(Clone)]
pub(super) struct ControlUser(pub(super) store::User);

/// A signed-in user of a long-lived connection.
pub(super) struct LiveUser {
    pub(super) user: store::User,
    /// Ends when the user's key or session becomes invalid. The connection must then close.
    pub(super) session: LiveSession,
}

/// An administrator of a long-lived connection.
pub(super) struct LiveAdministrator {
    /// `None` on the control socket.
    user: Option<LiveUser>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let identity = identify(app, parts).await;
        let identity = identity.map_err(|error| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &identity.user);
        Ok(Self(identity))
    }
}

/// `None` if the request has no valid key or session.
impl OptionalFromRequestParts<Arc<App>> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Option<Self>, Rejection> {
        Ok(identify(app, parts).await.ok().map(Self))
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = user_in_role(app, parts, USER_ROLES).await;
        let user = user.map_err(|error| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &user);
        Ok(Self(user))
    }
}

impl FromRequestParts<Arc<App>> for UserIdentity {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let identity = async {
            let identity = identify(app, parts).await?;
            require_role(&identity.user, USER_ROLES)?;
            Ok(identity)
        };
        let identity = identity.await;
        let identity = identity.map_err(|error: ApiError| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &identity.user);
        Ok(Self(identity))
    }
}

impl FromRequestParts<Arc<App>> for Administrator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = user_in_role(app, parts, ADMINISTRATOR_ROLES).await;
        let user = user.map_err(|error| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &user);
        Ok(Self(user))
    }
}

impl FromRequestParts<Arc<App>> for ChatUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let User(user) = User::from_request_parts(parts, app).await?;
        if app.active_jobs.is_draining() {
            return Err(ApiError::draining().rejection(&parts.uri));
        }
        match app.clients.rate.count(&user.id).await {
            Ok(()) => Ok(Self(user)),
            Err(wait) => Err(too_many_requests(wait).rejection(&parts.uri)),
        }
    }
}

impl FromRequestParts<Arc<App>> for ImageCreator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let ChatUser(user) = ChatUser::from_request_parts(parts, app).await?;
        match may_create_images(app, &user).await {
            Ok(true) => Ok(Self(user)),
            Ok(false) => Err(ApiError::prohibited().rejection(&parts.uri)),
            Err(error) => Err(error.rejection(&parts.uri)),
        }
    }
}

impl FromRequestParts<Arc<App>> for LiveUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = match credential(&parts.headers) {
            Ok(Some(credential)) => Self::of_credential(app, credential).await,
            Ok(None) => Err(not_authenticated()),
            Err(error) => Err(error),
        };
        let user = user.map_err(|error| error.rejection(&parts.uri))?;
        if is_cookie_request(&parts.headers) {
            require_same_origin(parts, &app.clients)
                .map_err(|error| error.rejection(&parts.uri))?;
        }
        Ok(user)
    }
}

impl FromRequestParts<Arc<App>> for LiveAdministrator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        if parts.extensions.get::<ControlUser>().is_some() {
            return Ok(Self { user: None });
        }
        let user = LiveUser::from_request_parts(parts, app).await?;
        require_role(&user.user, ADMINISTRATOR_ROLES)
            .map_err(|error| error.rejection(&parts.uri))?;
        Ok(Self { user: Some(user) })
    }
}

impl LiveAdministrator {
    /// Waits until the key or session becomes invalid. The connection must then close.
    pub(super) async fn wait_until_invalid(&self) {
        match &self.user {
            Some(user) => user.session.wait_until_invalid().await,
            None => std::future::pending().await,
        }
    }

    /// False if the user is no longer an administrator, or if that is unknown.
    pub(super) async fn is_valid(&self, app: &App) -> bool {
        let Some(user) = &self.user else { return true };
        let role = app.store.role(&user.user.id).await.ok().flatten();
        role.is_some_and(|role| ADMINISTRATOR_ROLES.contains(&role.as_str()))
    }
}

impl LiveUser {
    /// The user of an API key or session token.
    pub(super) async fn of_credential(app: &App, credential: &str) -> Result<Self, ApiError> {
        let Identity { user, session, .. } = authenticate(app, credential).await?;
        require_role(&user, USER_ROLES)?;
        Ok(Self {
            user,
            session: app.accounts.watch(credential, session),
        })
    }
}

/// Counts the request's body and what is made of it in the user's share of memory.
fn count_memory_for(app: &App, parts: &mut Parts, user: &store::User) {
    if let Some(memory) = parts.extensions.get_mut::<RequestMemory>() {
        memory.set_share(app.memory.of(Some(&user.id)));
    }
}

/// Does the user have the permission `features.image_generation`?
pub(super) async fn may_create_images(app: &App, user: &store::User) -> Result<bool, ApiError> {
    Ok(app.accounts.may_create_images(user).await?)
}

/// The requester of the user's jobs, which decides the engines that they may use.
pub(super) async fn requester(
    app: &App,
    snapshot: &Snapshot,
    user: &store::User,
    chat_model: Option<&str>,
) -> Result<Requester, ApiError> {
    Ok(snapshot.requester(user, chat_model, &app.store).await?)
}

/// The bearer token of a request.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(token.trim())
}

/// The API key or session token of a request: its bearer token, else the cookie `token`, with which
/// browsers load images.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    match bearer_token(headers) {
        Some(token) => Ok(Some(token)),
        None => cookie_token(headers),
    }
}

/// Is the cookie the only credential of the request?
fn is_cookie_request(headers: &HeaderMap) -> bool {
    bearer_token(headers).is_none()
}

/// The cookie `token`.
///
/// Fails if the request has several different ones. Another host of the domain can set one of them, and
/// nothing shows which.
fn cookie_token(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut tokens = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("token="));
    let first = tokens.next();
    let is_ambiguous = tokens.any(|token| Some(token) != first);
    Guard::OneCookie
        .refuse_if(is_ambiguous, || {
            "the request has several different cookies `token`: delete the cookies of this site and its \
             domain, and sign in again"
        })
        .map_err(|refusal| ApiError::new(StatusCode::UNAUTHORIZED, refusal.reason))?;
    Ok(first)
}

/// The identity of a request's credential. Fails if a page of another origin may have caused a change with the
/// cookie.
async fn identify(app: &App, parts: &Parts) -> Result<Identity, ApiError> {
    let credential = credential(&parts.headers)?.ok_or_else(not_authenticated)?;
    let identity = authenticate(app, credential).await?;
    if is_cookie_request(&parts.headers) {
        check_cookie_request(parts, &app.clients)?;
    }
    Ok(identity)
}

/// The id of the user who opens a socket, if they are known already. Fails if a page of another origin opens it with
/// the cookie.
pub(super) async fn socket_user(app: &App, parts: &Parts) -> Result<Option<String>, ApiError> {
    let Some(credential) = credential(&parts.headers)? else {
        return Ok(None);
    };
    let Some(Identity { user, .. }) = app.accounts.authenticate(credential).await? else {
        return Ok(None);
    };
    if is_cookie_request(&parts.headers) {
        require_same_origin(parts, &app.clients)?;
    }
    Ok(Some(user.id))
}

async fn authenticate(app: &App, credential: &str) -> Result<Identity, ApiError> {
    let Some(identity) = app.accounts.authenticate(credential).await? else {
        let detail = match credential.matches('.').count() {
            2 => "the session is expired or unknown: sign in again",
            _ => "the API key is unknown: send a valid key as `Authorization: Bearer sk-…`",
        };
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, detail));
    };
    Ok(identity)
}

async fn user_in_role(app: &App, parts: &Parts, roles: &[&str]) -> Result<store::User, ApiError> {
    if let Some(ControlUser(user)) = parts.extensions.get() {
        return Ok(user.clone());
    }
    let Identity { user, .. } = identify(app, parts).await?;
    require_role(&user, roles)?;
    Ok(user)
}

fn require_role(user: &store::User, roles: &[&str]) -> Result<(), ApiError> {
    if !roles.contains(&user.role.as_str()) {
        return Err(ApiError::wrong_role());
    }
    Ok(())
}

pub(super) fn too_many_requests(wait: Duration) -> ApiError {
    let detail = "you have sent too many requests for images and chat completions: retry later, or ask the operator to raise PINHOLE_REQUESTS_PER_MINUTE";
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    ApiError::retry_later(StatusCode::TOO_MANY_REQUESTS, detail, wait_ms)
}

fn not_authenticated() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Not authenticated")
}
