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
use crate::accounts::{LiveSession, Session};
use crate::app::App;
use crate::jobs::{Requester, Snapshot};
use crate::store;

/// A known user in any role, also a pending one.
pub(super) struct Caller {
    pub(super) user: store::User,
    /// `None` if the caller authenticates with an API key.
    pub(super) session: Option<Session>,
}

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
        let caller = Self::of_request(app, &parts.headers).await;
        caller.map_err(|error| error.rejection(&parts.uri))
    }
}

/// `None` if the request has no valid key or session.
impl OptionalFromRequestParts<Arc<App>> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Option<Self>, Rejection> {
        Ok(Self::of_request(app, &parts.headers).await.ok())
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = user(app, &parts.headers).await;
        user.map(Self).map_err(|error| error.rejection(&parts.uri))
    }
}

impl FromRequestParts<Arc<App>> for Administrator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = administrator(app, &parts.headers).await;
        user.map(Self).map_err(|error| error.rejection(&parts.uri))
    }
}

impl FromRequestParts<Arc<App>> for ImageCreator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let user = painter(app, &parts.headers).await;
        user.map(Self).map_err(|error| error.rejection(&parts.uri))
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

impl Caller {
    async fn of_request(app: &App, headers: &HeaderMap) -> Result<Self, ApiError> {
        let credential = credential(headers).ok_or_else(not_authenticated)?;
        Self::of_credential(app, credential).await
    }

    async fn of_credential(app: &App, credential: &str) -> Result<Self, ApiError> {
        let known = app.accounts.user(credential).await;
        let Some((user, session)) = known.map_err(|error| ApiError::internal(&error.into()))?
        else {
            let detail = match credential.matches('.').count() {
                2 => "the session is expired or unknown: sign in again",
                _ => "the API key is unknown: send a valid key as `Authorization: Bearer sk-…`",
            };
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, detail));
        };
        Ok(Self { user, session })
    }

    fn require_role(self, roles: &[&str]) -> Result<Self, ApiError> {
        if !roles.contains(&self.user.role.as_str()) {
            return Err(ApiError::wrong_role());
        }
        Ok(self)
    }
}

impl LiveUser {
    /// The user of an API key or session token.
    pub(super) async fn of_credential(app: &App, credential: &str) -> Result<Self, ApiError> {
        let caller = Caller::of_credential(app, credential).await?;
        let Caller { user, session } = caller.require_role(&["user", "admin"])?;
        Ok(Self {
            user,
            session: app.accounts.stay(credential, session),
        })
    }
}

pub(super) async fn user(app: &App, headers: &HeaderMap) -> Result<store::User, ApiError> {
    let caller = Caller::of_request(app, headers).await?;
    Ok(caller.require_role(&["user", "admin"])?.user)
}

pub(super) async fn administrator(app: &App, headers: &HeaderMap) -> Result<store::User, ApiError> {
    let caller = Caller::of_request(app, headers).await?;
    Ok(caller.require_role(&["admin"])?.user)
}

pub(super) async fn painter(app: &App, headers: &HeaderMap) -> Result<store::User, ApiError> {
    let user = user(app, headers).await?;
    if !may_create_images(app, &user).await? {
        return Err(ApiError::prohibited());
    }
    Ok(user)
}

/// Does the user have the permission `features.image_generation`?
pub(super) async fn may_create_images(app: &App, user: &store::User) -> Result<bool, ApiError> {
    let may = app.accounts.may_make_pictures(user).await;
    may.map_err(|error| ApiError::internal(&error.into()))
}

/// The requester of the user's jobs, which decides the engines that they may use.
pub(super) async fn requester(
    app: &App,
    snapshot: &Snapshot,
    user: &store::User,
    chat_model: Option<&str>,
) -> Result<Requester, ApiError> {
    snapshot
        .requester(user, chat_model, &app.store)
        .await
        .map_err(|error| ApiError::internal(&error.into()))
}

/// The API key or session token of a request: its bearer token, else the cookie `token`, with which
/// browsers load images.
fn credential(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers).or_else(|| cookie_token(headers))
}

pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies.find_map(|line| {
        line.split(';')
            .find_map(|pair| pair.trim().strip_prefix("token="))
    })
}

fn not_authenticated() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Not authenticated")
}
