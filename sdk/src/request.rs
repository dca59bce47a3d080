//! Requests to an upstream: JSON with images at JSON pointers, and multipart forms.
//!
//! ```no_run
//! # fn example() -> Result<(), pinhole_sdk::Error> {
//! use pinhole_sdk::Request;
//!
//! let body = serde_json::json!({"prompt": "a fox"});
//! let image = Request::post("api", "/images").json(&body)?.send()?.success()?.image()?;
//! # Ok(()) }
//! ```

mod form;

use serde::Serialize;
use serde_json::Value;

use crate::upstream::{self, Body, Header, Part, Pending, Request as RawRequest};
use crate::{Error, Image, Response, job};

pub use form::Form;

/// Timeout of one wait for a response, after which the wait repeats.
const WAIT_MS: u32 = 60_000;

/// Builds a request.
///
/// ```no_run
/// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::Request;
///
/// let response = Request::post("api", "/sdapi/v1/img2img")
///     .json_with_images(
///         &serde_json::json!({"prompt": "a fox", "init_images": [null]}),
///         &[("/init_images/0", image)],
///     )?
///     .send()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    upstream: String,
    method: String,
    path: String,
    headers: Vec<Header>,
    body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A request without a body. The host appends `path` to the upstream's base URL.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let request = Request::new("DELETE", "api", "/jobs/7");
    /// ```
    #[must_use]
    pub fn new(method: &str, upstream: &str, path: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// A `GET` request.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let request = Request::get("api", "/models");
    /// ```
    #[must_use]
    pub fn get(upstream: &str, path: impl Into<String>) -> Self {
        Self::new("GET", upstream, path)
    }

    /// A `POST` request.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let request = Request::post("api", "/images");
    /// ```
    #[must_use]
    pub fn post(upstream: &str, path: impl Into<String>) -> Self {
        Self::new("POST", upstream, path)
    }

    /// Adds a header.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let request = Request::post("api", "/predictions").header("prefer", "respond-async");
    /// ```
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Sets a JSON body.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let body = serde_json::json!({"prompt": "a fox"});
    /// let request = Request::post("api", "/images").json(&body)?;
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    pub fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        self.json_with_images(value, &[])
    }

    /// Sets a JSON body in which the host inserts images as base64.
    ///
    /// Each image replaces the value at its JSON pointer. Fails if `value` has nothing there.
    ///
    /// ```no_run
    /// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::Request;
    ///
    /// let body = serde_json::json!({"prompt": "a fox", "image": null});
    /// let request = Request::post("api", "/edits").json_with_images(&body, &[("/image", image)])?;
    /// # Ok(()) }
    /// ```
    pub fn json_with_images(
        self,
        value: &impl Serialize,
        images: &[(&str, &'a Image)],
    ) -> Result<Self, Error> {
        self.json_with(value, images, Part::ImageBase64)
    }

    /// Sets a JSON body in which the host inserts images as data URLs.
    ///
    /// Each image replaces the value at its JSON pointer. Fails if `value` has nothing there.
    ///
    /// ```no_run
    /// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::Request;
    ///
    /// let body = serde_json::json!({"prompt": "a fox", "image_url": null});
    /// let request = Request::post("api", "/edits").json_with_data_urls(&body, &[("/image_url", image)])?;
    /// # Ok(()) }
    /// ```
    pub fn json_with_data_urls(
        self,
        value: &impl Serialize,
        images: &[(&str, &'a Image)],
    ) -> Result<Self, Error> {
        self.json_with(value, images, Part::ImageDataUrl)
    }

    fn json_with(
        mut self,
        value: &impl Serialize,
        images: &[(&str, &'a Image)],
        part: impl Fn(&'a Image) -> Part<'a>,
    ) -> Result<Self, Error> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::protocol(format!("cannot write the request: {error}")))?;
        let places: Vec<&str> = images.iter().map(|(pointer, _)| *pointer).collect();
        let mut parts = Vec::new();
        for piece in split_json(value, &places)? {
            parts.push(match piece {
                Piece::Text(text) => Part::Text(text),
                Piece::Image(index) => match images.get(index) {
                    Some((_, image)) => part(image),
                    None => return Err(Error::protocol("an image of the request is missing")),
                },
            });
        }
        self.body = Body::Json(parts);
        Ok(self)
    }

    /// Sets a multipart form as the body.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    /// use pinhole_sdk::request::Form;
    ///
    /// let request = Request::post("api", "/images").form(Form::new().text("prompt", "a fox"));
    /// ```
    #[must_use]
    pub fn form(mut self, form: Form<'a>) -> Self {
        self.body = Body::Form(form.into_fields());
        self
    }

    /// Sets names and values as the body, sent as `application/x-www-form-urlencoded`.
    ///
    /// ```
    /// use pinhole_sdk::Request;
    ///
    /// let request = Request::post("api", "/images").urlencoded(&[("prompt", "a fox")]);
    /// ```
    #[must_use]
    pub fn urlencoded(mut self, fields: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.body = Body::Urlencoded(fields.iter().map(own).collect());
        self
    }

    /// Sets an image as the whole body, with its own content type.
    ///
    /// ```no_run
    /// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::Request;
    ///
    /// let response = Request::post("api", "/upscale").image(image).send()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn image(mut self, image: &'a Image) -> Self {
        self.body = Body::Raw((image.media_type(), vec![Part::Image(image)]));
        self
    }

    /// Sends the request and waits for the response, of any status.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::Request;
    ///
    /// let image = Request::get("api", "/jobs/7/image").send()?.success()?.image()?;
    /// # Ok(()) }
    /// ```
    pub fn send(self) -> Result<Response, Error> {
        Ok(Response(upstream::send(&self.into_raw())?))
    }

    /// Sends the request without waiting, so that the engine can report progress meanwhile.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::{Image, Progress, Request, Response, job};
    ///
    /// let pending = Request::post("api", "/images").start()?;
    /// let response = loop {
    ///     if let Some(response) = pending.wait(500) {
    ///         break Response(response?);
    ///     }
    ///     let progress = Progress { fraction: None, queue_position: None, note: Some("running".into()) };
    ///     job::report(&progress, None::<&Image>);
    /// };
    /// # Ok(()) }
    /// ```
    pub fn start(self) -> Result<Pending, Error> {
        Ok(upstream::start(&self.into_raw())?)
    }

    /// Sends the request and waits for the response, of any status. Also if the job is cancelled meanwhile: for
    /// a short time, the response still arrives. For a request that orders an image, so that the engine learns
    /// the id by which it can tell the upstream to stop. Look at [`is_cancelled`] afterwards.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::{Error, ErrorKind, Request, is_cancelled};
    ///
    /// let order = Request::post("api", "/jobs").send_to_end()?.success()?.document()?;
    /// if is_cancelled() {
    ///     order.post_url("/urls/cancel").ok();
    ///     return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn send_to_end(self) -> Result<Response, Error> {
        let pending = self.start()?;
        let mut is_cancelled = false;
        loop {
            match pending.wait(WAIT_MS) {
                None => {}
                Some(Err(upstream::Error::Cancelled)) if !is_cancelled => is_cancelled = true,
                Some(ended) => return Ok(Response(ended?)),
            }
        }
    }

    fn into_raw(self) -> RawRequest<'a> {
        RawRequest {
            upstream: self.upstream,
            method: self.method,
            path: self.path,
            headers: self.headers,
            body: self.body,
        }
    }
}

/// True if the job was cancelled: the engine has a short time to tell its upstream to stop.
///
/// ```no_run
/// # fn example() -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::{Request, is_cancelled};
///
/// if is_cancelled() {
///     Request::post("api", "/interrupt").send()?;
/// }
/// # Ok(()) }
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    !job::sleep(0)
}

