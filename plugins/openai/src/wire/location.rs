//! Where JSON of OpenAI's APIs, and of gateways to other APIs, holds images.

use pinhole_sdk::ImageLocation;
use serde_json::Value;

use super::{MAX_COUNT, string_at};

/// Objects and lists within each other.
const MAX_DEPTH: usize = 8;
/// Keys of an image's bytes as base64 or a data URL. Some servers put a URL there.
const BYTES: [&str; 7] = [
    "b64_json",
    "b64",
    "base64",
    "image_base64",
    "bytesBase64Encoded",
    "result",
    "image",
];
/// Keys of an image's URL.
const URLS: [&str; 3] = ["url", "image_url", "imageUrl"];
/// Keys of objects and lists that contain images.
const CONTAINERS: [&str; 16] = [
    "data",
    "images",
    "image",
    "image_url",
    "result",
    "results",
    "output",
    "artifacts",
    "predictions",
    "choices",
    "message",
    "delta",
    "content",
    "item",
    "response",
    "generated_images",
];
/// The base64 of the first bytes of each format that the host accepts.
const BASE64_STARTS: [&str; 6] = [
    "iVBORw0KG",
    "/9j/",
    "UklGR",
    "R0lGOD",
    "AAAAHGZ0eXBhdmlm",
    "AAAAIGZ0eXBhdmlm",
];

/// Locates the image of an object at a JSON pointer. Prefers bytes to a URL.
pub(super) fn locate_image(pointer: &str, item: &Value) -> Option<ImageLocation> {
    let bytes = BYTES.iter().find_map(|key| {
        let text = string_at(item, key)?;
        // `result` and `image` may be any text.
        let is_plain = ["result", "image"].contains(key) && !is_image_text(text);
        (!is_plain).then(|| locate_text(&format!("{pointer}/{key}"), text))
    });
    bytes.or_else(|| {
        let key = URLS.iter().find(|key| string_at(item, key).is_some())?;
        Some(locate_text(
            &format!("{pointer}/{key}"),
            string_at(item, key)?,
        ))
    })
}

/// Locates all images in a value, at most [`MAX_COUNT`].
pub(super) fn locate_images(pointer: &str, value: &Value) -> Vec<ImageLocation> {
    let mut locations = Vec::new();
    collect(pointer, value, 0, &mut locations);
    locations.truncate(MAX_COUNT as usize);
    locations
}

fn collect(pointer: &str, value: &Value, depth: usize, locations: &mut Vec<ImageLocation>) {
    if depth > MAX_DEPTH || locations.len() >= MAX_COUNT as usize {
        return;
    }
    match value {
        Value::String(text) if is_image_text(text) => locations.push(locate_text(pointer, text)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{pointer}/{index}"), item, depth + 1, locations);
            }
        }
        Value::Object(object) => {
            if let Some(location) = locate_image(pointer, value) {
                locations.push(location);
                return;
            }
            for key in CONTAINERS {
                // A text in a message is the model's.
                let nested = object.get(key).filter(|nested| !nested.is_string());
                if let Some(nested) = nested {
                    collect(&format!("{pointer}/{key}"), nested, depth + 1, locations);
                }
            }
        }
        _ => {}
    }
}

/// The location of a text that is base64, a data URL or a URL.
fn locate_text(pointer: &str, text: &str) -> ImageLocation {
    let is_bytes = text.starts_with("data:") || !is_url(text);
    let is_url_key = URLS.iter().any(|key| pointer.ends_with(&format!("/{key}")));
    if is_bytes && (!is_url_key || text.starts_with("data:") || is_base64_image(text)) {
        ImageLocation::Pointer(pointer.to_owned())
    } else {
        ImageLocation::Url(pointer.to_owned())
    }
}

fn is_image_text(text: &str) -> bool {
    text.starts_with("data:image/") || is_url(text) || is_base64_image(text)
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn is_base64_image(text: &str) -> bool {
    BASE64_STARTS.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg";

    #[track_caller]
    fn check(value: Value, expected: &[&str]) {
        let pointers: Vec<String> = locate_images("", &value)
            .into_iter()
            .map(|location| match location {
                ImageLocation::Pointer(pointer) => pointer,
                ImageLocation::Url(pointer) => format!("url {pointer}"),
            })
            .collect();
        assert_eq!(pointers, expected, "{value}");
    }

    #[test]
    fn locate_images_reads_forms_of_gateways() {
        check(
            json!({"b64_json": "AAAA", "url": "https://x/y.png"}),
            &["/b64_json"],
        );
        check(
            json!({"b64_json": null, "url": "/files/x.png"}),
            &["url /url"],
        );
        check(json!({"b64_json": "https://x/y.png"}), &["url /b64_json"]);
        check(json!({"url": "data:image/png;base64,AAAA"}), &["/url"]);
        check(json!({"url": PNG}), &["/url"]);
        check(
            json!({"data": [{"b64_json": "A"}, {"url": "https://x"}]}),
            &["/data/0/b64_json", "url /data/1/url"],
        );
        check(
            json!({"images": ["https://x/y.png", PNG, "no image"]}),
            &["url /images/0", "/images/1"],
        );
        check(
            json!({"artifacts": [{"base64": "A", "seed": 1}]}),
            &["/artifacts/0/base64"],
        );
        check(json!({"image": PNG}), &["/image"]);
        check(
            json!({"image": {"url": "https://x/y"}}),
            &["url /image/url"],
        );
        check(
            json!({"type": "response.output_item.done", "item": {"type": "image_generation_call", "result": PNG}}),
            &["/item/result"],
        );
        check(json!({"result": "done"}), &[]);
        check(
            json!({"response": {"output": [{"type": "message"}, {"result": PNG}]}}),
            &["/response/output/1/result"],
        );
    }

    #[test]
    fn locate_images_reads_chat_completions() {
        let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}});
        check(
            json!({"choices": [{"message": {"content": "", "images": [image]}}]}),
            &["/choices/0/message/images/0/image_url/url"],
        );
        check(
            json!({"choices": [{"delta": {"images": [image]}}]}),
            &["/choices/0/delta/images/0/image_url/url"],
        );
        check(
            json!({"choices": [{"message": {"content": [{"type": "text", "text": "x"}, image]}}]}),
            &["/choices/0/message/content/1/image_url/url"],
        );
        check(
            json!({"choices": [{"message": {"content": "https://x is a page"}}]}),
            &[],
        );
    }

    #[test]
    fn locate_images_has_limits() {
        let many: Vec<Value> = (0..50).map(|_| json!({"b64_json": "A"})).collect();
        assert_eq!(
            locate_images("", &json!({ "data": many })).len(),
            MAX_COUNT as usize
        );
        let mut deep = json!({"b64_json": "A"});
        for _ in 0..20 {
            deep = json!({ "data": [deep] });
        }
        check(deep, &[]);
    }
}
