//! What an upstream returned in place of an image, for the error message.
//!
//! ```
//! use pinhole_sdk::outline::describe_json;
//!
//! let task = serde_json::json!({"id": "7", "status": "queued"});
//! assert_eq!(describe_json(&task), "a task that is \"queued\", not its result");
//! ```

use serde_json::{Map, Value};

use crate::upstream_text::truncate;

/// Keys that an outline names.
const MAX_KEYS: usize = 10;
/// Length of a key in bytes.
const MAX_KEY_BYTES: usize = 40;
/// Length of a text that an outline quotes, in bytes.
const MAX_QUOTE_BYTES: usize = 200;
/// Words in keys, types and file names that name a medium.
const MEDIA: [(&[&str], &str); 3] = [
    (&["video", ".mp4", ".webm", ".mov"], "a video"),
    (&["audio", ".mp3", ".wav", ".ogg", ".flac"], "audio"),
    (&["model_mesh", ".glb", ".gltf"], "a 3D model"),
];
/// States of a task that is not finished.
const UNFINISHED: [&str; 8] = [
    "queued",
    "pending",
    "in_progress",
    "in_queue",
    "processing",
    "running",
    "starting",
    "submitted",
];
/// Where JSON has the text of a language model.
const TEXTS: [&str; 5] = [
    "/choices/0/message/content",
    "/choices/0/delta/content",
    "/choices/0/text",
    "/output_text",
    "/candidates/0/content/parts/0/text",
];

/// What the JSON of a response is that has no image.
///
/// ```
/// use pinhole_sdk::outline::describe_json;
/// use serde_json::json;
///
/// let chat = json!({"object": "chat.completion", "choices": [{"message": {"content": "I cannot draw"}}]});
/// assert_eq!(describe_json(&chat), "a text: \"I cannot draw\"");
/// assert_eq!(describe_json(&json!({"data": []})), "an empty list in data");
/// assert_eq!(describe_json(&json!({"id": 7, "ok": true})), "JSON with the keys id, ok");
/// ```
#[must_use]
pub fn describe_json(json: &Value) -> String {
    match json {
        Value::Null => "null".into(),
        Value::String(text) => format!("a text: {:?}", quote(text)),
        Value::Array(items) => match items.first() {
            None => "an empty list".into(),
            Some(first) => {
                find_medium(json).unwrap_or_else(|| format!("a list of {}", describe_json(first)))
            }
        },
        Value::Object(object) => describe_object(json, object),
        Value::Bool(_) | Value::Number(_) => format!("the value {json}"),
    }
}

fn describe_object(json: &Value, object: &Map<String, Value>) -> String {
    if let Some(medium) = find_medium(json) {
        return medium;
    }
    let text = TEXTS
        .iter()
        .find_map(|pointer| json.pointer(pointer)?.as_str());
    if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
        return format!("a text: {:?}", quote(text.trim()));
    }
    let kind = object
        .get("object")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if object.contains_key("choices") || kind.contains("completion") {
        return "a chat completion without text".into();
    }
    let states = ["status", "state", "task_status"];
    let state = states.iter().find_map(|key| object.get(*key)?.as_str());
    if let Some(state) = state.filter(|state| UNFINISHED.contains(&state.to_lowercase().as_str())) {
        return format!("a task that is {:?}, not its result", quote(state));
    }
    let lists = [
        "data",
        "images",
        "output",
        "predictions",
        "candidates",
        "result",
    ];
    for key in lists {
        match object.get(key) {
            Some(Value::Array(items)) if items.is_empty() => {
                return format!("an empty list in {key}");
            }
            Some(Value::Array(items)) => {
                let first = items.first().map(describe_json).unwrap_or_default();
                return format!("a list in {key} of {first}");
            }
            _ => {}
        }
    }
    if object.is_empty() {
        return "an empty object".into();
    }
    let keys = object.keys().take(MAX_KEYS);
    let keys: Vec<String> = keys.map(|key| truncate(key, MAX_KEY_BYTES)).collect();
    format!("JSON with the keys {}", keys.join(", "))
}

/// The medium that a key, a type or a file's name in the JSON names.
fn find_medium(json: &Value) -> Option<String> {
    MEDIA.iter().find_map(|(words, medium)| {
        let name = find_name(json, words, 0)?;
        Some(format!("{medium} ({})", quote(&name)))
    })
}

/// The first key with a value, or text, that contains one of the words.
fn find_name(json: &Value, words: &[&str], depth: usize) -> Option<String> {
    const MAX_DEPTH: usize = 6;
    if depth > MAX_DEPTH {
        return None;
    }
    let names = |text: &str| {
        let is_name = text.len() <= MAX_QUOTE_BYTES && !text.contains(char::is_whitespace);
        let lower = text.to_lowercase();
        is_name && words.iter().any(|word| lower.contains(word))
    };
    match json {
        Value::String(text) => names(text).then(|| text.clone()),
        Value::Array(items) => items
            .iter()
            .find_map(|item| find_name(item, words, depth + 1)),
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            let is_set = match value {
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                Value::Object(_) => true,
            };
            let is_key = words
                .iter()
                .any(|word| !word.starts_with('.') && key.to_lowercase().contains(word));
            if is_set && is_key {
                return Some(key.clone());
            }
            find_name(value, words, depth + 1)
        }),
        _ => None,
    }
}

fn quote(text: &str) -> String {
    truncate(text, MAX_QUOTE_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn describe_json_names_other_media_and_texts() {
        for (body, expected) in [
            (
                json!({"data": [{"url": "https://cdn/x.MP4"}]}),
                "a video (https://cdn/x.MP4)",
            ),
            (json!({"video": {"id": 7}}), "a video (video)"),
            (
                json!({"object": "video.generation", "id": "v"}),
                "a video (video.generation)",
            ),
            (
                json!({"choices": [{"message": {"audio": {"data": "x"}}}]}),
                "audio (audio)",
            ),
            (
                json!({"choices": [{"message": {"audio": null, "content": ""}}]}),
                "a chat completion without text",
            ),
            (json!({"choices": [{"text": " no "}]}), "a text: \"no\""),
            (
                json!({"id": "t", "status": "QUEUED"}),
                "a task that is \"QUEUED\", not its result",
            ),
            (
                json!({"object": "list", "data": [{"embedding": [1], "index": 0}]}),
                "a list in data of JSON with the keys embedding, index",
            ),
            (
                json!({"data": null, "created": 1}),
                "JSON with the keys created, data",
            ),
            (json!([]), "an empty list"),
            (json!({}), "an empty object"),
            (json!("busy"), "a text: \"busy\""),
            (json!(7), "the value 7"),
        ] {
            assert_eq!(describe_json(&body), expected, "{body}");
        }
        let many: Map<String, Value> = (0..100).map(|n| (format!("k{n}"), json!(n))).collect();
        assert!(describe_json(&Value::Object(many)).len() < 100);
    }
}
