//! Which headers travel: those that a request may bring, and as many as an answer may have.

use http::header::{HeaderMap, HeaderName};

use super::secret::Credential;
use pinhole_ground::guard::Guard;

/// Headers that a request may bring besides the host's own.
const MAX_HEADERS: usize = 32;
/// Length of one header's value in a request, in bytes.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Length of all headers that a request brings, names and values, in bytes.
const MAX_ALL_HEADER_BYTES: usize = 32 * 1024;
/// Headers that an answer may have.
const MAX_ANSWER_HEADERS: usize = 80;
/// Length of all headers of an answer, names and values, in bytes.
const MAX_ANSWER_HEADER_BYTES: usize = 64 * 1024;

/// Headers that belong to the connection and its framing, or say who asks and for what.
const OWN: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    // With these some servers take another method or path than the one that was checked.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
/// How the names of more of them begin.
const OWN_PREFIXES: &[&str] = &["proxy-", "sec-", "x-forwarded-"];
/// Headers by which services know their keys: a key comes from the host or not at all.
const KEYS: &[&str] = &["api-key", "x-api-key", "x-goog-api-key"];

/// Headers that nobody but the host may set.
#[must_use]
pub fn refuse_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Are these headers the sender's to set, and not too many? The error is for the operator.
pub(super) fn check_request(headers: &HeaderMap, credential: &Credential) -> Result<(), String> {
    if headers.len() > Guard::HeaderCount.limit(MAX_HEADERS) {
        return Err(format!("more than {MAX_HEADERS} headers"));
    }
    for (name, value) in headers {
        if Guard::OwnHeaders.holds() && refuse_header(name) {
            return Err(format!("header {name} is the host's to set"));
        }
        if Guard::KeyHeaders.holds() && (credential.owns(name) || KEYS.contains(&name.as_str())) {
            return Err(format!(
                "header {name} carries a key, which is the host's to set"
            ));
        }
        if value.len() > Guard::HeaderBytes.limit(MAX_HEADER_BYTES) {
            return Err(format!(
                "header {name} is longer than {MAX_HEADER_BYTES} bytes"
            ));
        }
    }
    match length(headers) > Guard::AllHeaderBytes.limit(MAX_ALL_HEADER_BYTES) {
        true => Err(format!(
            "the headers are longer than {MAX_ALL_HEADER_BYTES} bytes"
        )),
        false => Ok(()),
    }
}

/// Can an answer be used that has these headers?
pub(super) fn check_answer(headers: &HeaderMap) -> Result<(), String> {
    if headers.len() > Guard::AnswerHeaderCount.limit(MAX_ANSWER_HEADERS) {
        return Err(format!(
            "the answer has more than {MAX_ANSWER_HEADERS} headers"
        ));
    }
    match length(headers) > Guard::AnswerHeaderBytes.limit(MAX_ANSWER_HEADER_BYTES) {
        true => Err(format!(
            "the answer's headers are longer than {MAX_ANSWER_HEADER_BYTES} bytes"
        )),
        false => Ok(()),
    }
}

fn length(headers: &HeaderMap) -> usize {
    let lengths = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(name: &str, value: &str, count: usize) -> HeaderMap {
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(value).unwrap();
        let pairs = (0..count).map(|_| (name.clone(), value.clone()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn the_hosts_own_headers_are_refused() {
        let credential = Credential::header("x-draw-key", "k").unwrap();
        let check = |name: &str| check_request(&with(name, "x", 1), &credential);
        for passed in ["accept", "openai-organization", "x-request-id", "prefer"] {
            check(passed).unwrap();
        }
        for own in [
            OWN,
            KEYS,
            &[
                "x-draw-key",
                "proxy-authorization",
                "sec-websocket-key",
                "x-forwarded-for",
            ],
        ] {
            for name in own {
                check(name).unwrap_err();
            }
        }
    }

    #[test]
    fn headers_have_limits() {
        let check = |length: usize, count: usize, fits: bool| {
            let headers = with("x-a", &"x".repeat(length), count);
            let checked = check_request(&headers, &Credential::default());
            assert_eq!(
                checked.is_ok(),
                fits,
                "{count} of {length} bytes: {checked:?}"
            );
        };
        check(1, 32, true);
        check(1, 33, false);
        check(8 << 10, 1, true);
        check((8 << 10) + 1, 1, false);
        check(1000, 32, true);
        check(1024, 32, false);
    }

    #[test]
    fn so_have_those_of_an_answer() {
        let check = |length: usize, count: usize, fits: bool| {
            let checked = check_answer(&with("x-a", &"x".repeat(length), count));
            assert_eq!(
                checked.is_ok(),
                fits,
                "{count} of {length} bytes: {checked:?}"
            );
        };
        check(1, 80, true);
        check(1, 81, false);
        check((64 << 10) - 3, 1, true);
        check((64 << 10) - 2, 1, false);
    }
}
