//! Responses of an upstream: typed JSON, images at JSON pointers, and refusals.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::upstream::{Document, Error as UpstreamError, Header, Response as RawResponse};
use crate::upstream_text::truncate;
use crate::{Error, ErrorKind, Image};

/// [`Document::parse`] shortens strings longer than this. They are images, and stay on the host.
pub const MAX_STRING_BYTES: u32 = 4096;
/// How much of a refusal's body is read as text.
pub const MAX_REFUSAL_BYTES: u32 = 16 * 1024;
const MAX_REQUEST_ID_BYTES: usize = 100;
/// A longer plain-text body is not used as a message.
const MAX_PLAIN_MESSAGE_BYTES: usize = 500;
/// Headers that hold a request id: those of OpenAI, Azure and Google.
const REQUEST_ID_HEADERS: [&str; 3] = ["x-request-id", "apim-request-id", "x-goog-request-id"];

/// An upstream's response, of any status.
#[derive(Debug)]
pub struct Response(pub RawResponse);

impl Response {
    /// Fails with the upstream's refusal if the status is not 2xx.
    pub fn success(self) -> Result<Self, Refusal> {
        if (200..300).contains(&self.0.status()) {
            Ok(self)
        } else {
            Err(Refusal::from_response(&self.0))
        }
    }

    /// The body as one document, from which typed values and images can be read.
    pub fn document(&self) -> Result<Document, Error> {
        Ok(self.0.document()?)
    }

    /// The body's JSON as `T`; see [`Document::parse`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.document()?.parse()
    }

    /// The whole body as one image.
    pub fn image(&self) -> Result<Image, Error> {
        Ok(self.0.image()?)
    }
}

impl Document {
    /// The JSON as `T`. Strings longer than [`MAX_STRING_BYTES`] are shortened.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.json(MAX_STRING_BYTES)?;
        serde_json::from_str(&text).map_err(|error| {
            Error::protocol(format!("cannot parse the upstream's response: {error}"))
        })
    }

    /// The whole string at a JSON pointer. Fails if it is longer than `max_bytes`.
    pub fn text(&self, pointer: &str, max_bytes: u32) -> Result<String, Error> {
        Ok(self.text_at(pointer, max_bytes)?)
    }

    /// The image in the base64 string or data URL at a JSON pointer.
    pub fn image(&self, pointer: &str) -> Result<Image, Error> {
        Ok(self.image_at(pointer)?)
    }

    /// The image at the `http` or `https` URL in the string at a JSON pointer. The host fetches it
    /// if the URL's host or path is granted.
    pub fn fetch_image(&self, pointer: &str) -> Result<Image, Error> {
        match self.fetch_image_at(pointer) {
            Ok(image) => Ok(image),
            // The upstream works, and has made the image: a second request would make another one.
            Err(UpstreamError::Connect(text)) => Err(Error::new(ErrorKind::Upstream, text)),
            Err(error) => Err(error.into()),
        }
    }
}

/// An upstream's response with a status other than 2xx. `?` converts it to an [`Error`].
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
    #[must_use]
    pub fn new(status: u16, headers: &[Header], text: String) -> Self {
        Self {
            status,
            json: serde_json::from_str(&text).ok(),
            text,
            retry_after_ms: retry_after_ms(headers),
            request_id: REQUEST_ID_HEADERS
                .iter()
                .find_map(|name| find_header(headers, name))
                .map(|id| truncate(id, MAX_REQUEST_ID_BYTES)),
        }
    }

    /// The upstream's message, or, without one, a text that names the status.
    ///
    /// Reads `{"error":{"message"}}` (alone or in an array), `{"message"}`, `{"error":"text"}`,
    /// `{"detail":"text"}` and plain text; ignores HTML pages.
    #[must_use]
    pub fn message(&self) -> String {
        let message = match &self.json {
            Some(json) => json_message(json),
            None => plain_message(&self.text),
        };
        message.unwrap_or_else(|| format!("the upstream returned status {}", self.status))
    }

    /// The error kind that the status implies.
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

fn json_message(json: &Value) -> Option<String> {
    let object = match json {
        Value::Array(items) => items.first()?,
        other => other,
    };
    ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_str())
        .find(|text| !text.is_empty())
        .map(str::to_owned)
}

fn plain_message(body: &str) -> Option<String> {
    let text = body.trim();
    let is_html = text.starts_with('<');
    if text.is_empty() || is_html || text.len() > MAX_PLAIN_MESSAGE_BYTES {
        return None;
    }
    Some(text.to_owned())
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
}
