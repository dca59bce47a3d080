//! Responses of an upstream: typed JSON, and images at JSON pointers and URLs.
//!
//! ```no_run
//! # fn example() -> Result<(), pinhole_sdk::Error> {
//! use pinhole_sdk::Request;
//!
//! let document = Request::get("api", "/jobs/7").send()?.success()?.document()?;
//! let state: serde_json::Value = document.parse()?;
//! let image = document.fetch_image("/output/0")?;
//! # Ok(()) }
//! ```

use serde::de::DeserializeOwned;

use crate::refusal::Refusal;
use crate::upstream::{Body, Document, Error as UpstreamError, Response as RawResponse};
use crate::{Error, ErrorKind, Image};

/// [`Document::parse`] shortens strings longer than this. They are images, and stay on the host.
pub const MAX_STRING_BYTES: u32 = 4096;

/// How much of a body shows whether it is an event stream.
const MAX_START_BYTES: u32 = 64;

/// An upstream's response, of any status.
///
/// ```no_run
/// # fn example() -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::Request;
///
/// let response = Request::get("api", "/models").send()?;
/// let status = response.0.status();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Response(pub RawResponse);

impl Response {
    /// Fails with the upstream's refusal if the status is not 2xx.
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// let image = response.success()?.image()?;
    /// # Ok(()) }
    /// ```
    pub fn success(self) -> Result<Self, Refusal> {
        if (200..300).contains(&self.0.status()) {
            Ok(self)
        } else {
            Err(Refusal::from_response(&self.0))
        }
    }

    /// The body as one document, from which typed values and images can be read.
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// let document = response.document()?;
    /// let image = document.image("/data/0/b64_json")?;
    /// # Ok(()) }
    /// ```
    pub fn document(&self) -> Result<Document, Error> {
        Ok(self.0.document()?)
    }

    /// The body's JSON as `T`; see [`Document::parse`].
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Created {
    ///     id: String,
    /// }
    /// let created: Created = response.json()?;
    /// # Ok(()) }
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.document()?.parse()
    }

    /// Whether the body is an event stream, by its media type or by its beginning. Read its events with
    /// `next_event`.
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// while response.is_event_stream() {
    ///     let Some(event) = response.0.next_event()? else { break };
    ///     let json: serde_json::Value = event.parse()?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        let is_declared = self.0.headers().iter().any(|header| {
            header.name == "content-type" && header.value.starts_with("text/event-stream")
        });
        let looks_like_stream = || {
            let start = self.0.text(MAX_START_BYTES).unwrap_or_default();
            let start = start.trim_start_matches('\u{feff}').trim_start();
            ["data:", "event:"]
                .iter()
                .any(|name| start.starts_with(name))
        };
        is_declared || looks_like_stream()
    }

    /// The whole body as one image.
    ///
    /// ```no_run
    /// # fn example(response: pinhole_sdk::Response) -> Result<(), pinhole_sdk::Error> {
    /// let image = response.image()?;
    /// # Ok(()) }
    /// ```
    pub fn image(&self) -> Result<Image, Error> {
        Ok(self.0.image()?)
    }
}

impl Document {
    /// The JSON as `T`. Strings longer than [`MAX_STRING_BYTES`] are shortened.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// let json: serde_json::Value = document.parse()?;
    /// # Ok(()) }
    /// ```
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.json(MAX_STRING_BYTES)?;
        serde_json::from_str(&text).map_err(|error| {
            Error::protocol(format!("cannot parse the upstream's response: {error}"))
        })
    }

    /// The whole string at a JSON pointer. Fails if it is longer than `max_bytes`.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// let info = document.text("/info", 100_000)?;
    /// # Ok(()) }
    /// ```
    pub fn text(&self, pointer: &str, max_bytes: u32) -> Result<String, Error> {
        Ok(self.text_at(pointer, max_bytes)?)
    }

    /// The image in the base64 string or data URL at a JSON pointer.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// let image = document.image("/data/0/b64_json")?;
    /// # Ok(()) }
    /// ```
    pub fn image(&self, pointer: &str) -> Result<Image, Error> {
        Ok(self.image_at(pointer)?)
    }

    /// Requests the URL in the string at a JSON pointer, such as that of a job's state.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// let state: serde_json::Value = document.get_url("/urls/get")?.success()?.json()?;
    /// # Ok(()) }
    /// ```
    pub fn get_url(&self, pointer: &str) -> Result<Response, Error> {
        Ok(Response(self.follow(pointer, "GET", &[], &Body::None)?))
    }

    /// Sends an empty `POST` to the URL in the string at a JSON pointer, such as that which cancels a job.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// document.post_url("/urls/cancel")?.success()?;
    /// # Ok(()) }
    /// ```
    pub fn post_url(&self, pointer: &str) -> Result<Response, Error> {
        Ok(Response(self.follow(pointer, "POST", &[], &Body::None)?))
    }

    /// The image at the `http` or `https` URL in the string at a JSON pointer. The host fetches it
    /// if the URL's host or path is granted.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// let image = document.fetch_image("/output/0")?;
    /// # Ok(()) }
    /// ```
    pub fn fetch_image(&self, pointer: &str) -> Result<Image, Error> {
        match self.fetch_image_at(pointer) {
            Ok(image) => Ok(image),
            // The upstream works, and has made the image: a second request would make another one.
            Err(UpstreamError::Connect(text)) => Err(Error::new(ErrorKind::Upstream, text)),
            Err(error) => Err(error.into()),
        }
    }
}
