//! Responses with a status other than 2xx.
//!
//! ```
//! use pinhole_sdk::{Error, ErrorKind, Refusal};
//!
//! let refusal = Refusal::new(402, &[], "add credits".into());
//! let error = Error::from(refusal);
//! assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Quota, "add credits"));
//! ```

use serde_json::Value;

use crate::error_body;
use crate::json_text::parse_json;
use crate::response::MAX_STRING_BYTES;
use crate::upstream::{Header, Response as RawResponse};
use crate::upstream_text::truncate;
use crate::{Error, ErrorKind};

/// How much of a refusal's body is read as text.
pub const MAX_REFUSAL_BYTES: u32 = 16 * 1024;
/// Length of a refusal's message in bytes.
pub const MAX_MESSAGE_BYTES: usize = 2000;
const MAX_REQUEST_ID_BYTES: usize = 100;
/// Length of the beginning of a plain text that is used as a message, in bytes.
const MAX_PLAIN_MESSAGE_BYTES: usize = 500;
/// Headers that hold a request id: those of OpenAI, Azure and Google.
const REQUEST_ID_HEADERS: [&str; 3] = ["x-request-id", "apim-request-id", "x-goog-request-id"];
/// The proxy Envoy sends status 503 also after the upstream has received the request.
const ENVOY_RESET: &str = "disconnect/reset before headers";

/// An upstream's response with a status other than 2xx. `?` converts it to an [`Error`].
///
/// ```no_run
/// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::{Error, ErrorKind};
///
/// let response = response.success().map_err(|refusal| match refusal.status {
///     451 => Error::new(ErrorKind::Blocked, refusal.message()),
///     _ => refusal.into(),
/// })?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// The start of the body as text.
    pub text: String,
    /// From the header `retry-after-ms` or `retry-after` (seconds or a date).
    pub retry_after_ms: Option<u64>,
    /// The upstream's id of the request, from `x-request-id` and similar headers.
    pub request_id: Option<String>,
}

