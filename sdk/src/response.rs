//! Answers of an upstream: typed JSON, images by pointer, and its refusals as errors.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::pinhole::engine::upstream::{Document, Header, Response};
use crate::words::cut;
use crate::{Error, ErrorKind, Image};

/// Strings of an answer longer than this, in bytes, come cut: they are images, and stay outside.
pub const MAX_STRING: u32 = 4096;
/// How much of a refusal's body is read as text, in bytes.
pub const MAX_REFUSAL: u32 = 16 * 1024;
/// Length of an upstream's name of a request, in bytes.
const MAX_REQUEST_ID: usize = 100;
/// Headers that name a request: those of OpenAI, Azure and Google.
const REQUEST_IDS: [&str; 3] = ["x-request-id", "apim-request-id", "x-goog-request-id"];

/// An upstream's answer, of any status.
#[derive(Debug)]
pub struct Answer(pub Response);

impl Answer {
    /// The same when its status is 2xx, else the upstream's refusal.
    pub fn success(self) -> Result<Self, Refusal> {
        if (200..300).contains(&self.0.status()) {
            Ok(self)
        } else {
            Err(Refusal::read(&self.0))
        }
    }

    /// The body as one document, from which typed values and images can be taken.
    pub fn document(&self) -> Result<Document, Error> {
        Ok(self.0.document()?)
    }

    /// The body's JSON as `T`, with strings longer than [`MAX_STRING`] cut short.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.document()?.parse()
    }

    /// The whole body as one image.
    pub fn image(&self) -> Result<Image, Error> {
        Ok(self.0.image()?)
    }
}

impl Document {
    /// The JSON as `T`, with strings longer than [`MAX_STRING`] cut short.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.json(MAX_STRING)?;
        serde_json::from_str(&text).map_err(|error| {
            Error::protocol(format!("the upstream's answer is unexpected: {error}"))
        })
    }

    /// The string at a JSON pointer, whole, if it has at most `max` bytes.
    pub fn text(&self, pointer: &str, max: u32) -> Result<String, Error> {
        Ok(self.text_at(pointer, max)?)
    }

    /// The image in the base64 string (or data URL) at a JSON pointer.
    pub fn image(&self, pointer: &str) -> Result<Image, Error> {
        Ok(self.image_at(pointer)?)
    }
}

/// What an upstream said with a status other than 2xx. Becomes an [`Error`] by `?`.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body where it is JSON.
    pub json: Option<Value>,
    /// The beginning of the body as text.
    pub text: String,
    /// From `retry-after-ms`, or from `retry-after` in seconds or as a date, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The upstream's own name of the request, from `x-request-id` and the like.
    pub request_id: Option<String>,
}

impl Refusal {
    /// Reads the refusal from a response.
    #[must_use]
    pub fn read(response: &Response) -> Self {
        let text = response.text(MAX_REFUSAL).unwrap_or_default();
        // What was cut off is JSON only as a whole.
        let cut = text.len() >= MAX_REFUSAL as usize;
        let whole = || {
            let text = response.document().ok()?.json(MAX_STRING).ok()?;
            serde_json::from_str(&text).ok()
        };
        let mut refusal = Self::new(response.status(), &response.headers(), text);
        if cut && refusal.json.is_none() {
            refusal.json = whole();
        }
        refusal
    }

    /// From the pieces of a response.
    #[must_use]
    pub fn new(status: u16, headers: &[Header], text: String) -> Self {
        Self {
            status,
            json: serde_json::from_str(&text).ok(),
            text,
            retry_after_ms: retry_after_ms(headers),
            request_id: REQUEST_IDS
                .iter()
                .find_map(|name| header(headers, name))
                .map(|id| cut(id, MAX_REQUEST_ID)),
        }
    }

    /// What a person should read: the upstream's own words, or the status when it had none.
    ///
    /// Knows the shapes `{"error":{"message"}}` (alone or in an array), `{"message"}`,
    /// `{"error":"text"}`, `{"detail":"text"}` and plain text; HTML pages are not shown.
    #[must_use]
    pub fn message(&self) -> String {
        let said = match &self.json {
            Some(json) => said(json),
            None => plain(&self.text),
        };
        match said {
            Some(said) => said,
            None => format!("the upstream answered with status {}", self.status),
        }
    }

    /// What the status alone says.
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
            // A redirect is not followed, and 1xx never arrives here.
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

fn said(json: &Value) -> Option<String> {
    let json = match json {
        Value::Array(items) => items.first()?,
        other => other,
    };
    ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .filter_map(|pointer| json.pointer(pointer)?.as_str())
        .find(|text| !text.is_empty())
        .map(str::to_owned)
}

fn plain(text: &str) -> Option<String> {
    let text = text.trim();
    let shown = !text.is_empty() && !text.starts_with('<') && text.len() <= 500;
    shown.then(|| text.to_owned())
}

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(header.value.trim()).filter(|value| !value.is_empty())
}

fn retry_after_ms(headers: &[Header]) -> Option<u64> {
    let number = |name| header(headers, name)?.parse::<f64>().ok();
    // An engine has no clock: a date is read against the upstream's own.
    let until = || {
        let date = |name| httpdate::parse_http_date(header(headers, name)?).ok();
        let left = date("retry-after")?.duration_since(date("date")?).ok()?;
        Some(left.as_secs_f64() * 1000.0)
    };
    let ms = number("retry-after-ms")
        .or_else(|| Some(number("retry-after")? * 1000.0))
        .or_else(until)?;
    // A float-to-integer cast saturates: nonsense becomes 0 or the far future.
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
    fn the_upstreams_words_are_found() {
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
        check(
            401,
            "",
            Unauthorized,
            "the upstream answered with status 401",
        );
        check(
            502,
            "<html>Bad</html>",
            Unavailable,
            "the upstream answered with status 502",
        );
        check(
            500,
            "500 Internal Server Error\n",
            Upstream,
            "500 Internal Server Error",
        );
    }

    #[test]
    fn the_delay_is_read_in_both_units() {
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
    fn the_request_has_the_upstreams_name() {
        let header = |name: &str| Header {
            name: name.into(),
            value: " req_1 ".into(),
        };
        let id = |name| Refusal::new(400, &[header(name)], String::new()).request_id;
        assert_eq!(id("x-request-id").as_deref(), Some("req_1"));
        assert_eq!(id("x-other"), None);
    }
}
