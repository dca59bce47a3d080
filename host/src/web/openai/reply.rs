//! What a client reads of a job that is done.

use std::convert::Infallible;
use std::mem::take;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value, json};

use pinhole_images::Image;
use crate::jobs::Finished;
use crate::store::{FileRow, now};
use pinhole_ground::text::is_plain;

/// Of a picture that are encoded at a time, in bytes: a multiple of three, so that only the last chunk
/// is padded.
const CHUNK_BYTES: usize = 48 << 10;
/// Length of a word that an engine tells, in bytes.
const MAX_WORD_BYTES: usize = 40;

/// The pictures in base64. They are encoded as they are sent, a chunk at a time: the whole text would
/// cost as much memory again as the pictures, for as long as a client takes to read it.
pub(super) fn base64(finished: Finished) -> Response {
    let mut parts = Vec::with_capacity(finished.images.len() * 2 + 1);
    let mut text = format!("{{\"created\":{},\"data\":[", now());
    for (index, image) in finished.images.iter().enumerate() {
        text.push_str(if index == 0 { "{" } else { ",{" });
        if let Some(prompt) = &finished.revised_prompt {
            text.push_str(&format!(
                "\"revised_prompt\":{},",
                Value::from(prompt.as_str())
            ));
        }
        text.push_str("\"b64_json\":\"");
        parts.push(Part::Text(take(&mut text).into()));
        parts.push(Part::Picture(image.bytes().clone()));
        text.push_str("\"}");
    }
    text.push(']');
    let mut more = told(&finished);
    if let Some(format) = finished.images.first().and_then(output_format) {
        more.insert("output_format".to_owned(), format.into());
    }
    for (name, value) in more {
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    text.push('}');
    parts.push(Part::Text(text.into()));
    let length: usize = parts.iter().map(Part::length).sum();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_LENGTH, length.into()),
    ];
    let chunks = parts.into_iter().flat_map(Part::chunks);
    let body = Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)));
    (headers, body).into_response()
}

/// A piece of a body.
enum Part {
    Text(Bytes),
    /// Still to be encoded.
    Picture(Bytes),
}

impl Part {
    /// As it is sent, in bytes.
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Picture(bytes) => STANDARD.encoded_length(bytes.len()),
        }
    }

    fn chunks(self) -> impl Iterator<Item = Bytes> {
        let (bytes, encoded) = match self {
            Self::Text(text) => (text, false),
            Self::Picture(bytes) => (bytes, true),
        };
        (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| {
            let chunk = bytes.slice(start..bytes.len().min(start + CHUNK_BYTES));
            match encoded {
                true => STANDARD.encode_to_string(&chunk).into(),
                false => chunk,
            }
        })
    }
}

/// The pictures as addresses of what is stored.
pub(super) fn urls(finished: &Finished, kept: &[FileRow]) -> Response {
    let entry = |file: &FileRow| match &finished.revised_prompt {
        Some(prompt) => json!({"url": file.url(), "revised_prompt": prompt}),
        None => json!({"url": file.url()}),
    };
    let data: Vec<Value> = kept.iter().map(entry).collect();
    let mut body = told(finished);
    body.insert("created".to_owned(), now().into());
    body.insert("data".to_owned(), data.into());
    Json(Value::Object(body)).into_response()
}

/// What the engine's upstream said of the pictures and OpenAI has a field for: `background`,
/// `quality`, `size` and `usage`.
pub(super) fn told(finished: &Finished) -> Map<String, Value> {
    let details: Value = serde_json::from_str(&finished.details).unwrap_or_default();
    let mut told = Map::new();
    for name in ["background", "quality", "size"] {
        let word = details.get(name).and_then(Value::as_str);
        if let Some(word) = word.filter(|word| is_plain(word, MAX_WORD_BYTES)) {
            told.insert(name.to_owned(), word.into());
        }
    }
    if let Some(usage) = details.get("usage") {
        told.insert("usage".to_owned(), tokens(usage));
    }
    told
}

/// What a job cost in tokens; zeros where nobody counts.
pub(super) fn tokens(usage: &Value) -> Value {
    let count = |name| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    json!({
        "input_tokens": count("input_tokens"),
        "output_tokens": count("output_tokens"),
        "total_tokens": count("total_tokens"),
    })
}

/// OpenAI's word for an image's type, where it has one.
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
    use super::*;

    fn check(length: usize) {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let part = || Part::Picture(bytes.clone().into());
        let sent: Vec<Bytes> = part().chunks().collect();
        assert_eq!(sent.concat(), STANDARD.encode_to_string(&bytes).as_bytes());
        assert_eq!(sent.concat().len(), part().length());
    }

    #[test]
    fn chunks_are_one_text() {
        for length in [0, 1, 2, 3, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            check(length);
            check(2 * CHUNK_BYTES + length);
        }
    }
}
