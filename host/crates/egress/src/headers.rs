//! Header limits: the headers that an engine may set, and how many a response may have.

use http::header::{HeaderMap, HeaderName};
use pinhole_ground::guard::{Guard, Refusal};

use crate::credential::Credential;

/// Headers of a request, without those that the server adds.
const MAX_HEADERS: usize = 32;
/// Length of the value of a request header in bytes.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Length of all names and values of a request in bytes.
const MAX_ALL_HEADER_BYTES: usize = 32 * 1024;
/// Headers of a response.
const MAX_RESPONSE_HEADERS: usize = 80;
/// Length of all names and values of a response in bytes.
const MAX_RESPONSE_HEADER_BYTES: usize = 64 * 1024;

/// Headers that belong to the connection and its framing, or that identify the sender or the target.
const RESERVED: &[&str] = &[
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
    // With these, some servers use another method or path than the one that was checked.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
/// Prefixes of more reserved headers.
const RESERVED_PREFIXES: &[&str] = &["proxy-", "sec-", "x-forwarded-"];
/// Headers that carry the API key of common services.
const KEY_HEADERS: &[&str] = &["api-key", "x-api-key", "x-goog-api-key"];

/// True for headers that only the server sets.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Checks the headers that an engine sets: no reserved one, none that carries a key, and within limits.
pub fn check_request(headers: &HeaderMap, credential: &Credential) -> Result<(), Refusal> {
    Guard::HeaderCount.refuse_if(headers.len() > MAX_HEADERS, || {
        format!("the request has more than {MAX_HEADERS} headers")
    })?;
    for (name, value) in headers {
        Guard::OwnHeaders.refuse_if(is_reserved(name), || {
            format!("header {name} is reserved for the server")
        })?;
        let carries_key = credential.uses_header(name) || KEY_HEADERS.contains(&name.as_str());
        Guard::KeyHeaders.refuse_if(carries_key, || {
            format!("header {name} carries a key, so only the server sets it")
        })?;
        Guard::HeaderBytes.refuse_if(value.len() > MAX_HEADER_BYTES, || {
            format!("header {name} is longer than {MAX_HEADER_BYTES} bytes")
        })?;
    }
    Guard::AllHeaderBytes.refuse_if(total_bytes(headers) > MAX_ALL_HEADER_BYTES, || {
        format!("the request headers are longer than {MAX_ALL_HEADER_BYTES} bytes")
    })
}

/// Refuses a query that has the parameter of the credential.
pub(crate) fn check_query(query: Option<&str>, credential: &Credential) -> Result<(), Refusal> {
    Guard::KeyHeaders.refuse_if(credential.uses_parameter_of(query), || {
        "the query has the parameter that carries the key, so only the server sets it".to_owned()
    })
}

/// Checks the number and length of a response's headers.
pub(crate) fn check_response(headers: &HeaderMap) -> Result<(), Refusal> {
    Guard::AnswerHeaderCount.refuse_if(headers.len() > MAX_RESPONSE_HEADERS, || {
        format!("the response has more than {MAX_RESPONSE_HEADERS} headers")
    })?;
    Guard::AnswerHeaderBytes.refuse_if(total_bytes(headers) > MAX_RESPONSE_HEADER_BYTES, || {
        format!("the response headers are longer than {MAX_RESPONSE_HEADER_BYTES} bytes")
    })
}

fn total_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn repeated(name: &str, value: &str, count: usize) -> HeaderMap {
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(value).unwrap();
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            headers.append(name.clone(), value.clone());
        }
        headers
    }

    #[test]
    fn check_request_refuses_reserved_and_key_headers() {
        let credential = Credential::header("x-draw-key", "k").unwrap();
        let guard_of = |name: &str| {
            check_request(&repeated(name, "x", 1), &credential)
                .err()
                .map(|refusal| refusal.guard.unwrap())
        };
        for allowed in ["accept", "openai-organization", "x-request-id", "prefer"] {
            assert_eq!(guard_of(allowed), None, "{allowed}");
        }
        let prefixed = [
            "proxy-authorization",
            "sec-websocket-key",
            "x-forwarded-for",
        ];
        for reserved in RESERVED.iter().chain(&prefixed) {
            assert_eq!(guard_of(reserved), Some(Guard::OwnHeaders), "{reserved}");
        }
        for key in KEY_HEADERS.iter().chain(&["x-draw-key"]) {
            assert_eq!(guard_of(key), Some(Guard::KeyHeaders), "{key}");
        }
    }

    #[test]
    fn check_request_limits_number_and_length() {
        for (length, count, fits) in [
            (1, 32, true),
            (1, 33, false),
            (8 << 10, 1, true),
            ((8 << 10) + 1, 1, false),
            (1000, 32, true),
            (1024, 32, false),
        ] {
            let headers = repeated("x-a", &"x".repeat(length), count);
            let checked = check_request(&headers, &Credential::default());
            assert_eq!(
                checked.is_ok(),
                fits,
                "{count} of {length} bytes: {checked:?}"
            );
        }
    }

    #[test]
    fn check_response_limits_number_and_length() {
        for (length, count, fits) in [
            (1, 80, true),
            (1, 81, false),
            ((64 << 10) - 3, 1, true),
            ((64 << 10) - 2, 1, false),
        ] {
            let checked = check_response(&repeated("x-a", &"x".repeat(length), count));
            assert_eq!(
                checked.is_ok(),
                fits,
                "{count} of {length} bytes: {checked:?}"
            );
        }
    }
}
