//! Requests that a page of another origin causes.
//!
//! A browser sends the cookie `token` with each request to the server, whichever page causes it. `SameSite=Lax`
//! removes it only from some requests of other sites, and never from those of the same site: another port of the
//! host, or another name of its domain. So a request that is authenticated by the cookie alone must be from the
//! server's own origin, or from one that `CORS_ALLOW_ORIGIN` lists.
//!
//! Browsers say where a request comes from, and pages cannot change it: `Sec-Fetch-Site`, to servers with https
//! or on loopback, and `Origin`, with every `POST`, `PUT`, `PATCH` and `DELETE`, every WebSocket handshake and
//! every `GET` whose response the script of another origin could read. A request without both headers is from
//! another program, which has no cookie that a person did not give it, or is a navigation or an embedded image,
//! whose method is `GET`. It is accepted.
//!
//! The host of `Origin` is compared, not its scheme: the server does not know whether a proxy speaks https. To
//! servers with https, browsers send `Sec-Fetch-Site`, which compares the scheme too.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use pinhole_ground::guard::{Guard, Refusal};

use super::client_ip::peer_ip;
use super::error::{ApiError, Rejection};
use crate::app::App;
use crate::clients::Clients;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request that starts or ends a session, which no page of another origin may cause. The page of an origin that
/// `CORS_ALLOW_ORIGIN` allows may, even if the reason is `*`: it has to know the password, and gets the token.
pub(super) struct SessionRequest;

impl FromRequestParts<Arc<App>> for SessionRequest {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Rejection> {
        let origins = &app.clients.origins;
        let origin = parts.headers.get(ORIGIN);
        if origin.is_some_and(|origin| origins.allows(origin)) {
            return Ok(Self);
        }
        match require_same_origin(parts, &app.clients) {
            Ok(()) => Ok(Self),
            Err(error) => Err(error.rejection(&parts.uri)),
        }
    }
}

/// Fails if a request that only the cookie authenticates would change something for a page of another origin.
pub(super) fn check_cookie_request(parts: &Parts, clients: &Clients) -> Result<(), ApiError> {
    if parts.method.is_safe() {
        return Ok(());
    }
    require_same_origin(parts, clients)?;
    // A form can carry JSON as text/plain, and routes accept JSON in any type.
    Guard::CrossSite
        .refuse_if(!has_own_content_type(&parts.headers), || {
            "a request with the cookie `token` needs a body of type application/json, application/octet-stream or multipart/form-data"
        })
        .map_err(forbidden)
}

/// Fails if a page of another origin caused the request.
pub(super) fn require_same_origin(parts: &Parts, clients: &Clients) -> Result<(), ApiError> {
    Guard::CrossSite
        .refuse_if(!is_same_origin(parts, clients), || {
            "a page of another origin caused this request: open the server's own page, send the key as `Authorization: Bearer …`, or add the page's origin to CORS_ALLOW_ORIGIN"
        })
        .map_err(forbidden)
}

fn forbidden(refusal: Refusal) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, refusal.reason)
}

fn is_same_origin(parts: &Parts, clients: &Clients) -> bool {
    let origin = parts.headers.get(ORIGIN);
    if origin.is_some_and(|origin| clients.origins.lists(origin)) {
        return true;
    }
    if let Some(site) = parts.headers.get(SEC_FETCH_SITE) {
        // `none`: the user typed the URL.
        return site == "same-origin" || (site == "none" && parts.method.is_safe());
    }
    let Some(origin) = origin else {
        return true;
    };
    let host = clients
        .proxies
        .requested_host(peer_ip(parts), &parts.headers);
    host.is_some_and(|host| has_host(origin, &host))
}

/// Is this the host of the origin? Either may have the default port.
fn has_host(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|it| it.split_once("://")) else {
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    without_port(authority).eq_ignore_ascii_case(&without_port(host))
}

/// JSON, a form with files, bytes, or no body. No form sends bytes, and a script of another origin may not.
fn has_own_content_type(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        let has_length = headers.get(CONTENT_LENGTH).is_some_and(|it| it != "0");
        return !has_length && !headers.contains_key(TRANSFER_ENCODING);
    };
    let essence = content_type.to_str().unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let own = [
        "application/json",
        "application/octet-stream",
        "application/wasm",
        "multipart/form-data",
    ];
    own.contains(&essence.as_str())
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_of_origin_is_compared_with_default_ports() {
        let check = |origin: &'static str, host: &str, expected: bool| {
            let origin = HeaderValue::from_static(origin);
            assert_eq!(has_host(&origin, host), expected, "{origin:?} {host}");
        };
        check("https://pin.example", "pin.example", true);
        check("https://pin.example", "PIN.example:443", true);
        check("http://pin.example", "pin.example:80", true);
        check("http://[::1]:8080", "[::1]:8080", true);
        check("http://pin.example", "pin.example:443", false);
        check("http://pin.example:81", "pin.example", false);
        check("https://pin.example.evil", "pin.example", false);
        check("https://evil.example", "pin.example", false);
        check("null", "null", false);
        check("file://pin.example", "pin.example", false);
    }

    #[test]
    fn own_content_types_exclude_those_in_which_a_form_carries_json() {
        let check = |content_type: &'static str, expected: bool| {
            let value = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
            assert_eq!(has_own_content_type(&headers), expected, "{content_type}");
        };
        check("application/json", true);
        check("Application/JSON; charset=utf-8", true);
        check("application/merge-patch+json", true);
        check("multipart/form-data; boundary=x", true);
        check("application/octet-stream", true);
        check("application/wasm", true);
        check("text/plain", false);
        check("text/plain; x=application/json", false);
        check("application/x-www-form-urlencoded", false);
        check("", false);
        assert!(has_own_content_type(&HeaderMap::new()));
        for (name, value) in [(CONTENT_LENGTH, "5"), (TRANSFER_ENCODING, "chunked")] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            assert!(!has_own_content_type(&headers), "{headers:?}");
        }
    }
}