/// Sends requests concurrently and waits for all responses, of any status. The results are in the
/// order of the requests.
///
/// ```no_run
/// # fn example() -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::{Request, send_all};
///
/// let requests = (0..2).map(|_| Request::post("api", "/images")).collect();
/// for response in send_all(requests) {
///     let image = response?.success()?.image()?;
/// }
/// # Ok(()) }
/// ```
pub fn send_all(requests: Vec<Request<'_>>) -> Vec<Result<Response, Error>> {
    // A single request needs no handle to wait on.
    if requests.len() == 1 {
        return requests.into_iter().map(Request::send).collect();
    }
    let started: Vec<_> = requests.into_iter().map(Request::start).collect();
    let wait = |pending: Pending| loop {
        if let Some(response) = pending.wait(WAIT_MS) {
            return Ok(Response(response?));
        }
    };
    started
        .into_iter()
        .map(|pending| pending.and_then(wait))
        .collect()
}

/// Percent-encodes text for one path segment or one query value.
///
/// ```
/// use pinhole_sdk::request::percent_encode;
///
/// assert_eq!(percent_encode("a fox/1"), "a%20fox%2F1");
/// ```
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Image(usize),
}

/// Splits the JSON text of `value` at the pointers. Each image is between two quotes, after the text of its
/// place.
fn split_json(mut value: Value, places: &[&str]) -> Result<Vec<Piece>, Error> {
    // The marker must not occur in the value itself.
    let mut marker = String::from("pinhole-image");
    let original = value.to_string();
    while original.contains(&marker) {
        marker.push('-');
    }
    for (index, pointer) in places.iter().enumerate() {
        let target = value.pointer_mut(pointer).ok_or_else(|| {
            Error::protocol(format!(
                "cannot insert an image at {pointer}: the request has no such JSON pointer"
            ))
        })?;
        *target = Value::String(format!("{marker}:{index}:"));
    }
    let marked = value.to_string();
    let mut pieces = Vec::new();
    let mut rest = marked.as_str();
    while let Some((before, after)) = rest.split_once(&format!("{marker}:")) {
        let (index, remaining) = after.split_once(':').unwrap_or((after, ""));
        pieces.push(Piece::Text(before.into()));
        pieces.push(Piece::Image(index.parse().unwrap_or(usize::MAX)));
        rest = remaining;
    }
    pieces.push(Piece::Text(rest.into()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, pointers: &[&str], expected: &[Piece]) {
        assert_eq!(split_json(value, pointers).unwrap(), expected);
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn split_json_splits_at_image_pointers() {
        check(json!({"a": 1}), &[], &[text(r#"{"a":1}"#)]);
        check(
            json!({"images": [null, "x"], "mask": null, "prompt": "p"}),
            &["/mask", "/images/0"],
            &[
                text(r#"{"images":[""#),
                Piece::Image(1),
                text(r#"","x"],"mask":""#),
                Piece::Image(0),
                text(r#"","prompt":"p"}"#),
            ],
        );
    }

    #[test]
    fn split_json_ignores_marker_in_prompt() {
        check(
            json!({"image": null, "prompt": "pinhole-image:0:"}),
            &["/image"],
            &[
                text(r#"{"image":""#),
                Piece::Image(0),
                text(r#"","prompt":"pinhole-image:0:"}"#),
            ],
        );
    }

    #[test]
    fn split_json_refuses_missing_pointer() {
        assert!(split_json(json!({}), &["/image"]).is_err());
    }

    #[test]
    fn percent_encode_escapes_reserved_bytes() {
        assert_eq!(percent_encode("a b&ü/c.png"), "a%20b%26%C3%BC%2Fc.png");
    }
}
