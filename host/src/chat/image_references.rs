//! Finds the images in a message.

use serde_json::Value;

use crate::files::is_data_url;

/// The references to the images of a message, each once: its files first, then the parts of its content.
pub(super) fn image_references<'a>(files: &'a [Value], content: &'a Value) -> Vec<&'a str> {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    let of_files = files.iter().filter_map(file_reference);
    let of_parts = parts.iter().filter_map(part_reference);
    let mut references = Vec::new();
    for reference in of_files.chain(of_parts) {
        if !is_svg_url(reference) && !references.contains(&reference) {
            references.push(reference);
        }
    }
    references
}

/// The reference to the image of an entry of `files`: a generated image, or an upload with an image's type.
///
/// Source: Open WebUI knows only `image`, and its client sends uploads as `file`.
fn file_reference(entry: &Value) -> Option<&str> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let media_type = [
        "/content_type",
        "/file/meta/content_type",
        "/meta/content_type",
    ]
    .into_iter()
    .find_map(text);
    let is_image = match (text("/type")?, media_type) {
        ("image", None) => true,
        ("image" | "file", Some(media_type)) => {
            media_type.starts_with("image/") && !media_type.starts_with("image/svg")
        }
        _ => false,
    };
    if !is_image {
        return None;
    }
    ["/url", "/id", "/file/id"]
        .into_iter()
        .find_map(|pointer| text(pointer).filter(|reference| !reference.is_empty()))
}

/// The reference to the image of a part of a message's content.
fn part_reference(part: &Value) -> Option<&str> {
    if part.get("type").and_then(Value::as_str) != Some("image_url") {
        return None;
    }
    let url = part.get("image_url")?;
    let reference = url.get("url").unwrap_or(url).as_str()?;
    (!reference.is_empty()).then_some(reference)
}

fn is_svg_url(reference: &str) -> bool {
    const PREFIX: &str = "data:image/svg";
    is_data_url(reference)
        && reference
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(entry: Value, expected: Option<&str>) {
        assert_eq!(file_reference(&entry), expected, "{entry}");
    }

    #[test]
    fn file_reference_finds_images_among_files() {
        check(
            json!({"type": "image", "url": "/api/v1/files/5/content"}),
            Some("/api/v1/files/5/content"),
        );
        check(json!({"type": "image", "id": "5"}), Some("5"));
        let upload = json!({"type": "file", "id": "5", "url": "5", "content_type": "image/webp"});
        check(upload, Some("5"));
        let nested =
            json!({"type": "file", "file": {"id": "5", "meta": {"content_type": "image/png"}}});
        check(nested, Some("5"));
        for other in [
            json!({"type": "file", "url": "5", "content_type": "application/pdf"}),
            json!({"type": "file", "url": "5", "content_type": "image/svg+xml"}),
            json!({"type": "image", "url": "5", "content_type": "image/svg+xml"}),
            json!({"type": "file", "url": "5"}),
            json!({"type": "collection", "url": "5", "content_type": "image/png"}),
            json!({"url": "5"}),
            json!({"type": "image", "url": ""}),
            json!({"type": "image", "url": 5}),
            json!("5"),
        ] {
            check(other, None);
        }
    }
}
