//! Authentication: extractors for the user of a request, by its API key or session, and its role.
//!
//! A handler that takes [`User`], [`Administrator`] or [`ImageCreator`] runs only for a caller who
//! has that right.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::request::Parts;

use super::error::{ApiError, Rejection};
use super::request_memory::RequestMemory;
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

/// A signed-in user whose role is `admin`.
pub(super) struct Administrator(pub(super) store::User);

/// A signed-in user with the permission `features.image_generation`.
pub(super) struct ImageCreator(pub(super) store::User);

/// A signed-in user of a long-lived connection.
pub(super) struct LiveUser {
    pub(super) user: store::User,
    /// Ends when the user's key or session becomes invalid. The connection must then close.
    pub(super) session: LiveSession,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let identity = identify(app, &parts.headers).await;
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
        Ok(identify(app, &parts.headers).await.ok().map(Self))
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = user_in_role(app, &parts.headers, USER_ROLES).await;
        let user = user.map_err(|error| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &user);
        Ok(Self(user))
    }
}

impl FromRequestParts<Arc<App>> for Administrator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = user_in_role(app, &parts.headers, ADMINISTRATOR_ROLES).await;
        let user = user.map_err(|error| error.rejection(&parts.uri))?;
        count_memory_for(app, parts, &user);
        Ok(Self(user))
    }
}

impl FromRequestParts<Arc<App>> for ImageCreator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let User(user) = User::from_request_parts(parts, app).await?;
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
            Some(credential) => Self::of_credential(app, credential).await,
            None => Err(not_authenticated()),
        };
        user.map_err(|error| error.rejection(&parts.uri))
    }
}

impl LiveUser {
    /// The user of an API key or session token.
    pub(super) async fn of_credential(app: &App, credential: &str) -> Result<Self, ApiError> {
        let Identity { user, session } = authenticate(app, credential).await?;
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
fn credential(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers).or_else(|| cookie_token(headers))
}

fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("token="))
}

/// The identity of a request's credential.
async fn identify(app: &App, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let credential = credential(headers).ok_or_else(not_authenticated)?;
    authenticate(app, credential).await
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

async fn user_in_role(
    app: &App,
    headers: &HeaderMap,
    roles: &[&str],
) -> Result<store::User, ApiError> {
    let Identity { user, .. } = identify(app, headers).await?;
    require_role(&user, roles)?;
    Ok(user)
}

fn require_role(user: &store::User, roles: &[&str]) -> Result<(), ApiError> {
    if !roles.contains(&user.role.as_str()) {
        return Err(ApiError::wrong_role());
    }
    Ok(())
}

fn not_authenticated() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Not authenticated")
}
