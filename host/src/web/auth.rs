//! Who is asking: the key or session of a request, and what its role allows.

use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::error::ApiError;
use crate::app::App;
use crate::jobs::Requester;
use crate::accounts::{LiveSession, Session};
use crate::store::User;

/// Somebody who is known, in any role.
pub(super) struct Caller {
    pub(super) user: User,
    /// Where they came with a session and not with a key.
    pub(super) session: Option<Session>,
}

/// The user whose key or session came as a bearer token or, as browsers show pictures, in the
/// cookie `token`; one who may ask: `user` or `admin`.
pub(super) async fn user(app: &App, headers: &HeaderMap) -> Result<User, ApiError> {
    let Caller { user, .. } = asking(app, headers).await?;
    Ok(user)
}

/// The same, for a connection that stays. It has to end when the presence is over.
pub(super) async fn stay(app: &App, headers: &HeaderMap) -> Result<(User, LiveSession), ApiError> {
    let Caller { user, session } = asking(app, headers).await?;
    let presence = app.accounts.stay(shown(headers).unwrap_or_default(), session);
    Ok((user, presence))
}

async fn asking(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let caller = caller(app, headers).await?;
    match caller.user.role.as_str() {
        "user" | "admin" => Ok(caller),
        _ => Err(ApiError::wrong_role()),
    }
}

/// The same, where it has to be an administrator.
pub(super) async fn administrator(app: &App, headers: &HeaderMap) -> Result<User, ApiError> {
    let Caller { user, .. } = caller(app, headers).await?;
    match user.role.as_str() {
        "admin" => Ok(user),
        _ => Err(ApiError::wrong_role()),
    }
}

/// The same, who may also make pictures (`features.image_generation`).
pub(super) async fn painter(app: &App, headers: &HeaderMap) -> Result<User, ApiError> {
    let user = user(app, headers).await?;
    match may_make_pictures(app, &user).await? {
        true => Ok(user),
        false => Err(ApiError::prohibited()),
    }
}

/// Has the user the permission `features.image_generation`?
pub(super) async fn may_make_pictures(app: &App, user: &User) -> Result<bool, ApiError> {
    let may = app.accounts.may_make_pictures(user).await;
    may.map_err(|error| ApiError::internal(&error.into()))
}

/// What decides which engines a user may use.
pub(super) async fn asker(app: &App, user: &User) -> Result<Requester, ApiError> {
    let asker = app.asker(user, None).await;
    asker.map_err(|error| ApiError::internal(&error.into()))
}

/// Whoever is known, in any role.
pub(super) async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let refused = |detail| ApiError::new(StatusCode::UNAUTHORIZED, detail);
    let shown = shown(headers).ok_or_else(|| refused("Not authenticated"))?;
    let known = app.accounts.user(shown).await;
    let known = known.map_err(|error| ApiError::internal(&error.into()))?;
    let (user, session) = known.ok_or_else(|| {
        refused(match shown.matches('.').count() {
            2 => "the session is over or not known: sign in",
            _ => "the key is not known: send it as `Authorization: Bearer sk-…`",
        })
    })?;
    Ok(Caller { user, session })
}

/// What a request shows: a key or a session.
pub(super) fn shown(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| cookie(headers))
}

/// What came as a bearer token.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies.find_map(|line| {
        line.split(';')
            .find_map(|pair| pair.trim().strip_prefix("token="))
    })
}