impl Refusal {
    /// Reads the headers and the body of a response.
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::Refusal;
    ///
    /// let refusal = Refusal::from_response(&response.0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn from_response(response: &RawResponse) -> Self {
        let text = response.text(MAX_REFUSAL_BYTES).unwrap_or_default();
        let truncated = text.len() >= MAX_REFUSAL_BYTES as usize;
        let parse_whole = || {
            let json = response.document().ok()?.json(MAX_STRING_BYTES).ok()?;
            serde_json::from_str(&json).ok()
        };
        let mut refusal = Self::new(response.status(), &response.headers(), text);
        if truncated && refusal.json.is_none() {
            refusal.json = parse_whole();
        }
        refusal
    }

    /// Creates a refusal from the parts of a response.
    ///
    /// ```
    /// use pinhole_sdk::Refusal;
    ///
    /// let refusal = Refusal::new(429, &[], r#"{"error": {"message": "slow down"}}"#.into());
    /// assert_eq!(refusal.status, 429);
    /// ```
    #[must_use]
    pub fn new(status: u16, headers: &[Header], text: String) -> Self {
        Self {
            status,
            json: parse_json(&text).ok(),
            text,
            retry_after_ms: retry_after_ms(headers),
            request_id: REQUEST_ID_HEADERS
                .iter()
                .find_map(|name| find_header(headers, name))
                .map(|id| truncate(id, MAX_REQUEST_ID_BYTES)),
        }
    }

    /// The upstream's reason, or, without one, a text that names the status.
    ///
    /// Reads the shapes of [`error_body`], plain text and the title of an HTML page. At most
    /// [`MAX_MESSAGE_BYTES`].
    ///
    /// ```
    /// use pinhole_sdk::Refusal;
    ///
    /// let refusal = Refusal::new(429, &[], r#"{"error": {"message": "slow down"}}"#.into());
    /// assert_eq!(refusal.message(), "slow down");
    /// ```
    #[must_use]
    pub fn message(&self) -> String {
        let message = match &self.json {
            Some(json) => error_body::find_message(json),
            None => plain_message(&self.text),
        };
        match message {
            Some(message) => truncate(&message, MAX_MESSAGE_BYTES),
            None => self.status_message(),
        }
    }

    /// The field that is wrong, if the upstream names it.
    ///
    /// ```
    /// use pinhole_sdk::Refusal;
    ///
    /// let body = r#"{"error": {"message": "too large", "param": "size"}}"#;
    /// assert_eq!(Refusal::new(400, &[], body.into()).field().as_deref(), Some("size"));
    /// ```
    #[must_use]
    pub fn field(&self) -> Option<String> {
        error_body::find_field(self.json.as_ref()?)
    }

    /// True if a server or a gateway in between certainly did not pass the request on: the upstream is
    /// rate-limited, or unavailable. Then it generates and bills nothing.
    ///
    /// Other statuses of a gateway (502, 504, 520 to 529) mean that it gave up waiting.
    ///
    /// ```
    /// use pinhole_sdk::Refusal;
    ///
    /// let refusal = Refusal::new(429, &[], r#"{"error": {"message": "slow down"}}"#.into());
    /// assert!(refusal.is_not_accepted());
    /// ```
    #[must_use]
    pub fn is_not_accepted(&self) -> bool {
        match self.status {
            429 => true,
            503 => self.retry_after_ms.is_some() || !self.text.contains(ENVOY_RESET),
            _ => false,
        }
    }

    fn status_message(&self) -> String {
        let status = format!("the upstream returned status {}", self.status);
        match error_body::page_title(&self.text) {
            Some(title) => format!("{status} with the page {title:?}"),
            None => status,
        }
    }

    /// The error kind that the status implies.
    ///
    /// ```
    /// use pinhole_sdk::{ErrorKind, Refusal};
    ///
    /// let refusal = Refusal::new(429, &[], r#"{"error": {"message": "slow down"}}"#.into());
    /// assert_eq!(refusal.kind(), ErrorKind::RateLimited);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.status {
            401 | 407 => ErrorKind::Unauthorized,
            402 => ErrorKind::Quota,
            403 => ErrorKind::Forbidden,
            404 | 410 => ErrorKind::NotFound,
            408 => ErrorKind::Timeout,
            429 => ErrorKind::RateLimited,
            502..=504 | 520..=529 => ErrorKind::Unavailable,
            500..=599 => ErrorKind::Upstream,
            400..=499 => ErrorKind::Invalid,
            // The host follows no redirect and returns no 1xx.
            _ => ErrorKind::Protocol,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::new(refusal.kind(), refusal.message());
        error.retry_after_ms = refusal.retry_after_ms;
        error
    }
}

fn plain_message(body: &str) -> Option<String> {
    let text = body.trim();
    (!text.is_empty() && !error_body::is_markup(text))
        .then(|| truncate(text, MAX_PLAIN_MESSAGE_BYTES))
}

fn find_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(header.value.trim()).filter(|value| !value.is_empty())
}

