//! Requests to an upstream: JSON with images by pointer, and multipart forms.

use serde::Serialize;
use serde_json::Value;

use crate::bindings::pinhole::engine::upstream::{
    self, Body, Field, Header, Part, Pending, Request as RawRequest, Socket,
};
use crate::{Answer, Error, Image};

/// How long one wait for an answer lasts, in milliseconds; then the next one begins.
const WAIT_MS: u32 = 60_000;

/// A request under construction.
///
/// ```no_run
/// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::Request;
///
/// let answer = Request::post("api", "/sdapi/v1/img2img")
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
    /// A request without a body to a path under the upstream's base URL.
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

    /// A `GET`.
    #[must_use]
    pub fn get(upstream: &str, path: impl Into<String>) -> Self {
        Self::new("GET", upstream, path)
    }

    /// A `POST`.
    #[must_use]
    pub fn post(upstream: &str, path: impl Into<String>) -> Self {
        Self::new("POST", upstream, path)
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The same with a JSON body.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        self.json_with_images(value, &[])
    }

    /// The same with a JSON body in which the host writes images, in base64, at JSON pointers.
    ///
    /// Each pointer names a place that exists in `value`; what stands there is replaced.
    pub fn json_with_images(
        mut self,
        value: &impl Serialize,
        images: &[(&str, &'a Image)],
    ) -> Result<Self, Error> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::protocol(format!("cannot write the request: {error}")))?;
        let pointers: Vec<&str> = images.iter().map(|(pointer, _)| *pointer).collect();
        let mut parts = Vec::new();
        for piece in split_json(value, &pointers)? {
            parts.push(match piece {
                Piece::Text(text) => Part::Text(text),
                Piece::Image(index) => match images.get(index) {
                    Some((_, image)) => Part::ImageBase64(image),
                    None => return Err(Error::protocol("a picture of the request is missing")),
                },
            });
        }
        self.body = Body::Json(parts);
        Ok(self)
    }

    /// The same with a multipart form.
    #[must_use]
    pub fn form(mut self, form: Form<'a>) -> Self {
        self.body = Body::Form(form.0);
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    pub fn send(self) -> Result<Answer, Error> {
        Ok(Answer(upstream::send(&self.raw())?))
    }

    /// Sends it without waiting, so that progress can be asked for meanwhile.
    pub fn start(self) -> Result<Pending, Error> {
        Ok(upstream::start(&self.raw())?)
    }

    fn raw(self) -> RawRequest<'a> {
        RawRequest {
            upstream: self.upstream,
            method: self.method,
            path: self.path,
            headers: self.headers,
            body: self.body,
        }
    }
}

/// Sends requests side by side and waits for all. The answers, of any status, come in the order of
/// the requests.
pub fn send_all(requests: Vec<Request<'_>>) -> Vec<Result<Answer, Error>> {
    // One alone needs no handle of its own.
    if requests.len() == 1 {
        return requests.into_iter().map(Request::send).collect();
    }
    let pending: Vec<_> = requests.into_iter().map(Request::start).collect();
    pending
        .into_iter()
        .map(|pending| {
            let pending = pending?;
            loop {
                if let Some(response) = pending.wait(WAIT_MS) {
                    return Ok(Answer(response?));
                }
            }
        })
        .collect()
}

/// Opens a WebSocket at a path of an upstream.
pub fn connect(upstream: &str, path: &str) -> Result<Socket, upstream::Error> {
    upstream::connect(upstream, path)
}

/// The fields of a multipart form, in order.
#[derive(Debug, Default)]
pub struct Form<'a>(Vec<Field<'a>>);

impl<'a> Form<'a> {
    /// A form without fields.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// The same with a text field. Numbers and booleans are text here.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(Field {
            name: name.into(),
            file_name: None,
            media_type: None,
            content: vec![Part::Text(value.to_string())],
        });
        self
    }

    /// The same with an image as a file; its extension and type are those of its bytes.
    #[must_use]
    pub fn image(mut self, name: &str, stem: &str, image: &'a Image) -> Self {
        let media_type = image.media_type();
        let extension = match media_type.as_str() {
            "image/jpeg" => "jpg",
            other => other.strip_prefix("image/").unwrap_or("bin"),
        };
        self.0.push(Field {
            name: name.into(),
            file_name: Some(format!("{stem}.{extension}")),
            media_type: Some(media_type.clone()),
            content: vec![Part::Image(image)],
        });
        self
    }
}

/// Percent-encodes text for one segment of a path or one value of a query.
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

/// The JSON text of `value`, cut at the pointers: each image stands between two quotes.
fn split_json(mut value: Value, pointers: &[&str]) -> Result<Vec<Piece>, Error> {
    // The mark must not occur in the value itself: lengthen it until it does not.
    let mut mark = String::from("pinhole-image");
    let whole = value.to_string();
    while whole.contains(&mark) {
        mark.push('-');
    }
    for (index, pointer) in pointers.iter().enumerate() {
        let place = value.pointer_mut(pointer).ok_or_else(|| {
            Error::protocol(format!("the request has no place {pointer} for a picture"))
        })?;
        *place = Value::String(format!("{mark}:{index}:"));
    }
    let text = value.to_string();
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(&format!("{mark}:")) {
        let (index, after) = after.split_once(':').unwrap_or((after, ""));
        pieces.push(Piece::Text(before.into()));
        pieces.push(Piece::Image(index.parse().unwrap_or(usize::MAX)));
        rest = after;
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
    fn json_is_cut_where_images_go() {
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
    fn a_prompt_cannot_forge_an_image() {
        let pieces = split_json(
            json!({"image": null, "prompt": "pinhole-image:0:"}),
            &["/image"],
        )
        .unwrap();
        assert_eq!(
            pieces,
            [
                text(r#"{"image":""#),
                Piece::Image(0),
                text(r#"","prompt":"pinhole-image:0:"}"#),
            ]
        );
    }

    #[test]
    fn a_pointer_to_nowhere_is_an_error() {
        assert!(split_json(json!({}), &["/image"]).is_err());
    }

    #[test]
    fn a_segment_is_percent_encoded() {
        assert_eq!(percent_encode("a b&ü/c.png"), "a%20b%26%C3%BC%2Fc.png");
    }
}
