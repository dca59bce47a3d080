//! Who is asking: the key of a request.

use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::error::ApiError;
use crate::app::App;
use crate::store::User;

/// Longer keys are nobody's.
const MAX_KEY_BYTES: usize = 200;

/// The user whose key came as a bearer token or, as browsers show pictures, in the cookie `token`.
pub(super) async fn user(app: &App, headers: &HeaderMap) -> Result<User, ApiError> {
    let refused = |detail| ApiError::new(StatusCode::UNAUTHORIZED, detail);
    let key = bearer(headers).or_else(|| cookie(headers));
    let key = key.ok_or_else(|| refused("Not authenticated"))?;
    let known = match key.len() <= MAX_KEY_BYTES {
        true => app.store.user_by_key(key).await,
        false => Ok(None),
    };
    known
        .map_err(|error| ApiError::internal(&error.into()))?
        .ok_or_else(|| refused("the key is not known: send it as `Authorization: Bearer sk-…`"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
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
