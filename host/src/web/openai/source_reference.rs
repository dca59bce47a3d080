//! Source images in JSON: how the dialects name them.

use serde_json::Value;

use crate::files::lookup::ImageReference;
use crate::web::error::ApiError;

/// Length of the base64 of the smallest image, in bytes.
const MIN_BASE64_BYTES: usize = 40;

/// Parses an image of a field: its URL or its base64 as a string, or an object with `image_url`, `url` or `file_id`.
/// `image_url` may be an object with `url`.
pub(super) fn parse_source<'a>(
    field: &str,
    image: &'a Value,
) -> Result<ImageReference<'a>, ApiError> {
    let invalid = || {
        let message = format!("{field} needs either image_url or file_id");
        ApiError::invalid(field, message)
    };
    if let Some(text) = image.as_str() {
        return Ok(match ImageReference::parse_url(text) {
            ImageReference::OtherUrl if is_base64(text) => ImageReference::Base64(text),
            reference => reference,
        });
    }
    if !image.is_object() {
        let message = format!("{field} cannot be used: it must be a data URL or an object");
        return Err(ApiError::invalid(field, message));
    }
    let member = |name: &str| image.get(name).filter(|value| !value.is_null());
    let url = member("image_url").or_else(|| member("url"));
    match (url, member("file_id")) {
        (Some(url), None) => {
            let url = url.get("url").unwrap_or(url).as_str();
            Ok(ImageReference::parse_url(url.ok_or_else(invalid)?))
        }
        (None, Some(id)) => {
            let id = id.as_str().ok_or_else(invalid)?;
            Ok(ImageReference::StoredFile(id.to_owned()))
        }
        _ => Err(invalid()),
    }
}

/// Is it the text of an image, and no URL or path?
fn is_base64(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    text.len() >= MIN_BASE64_BYTES && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn source_has_one_url_or_id() {
        let data = "data:image/png;base64,AA";
        let url = Some(ImageReference::DataUrl(data));
        let file = |id: &str| Some(ImageReference::StoredFile(id.to_owned()));
        let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1Pe";
        for (image, expected) in [
            (json!(base64), Some(ImageReference::Base64(base64))),
            (json!(data), url.clone()),
            (json!({"image_url": data}), url.clone()),
            (
                json!({"image_url": {"url": data, "detail": "low"}}),
                url.clone(),
            ),
            (json!({"url": data, "type": "image_url"}), url.clone()),
            (json!({"image_url": data, "file_id": null}), url),
            (json!({"file_id": "5"}), file("5")),
            (json!("/api/v1/files/5/content"), file("5")),
            (
                json!("http://127.0.0.1/x.png"),
                Some(ImageReference::OtherUrl),
            ),
            (json!({"image_url": data, "file_id": "5"}), None),
            (json!({"image_url": 5}), None),
            (json!({"file_id": 5}), None),
            (json!({}), None),
            (json!(5), None),
            (json!(null), None),
        ] {
            assert_eq!(parse_source("image", &image).ok(), expected, "{image}");
        }
    }
}
