//! `ImageJson`: JSON with images in base64, which are encoded while it is sent.
//!
//! The whole text would need the memory of the images once more. The JSON has a marker in place of each image.
//! A marker is random, so that no text of a client or an upstream can contain it.

use std::convert::Infallible;
use std::fmt;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use pinhole_images::Image;
use serde::{Serialize, Serializer};

use crate::web::error::ApiError;

/// Bytes of an image that are encoded at a time: a multiple of three, so that only the last chunk is
/// padded.
const CHUNK_BYTES: usize = 48 << 10;

/// Stands for the base64 of the next image in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct ImageMarker(String);

/// JSON text and the images that replace its markers.
#[derive(Debug)]
pub(super) struct ImageJson {
    /// Text before the first image, and after each.
    texts: Vec<String>,
    images: Vec<Image>,
}

/// A part of the text.
enum Part {
    Text(Bytes),
    /// An image that is not encoded yet.
    Image(Bytes),
}

impl ImageMarker {
    pub(super) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl Serialize for ImageMarker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for ImageMarker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl ImageJson {
    /// A text without images.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            texts: vec![text.into()],
            images: Vec::new(),
        }
    }

    /// Serializes a value in which the marker stands for each image, in order. Fails only because of a bug.
    pub(super) fn new(
        value: &impl Serialize,
        marker: &ImageMarker,
        images: Vec<Image>,
    ) -> Result<Self, ApiError> {
        let json = serde_json::to_string(value)
            .map_err(|error| ApiError::internal(&error.into()).without_retry())?;
        Ok(Self {
            texts: json.split(&marker.0).map(str::to_owned).collect(),
            images,
        })
    }

    /// A response with the status 200.
    pub(super) fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CONTENT_LENGTH, self.text_bytes().into()),
        ];
        let chunks = self.parts().into_iter().flat_map(Part::chunks);
        let body = Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)));
        (headers, body).into_response()
    }

    /// Length of the text with the encoded images, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        self.parts().iter().map(Part::length).sum()
    }

    /// Length of the encoded images in bytes.
    pub(super) fn image_bytes(&self) -> usize {
        let images = self.images.iter();
        images
            .map(|image| STANDARD.encoded_length(image.bytes().len()))
            .sum()
    }

    /// The whole text, with the encoded images.
    pub(super) fn into_text(self) -> String {
        let mut text = String::with_capacity(self.text_bytes());
        let mut images = self.images.iter();
        for (index, piece) in self.texts.iter().enumerate() {
            if index > 0
                && let Some(image) = images.next()
            {
                STANDARD.encode_append(image.bytes(), &mut text);
            }
            text.push_str(piece);
        }
        text
    }

    fn parts(&self) -> Vec<Part> {
        let mut images = self.images.iter();
        let mut parts = Vec::new();
        for (index, piece) in self.texts.iter().enumerate() {
            if index > 0
                && let Some(image) = images.next()
            {
                parts.push(Part::Image(image.bytes().clone()));
            }
            parts.push(Part::Text(Bytes::copy_from_slice(piece.as_bytes())));
        }
        parts
    }
}

impl Part {
    /// Length of the encoded part in bytes.
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Image(bytes) => STANDARD.encoded_length(bytes.len()),
        }
    }

    fn chunks(self) -> impl Iterator<Item = Bytes> {
        let (bytes, is_image) = match self {
            Self::Text(text) => (text, false),
            Self::Image(bytes) => (bytes, true),
        };
        (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| {
            let chunk = bytes.slice(start..bytes.len().min(start + CHUNK_BYTES));
            if is_image {
                return STANDARD.encode_to_string(&chunk).into();
            }
            chunk
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(length: usize) {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let part = || Part::Image(bytes.clone().into());
        let chunks: Vec<Bytes> = part().chunks().collect();
        assert_eq!(
            chunks.concat(),
            STANDARD.encode_to_string(&bytes).as_bytes()
        );
        assert_eq!(chunks.concat().len(), part().length());
    }

    #[test]
    fn encoded_chunks_concatenate_to_base64_of_whole_image() {
        for length in [0, 1, 2, 3, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            check(length);
            check(2 * CHUNK_BYTES + length);
        }
    }

    #[test]
    fn images_replace_markers_and_no_other_text() {
        let marker = ImageMarker::new();
        let other = ImageMarker::new();
        let entry = json!({"b64_json": marker, "revised_prompt": other});
        let url = format!("data:image/png;base64,{marker}");
        let images = vec![Image::sample(1, 0), Image::sample(2, 0)];
        let body = json!({"data": [entry, {"url": url}]});
        let json = || ImageJson::new(&body, &marker, images.clone()).unwrap();
        let text = json().into_text();
        assert_eq!(text.len(), json().text_bytes());
        let chunks: Vec<Bytes> = json().parts().into_iter().flat_map(Part::chunks).collect();
        assert_eq!(chunks.concat(), text.as_bytes());
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let [first, second] = [0, 1].map(|index| STANDARD.encode_to_string(images[index].bytes()));
        assert_eq!(parsed["data"][0]["b64_json"], first);
        assert_eq!(parsed["data"][0]["revised_prompt"], json!(other));
        let expected = format!("data:image/png;base64,{second}");
        assert_eq!(parsed["data"][1]["url"], expected);
    }
}
