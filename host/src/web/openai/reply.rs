//! What a client reads of a job that is done.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::images::Image;
use crate::jobs::Finished;
use crate::store::{FileRow, now};

/// Length of a word that an engine tells, in bytes.
const MAX_WORD_BYTES: usize = 40;

/// The pictures in base64, written once into a buffer of the right size: they are most of the body.
pub(super) fn base64(finished: &Finished) -> Response {
    let length: usize = finished
        .images
        .iter()
        .map(|image| image.bytes().len() * 4 / 3 + 64)
        .sum();
    let mut text = String::with_capacity(length + 256);
    text.push_str(&format!("{{\"created\":{},\"data\":[", now()));
    for (index, image) in finished.images.iter().enumerate() {
        text.push_str(if index == 0 { "{" } else { ",{" });
        if let Some(prompt) = &finished.revised_prompt {
            text.push_str(&format!(
                "\"revised_prompt\":{},",
                Value::from(prompt.as_str())
            ));
        }
        text.push_str("\"b64_json\":\"");
        base64_simd::STANDARD.encode_append(image.bytes(), &mut text);
        text.push_str("\"}");
    }
    text.push(']');
    let mut more = told(finished);
    if let Some(format) = finished.images.first().and_then(output_format) {
        more.insert("output_format".to_owned(), format.into());
    }
    for (name, value) in more {
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    text.push('}');
    ([(CONTENT_TYPE, "application/json")], text).into_response()
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
        if let Some(word) = word.filter(|word| word.len() <= MAX_WORD_BYTES) {
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
