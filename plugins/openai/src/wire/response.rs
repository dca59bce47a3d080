//! Responses with status 200. They may still hold no image.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ImageLocation, Response};
use serde::Serialize;
use serde_json::Value;

use super::location::locate_images;
use super::usage::Usage;
use super::{MAX_COUNT, data_items, error, string_at};

/// Bytes of an image attribute such as a size or a quality.
const MAX_ATTRIBUTE_BYTES: usize = 40;
/// Bytes of the upstream's ID of a request.
const MAX_REQUEST_ID_BYTES: usize = 100;

/// What a response reports in addition to its images.
#[derive(Debug)]
pub(crate) struct ResponseDetails {
    pub(crate) revised_prompt: Option<String>,
    /// The upstream's ID of the request, for its support.
    pub(super) request_id: Option<String>,
    pub(super) attributes: ImageAttributes,
    pub(super) usage: Option<Usage>,
}

/// Attributes of the images, as the upstream reports them.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ImageAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<String>,
}

/// Locates the images of a successful response: of the images API, of chat completions or of a gateway to
/// another API. None, or more than [`MAX_COUNT`] in `data`, are an error.
pub(crate) fn parse_response(body: &Value) -> Result<(Vec<ImageLocation>, ResponseDetails), Error> {
    let items = data_items(body);
    let count = items.len();
    if count > MAX_COUNT as usize {
        return Err(Error::protocol(format!(
            "the upstream returned {count} images, but a request can ask for at most {MAX_COUNT}"
        )));
    }
    let locations = locate_images("", body);
    if locations.is_empty() {
        return Err(error::missing_image_error(body, items));
    }
    let revised_prompt = items
        .iter()
        .find_map(|item| string_at(item, "revised_prompt"));
    Ok((locations, ResponseDetails::from_json(body, revised_prompt)))
}

/// The upstream's ID of the request, from a header.
pub(crate) fn request_id(response: &Response) -> Option<String> {
    let headers = response.0.headers();
    let id = headers
        .iter()
        .find(|header| header.name == "x-request-id")?;
    Some(truncate(&id.value, MAX_REQUEST_ID_BYTES))
}

impl ResponseDetails {
    /// From a response, or from an event of a stream.
    pub(super) fn from_json(body: &Value, revised_prompt: Option<&str>) -> Self {
        let attribute = |key| string_at(body, key).map(|text| truncate(text, MAX_ATTRIBUTE_BYTES));
        Self {
            revised_prompt: revised_prompt.map(str::to_owned),
            request_id: None,
            attributes: ImageAttributes {
                size: attribute("size"),
                quality: attribute("quality"),
                background: attribute("background"),
                output_format: attribute("output_format"),
            },
            usage: body.get("usage").and_then(Usage::from_json),
        }
    }

    pub(crate) fn with_request_id(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    fn parse(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    fn pointer(pointer: &str) -> ImageLocation {
        ImageLocation::Pointer(pointer.into())
    }

    #[test]
    fn parse_response_locates_bytes_and_urls() {
        let urls = parse(include_str!("../../testdata/success-url.json"));
        let (locations, details) = parse_response(&urls).unwrap();
        let url = ImageLocation::Url("/data/0/url".into());
        assert_eq!(locations, [url, pointer("/data/1/url")]);
        assert_eq!(details.revised_prompt.as_deref(), Some("A red fox."));

        let bytes = parse(include_str!("../../testdata/success-dall-e-3.json"));
        let (byte_locations, byte_details) = parse_response(&bytes).unwrap();
        assert_eq!(byte_locations, [pointer("/data/0/b64_json")]);
        let revised_prompt = byte_details.revised_prompt.as_deref();
        assert_eq!(revised_prompt, Some("A red fox in the snow, at dusk."));
    }

    fn check_error(body: &str, kind: ErrorKind, message: &str) {
        let error = parse_response(&parse(body)).unwrap_err();
        assert_eq!(error.kind, kind, "{body}");
        assert!(error.message.contains(message), "{}", error.message);
    }

    #[test]
    fn parse_response_rejects_success_without_image() {
        use ErrorKind::{Blocked, Protocol, Upstream};
        for body in [
            "{}",
            "[]",
            "null",
            "7",
            r#"{"data": null}"#,
            r#"{"created": 1, "data": []}"#,
            r#"{"data": [{}, 1, null, {"b64_json": ""}, {"url": 5}]}"#,
        ] {
            check_error(body, Protocol, "reported success but returned no image");
        }
        let filtered = include_str!("../../testdata/success-filtered.json");
        check_error(filtered, Blocked, "categories: sexual");
        let moderated = r#"{"error": {"code": "moderation_blocked", "message": "not this"}}"#;
        check_error(moderated, Blocked, "not this");
        check_error(r#"{"error": "loading"}"#, Upstream, "loading");
        let too_many = json!({"data": vec![json!({"b64_json": "AAAA"}); 11]});
        check_error(&too_many.to_string(), Protocol, "11 images");
    }
}