fn retry_after_ms(headers: &[Header]) -> Option<u64> {
    let number = |name| find_header(headers, name)?.parse::<f64>().ok();
    // An engine has no clock, so a date is relative to the response's own `date` header.
    let until_date = || {
        let date = |name| httpdate::parse_http_date(find_header(headers, name)?).ok();
        let left = date("retry-after")?.duration_since(date("date")?).ok()?;
        Some(left.as_secs_f64() * 1000.0)
    };
    let ms = number("retry-after-ms")
        .or_else(|| Some(number("retry-after")? * 1000.0))
        .or_else(until_date)?;
    // The cast saturates.
    (ms >= 0.0).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, kind: ErrorKind, message: &str) {
        let refusal = Refusal::new(status, &[], body.into());
        assert_eq!(
            (refusal.kind(), refusal.message().as_str()),
            (kind, message)
        );
    }

    #[test]
    fn refusal_finds_kind_and_message() {
        use ErrorKind::{Invalid, NotFound, RateLimited, Unauthorized, Unavailable, Upstream};
        check(
            400,
            r#"{"error":{"message":"no such size"}}"#,
            Invalid,
            "no such size",
        );
        check(
            400,
            r#"{"error":"prompt required"}"#,
            Invalid,
            "prompt required",
        );
        check(
            429,
            r#"[{"error":{"message":"slow down"}}]"#,
            RateLimited,
            "slow down",
        );
        check(404, r#"{"detail":"Not Found"}"#, NotFound, "Not Found");
        let both = r#"{"error":"server_error","message":"no memory"}"#;
        check(500, both, Upstream, "no memory");
        check(401, "", Unauthorized, "the upstream returned status 401");
        check(
            502,
            "<html>Bad</html>",
            Unavailable,
            "the upstream returned status 502",
        );
        check(
            504,
            "<!DOCTYPE html><title>A timeout  occurred</title>",
            Unavailable,
            "the upstream returned status 504 with the page \"A timeout occurred\"",
        );
        let long = "x".repeat(MAX_PLAIN_MESSAGE_BYTES + 1);
        let cut = format!("{}…", "x".repeat(MAX_PLAIN_MESSAGE_BYTES));
        check(400, &long, Invalid, &cut);
        check(
            400,
            "\u{feff}{\"detail\": \"no\", \"limit\": NaN}",
            Invalid,
            "no",
        );
        check(
            500,
            "500 Internal Server Error\n",
            Upstream,
            "500 Internal Server Error",
        );
    }

    #[test]
    fn refusal_parses_retry_after_headers() {
        let header = |name: &str, value: &str| Header {
            name: name.into(),
            value: value.into(),
        };
        let delay = |headers: &[Header]| Refusal::new(429, headers, String::new()).retry_after_ms;
        assert_eq!(delay(&[header("retry-after", "3")]), Some(3000));
        let both = [header("retry-after", "3"), header("retry-after-ms", "1200")];
        assert_eq!(delay(&both), Some(1200));
        assert_eq!(delay(&[header("retry-after", "soon")]), None);
        assert_eq!(delay(&[header("retry-after", "-1")]), None);
        let date = header("date", "Sun, 22 Nov 2026 12:00:00 GMT");
        let later = header("retry-after", "Sun, 22 Nov 2026 12:00:30 GMT");
        assert_eq!(delay(&[date, later.clone()]), Some(30_000));
        assert_eq!(delay(&[later]), None);
    }

    #[test]
    fn refusal_reads_request_id_header() {
        let header = |name: &str| Header {
            name: name.into(),
            value: " req_1 ".into(),
        };
        let id = |name| Refusal::new(400, &[header(name)], String::new()).request_id;
        assert_eq!(id("x-request-id").as_deref(), Some("req_1"));
        assert_eq!(id("x-other"), None);
    }

    #[test]
    fn refusal_is_not_accepted_only_if_upstream_cannot_work_on_it() {
        let is_not_accepted =
            |status, text: &str| Refusal::new(status, &[], text.into()).is_not_accepted();
        assert!(is_not_accepted(429, ""));
        assert!(is_not_accepted(503, "<html>busy</html>"));
        for gave_up in [
            408, 500, 502, 504, 520, 521, 522, 523, 524, 525, 526, 527, 529,
        ] {
            assert!(!is_not_accepted(gave_up, ""), "{gave_up}");
        }
        let reset = "upstream connect error or disconnect/reset before headers. reset reason: \
                     connection termination";
        assert!(!is_not_accepted(503, reset));
        let header = Header {
            name: "retry-after".into(),
            value: "1".into(),
        };
        assert!(Refusal::new(503, &[header], reset.into()).is_not_accepted());
    }
}
