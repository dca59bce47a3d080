//! The response with the images of a completed job.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use pinhole_ground::text::is_plain;
use pinhole_images::Image;

use crate::files::link::FileLinks;
use crate::jobs::CompletedJob;
use crate::store::{FileRow, now};
use crate::web::error::ApiError;

/// Bytes of an image that are encoded at a time: a multiple of three, so that only the last chunk is
/// padded.
const CHUNK_BYTES: usize = 48 << 10;
/// Length of a property that an engine reports, in bytes.
const MAX_PROPERTY_BYTES: usize = 40;
/// An image in JSON text, before its base64 is inserted. No JSON string can contain it, because its
/// quotation marks would be escaped.
const EMPTY_IMAGE: &str = r#""b64_json":"""#;

/// The generated images.
#[derive(Serialize, ToSchema)]
pub(super) struct ImagesResponse {
    /// Seconds since 1970.
    created: i64,
    data: Vec<ImageEntry>,
    #[schema(nullable = false, value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// Not part of OpenAI's API: in what the images differ from the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// An image as `b64_json` or `url`, depending on the request's `response_format`, or else on its model.
#[derive(Clone, Serialize, ToSchema)]
struct ImageEntry {
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    b64_json: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The prompt as the upstream rewrote it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
}

/// Properties of the images that the engine reports.
#[derive(Clone, Debug)]
pub(super) struct ImageProperties {
    pub(super) background: Option<String>,
    pub(super) quality: Option<String>,
    pub(super) size: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// The cost of a job in tokens; zeros if the upstream reports none.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

impl ImagesResponse {
    fn new(completed: &CompletedJob, data: Vec<ImageEntry>) -> Self {
        let properties = ImageProperties::from_details(&completed.details);
        Self {
            created: now(),
            data,
            output_format: None,
            background: properties.background,
            quality: properties.quality,
            size: properties.size,
            usage: properties.usage,
            warnings: completed.warnings.clone(),
        }
    }
}

impl ImageProperties {
    /// Reads the properties from an engine's details.
    pub(super) fn from_details(details: &Value) -> Self {
        let property = |name: &str| {
            let text = details.get(name)?.as_str()?;
            is_plain(text, MAX_PROPERTY_BYTES).then(|| text.to_owned())
        };
        Self {
            background: property("background"),
            quality: property("quality"),
            size: property("size"),
            usage: details.get("usage").map(Usage::from_json),
        }
    }
}

impl Usage {
    fn from_json(usage: &Value) -> Self {
        let count = |name| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        Self {
            input_tokens: count("input_tokens"),
            output_tokens: count("output_tokens"),
            total_tokens: count("total_tokens"),
        }
    }
}

/// The images in base64. They are encoded chunk by chunk while they are sent, because the whole text
/// would need the memory of the images once more.
pub(super) fn base64_response(completed: &CompletedJob) -> Result<Response, ApiError> {
    let entry = ImageEntry {
        b64_json: Some(String::new()),
        url: None,
        revised_prompt: completed.revised_prompt.clone(),
    };
    let data = completed.images.iter().map(|_| entry.clone()).collect();
    let response = ImagesResponse {
        output_format: completed.images.first().and_then(output_format),
        ..ImagesResponse::new(completed, data)
    };
    let json = serde_json::to_string(&response)
        .map_err(|error| ApiError::internal(&error.into()).without_retry())?;
    let parts = body_parts(&json, &completed.images);
    let length: usize = parts.iter().map(BodyPart::length).sum();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_LENGTH, length.into()),
    ];
    let chunks = parts.into_iter().flat_map(BodyPart::chunks);
    let body = Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)));
    Ok((headers, body).into_response())
}

/// A part of a response's body.
enum BodyPart {
    Text(Bytes),
    /// An image that is not encoded yet.
    Image(Bytes),
}

/// The JSON text with an image in place of each empty one.
fn body_parts(json: &str, images: &[Image]) -> Vec<BodyPart> {
    let mut texts = json.split(EMPTY_IMAGE);
    let first = texts.next().unwrap_or_default();
    let mut parts = vec![BodyPart::text(first)];
    for (image, text) in images.iter().zip(texts) {
        parts.push(BodyPart::text(r#""b64_json":""#));
        parts.push(BodyPart::Image(image.bytes().clone()));
        parts.push(BodyPart::text(&format!("\"{text}")));
    }
    parts
}

impl BodyPart {
    fn text(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

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

/// The images as links to stored files.
pub(super) fn url_response(
    completed: &CompletedJob,
    files: &[FileRow],
    links: &FileLinks,
) -> ImagesResponse {
    let entry = |file: &FileRow| ImageEntry {
        b64_json: None,
        url: Some(links.url(file)),
        revised_prompt: completed.revised_prompt.clone(),
    };
    ImagesResponse::new(completed, files.iter().map(entry).collect())
}

/// Inserts an image in base64 into a JSON text with one empty image.
pub(super) fn insert_base64(json: &str, image: &Image) -> String {
    let (before, after) = json.split_once(EMPTY_IMAGE).unwrap_or((json, ""));
    let encoded_length = STANDARD.encoded_length(image.bytes().len());
    let mut text = String::with_capacity(json.len() + encoded_length);
    text.push_str(before);
    text.push_str(r#""b64_json":""#);
    STANDARD.encode_append(image.bytes(), &mut text);
    text.push('"');
    text.push_str(after);
    text
}

/// OpenAI's name of an image's format; `None` if it has no name for it.
pub(super) fn output_format(image: &Image) -> Option<&'static str> {
    match image.media_type() {
        "image/png" => Some("png"),
        "image/jpeg" => Some("jpeg"),
        "image/webp" => Some("webp"),
        "image/gif" => Some("gif"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(length: usize) {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let part = || BodyPart::Image(bytes.clone().into());
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
    fn images_replace_empty_images_and_no_other_text() {
        let entry = json!({"b64_json": "", "revised_prompt": EMPTY_IMAGE});
        let json = json!({"data": [entry, entry]}).to_string();
        let images = [Image::sample(1, 0), Image::sample(2, 0)];
        let chunks: Vec<Bytes> = body_parts(&json, &images)
            .into_iter()
            .flat_map(BodyPart::chunks)
            .collect();
        let body: Value = serde_json::from_slice(&chunks.concat()).unwrap();
        for (index, image) in images.iter().enumerate() {
            let expected = STANDARD.encode_to_string(image.bytes());
            assert_eq!(body["data"][index]["b64_json"], expected);
            assert_eq!(body["data"][index]["revised_prompt"], EMPTY_IMAGE);
        }
        let event = json!({"b64_json": "", "type": "x"}).to_string();
        let event: Value = serde_json::from_str(&insert_base64(&event, &images[0])).unwrap();
        let expected = STANDARD.encode_to_string(images[0].bytes());
        assert_eq!(event, json!({"b64_json": expected, "type": "x"}));
    }
}
