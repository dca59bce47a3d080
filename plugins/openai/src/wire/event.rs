//! The events of a response that is a stream.

use pinhole_sdk::{Error, ImageLocation};
use serde_json::Value;

use super::location::locate_images;
use super::response::ResponseDetails;
use super::{error, string_at};

/// Keys of the bytes of an unfinished image.
const PARTIAL_BYTES: [(&str, &str); 2] = [
    ("b64_json", "/b64_json"),
    ("partial_image_b64", "/partial_image_b64"),
];

#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// An unfinished image at a JSON pointer of the event.
    PartialImage {
        pointer: &'static str,
        /// Number of the partial images before it.
        index: u64,
    },
    Completed {
        images: Vec<ImageLocation>,
        details: ResponseDetails,
    },
    /// An event without an image, such as a ping.
    Other,
}

/// Parses an event with this name. An error event and a completed image without bytes are errors.
///
/// Gateways rebuild events: the kind may be in the name or the field `type`, and the image in any form. An
/// event that has an image and is not partial has a finished one.
pub(crate) fn parse_event(
    event: &Value,
    name: Option<&str>,
    model: Option<&str>,
) -> Result<StreamEvent, Error> {
    let kinds = [string_at(event, "type"), name];
    let has_kind = |matches: fn(&str) -> bool| kinds.iter().flatten().any(|kind| matches(kind));
    let has_error = event.get("error").is_some_and(|error| !error.is_null());
    if has_error || has_kind(|kind| kind == "error" || kind.ends_with(".failed")) {
        return Err(error::error_in_success(event, model));
    }
    let index = event.get("partial_image_index").and_then(Value::as_u64);
    if index.is_some() || has_kind(|kind| kind.contains("partial_image")) {
        let pointer = PARTIAL_BYTES
            .iter()
            .find(|(key, _)| string_at(event, key).is_some());
        return Ok(match pointer {
            Some((_, pointer)) => StreamEvent::PartialImage {
                pointer,
                index: index.unwrap_or(0),
            },
            None => StreamEvent::Other,
        });
    }
    let images = locate_images("", event);
    if !images.is_empty() {
        let revised_prompt = string_at(event, "revised_prompt");
        return Ok(StreamEvent::Completed {
            images,
            details: ResponseDetails::from_json(event, revised_prompt),
        });
    }
    if has_kind(|kind| kind.ends_with(".completed")) {
        let items = std::slice::from_ref(event);
        return Err(error::missing_image_error(event, items));
    }
    Ok(StreamEvent::Other)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn parse_event_distinguishes_partial_and_completed_images() {
        let partial = json!({
            "type": "image_edit.partial_image", "b64_json": "AA", "partial_image_index": 2,
        });
        match parse_event(&partial, None, None).unwrap() {
            StreamEvent::PartialImage { pointer, index } => {
                assert_eq!((pointer, index), ("/b64_json", 2));
            }
            other => panic!("{other:?}"),
        }
        let completed = json!({"type": "image_generation.completed", "b64_json": "AA"});
        match parse_event(&completed, None, None).unwrap() {
            StreamEvent::Completed { images, .. } => {
                assert_eq!(images, [ImageLocation::Pointer("/b64_json".into())]);
            }
            other => panic!("{other:?}"),
        }
        for other in [json!({}), json!([]), json!({"type": "ping", "error": null})] {
            let event = parse_event(&other, None, None).unwrap();
            assert!(matches!(event, StreamEvent::Other), "{event:?}");
        }
    }

    #[test]
    fn parse_event_reads_kind_from_name() {
        let bytes = json!({"b64_json": "AA"});
        let partial = "image_generation.partial_image";
        let partial_event = parse_event(&bytes, Some(partial), None).unwrap();
        assert!(
            matches!(partial_event, StreamEvent::PartialImage { index: 0, .. }),
            "{partial_event:?}"
        );
        for name in [Some("image_generation.completed"), Some("image"), None] {
            let event = parse_event(&bytes, name, None).unwrap();
            assert!(
                matches!(event, StreamEvent::Completed { .. }),
                "{name:?}: {event:?}"
            );
        }
        let failed = json!({"response": {"error": {"message": "no credit"}}});
        let error = parse_event(&failed, Some("response.failed"), None).unwrap_err();
        assert!(error.message.contains("no credit"), "{}", error.message);
    }

    #[test]
    fn parse_event_finds_completed_image_in_any_form() {
        let png = "iVBORw0KGgoAAAAN";
        for event in [
            json!({"type": "image_generation.completed", "url": "/x.png"}),
            json!({"type": "image_generation.completed", "data": [{"b64_json": "AA"}]}),
            json!({"type": "image_generation.completed", "result": png}),
            json!({"type": "response.output_item.done", "item": {"result": png}}),
            json!({"data": [{"url": "https://cdn.example/x.png"}]}),
        ] {
            match parse_event(&event, None, None).unwrap() {
                StreamEvent::Completed { images, .. } => assert_eq!(images.len(), 1, "{event}"),
                other => panic!("{other:?}"),
            }
        }
    }

    fn check_error(event: Value, kind: ErrorKind, message: &str) {
        let error = parse_event(&event, None, Some("m")).unwrap_err();
        assert_eq!(error.kind, kind, "{event}");
        assert!(error.message.contains(message), "{}", error.message);
    }

    #[test]
    fn parse_event_classifies_errors_after_status() {
        use ErrorKind::{Blocked, Invalid, NotFound, Protocol, RateLimited, Upstream};
        let error_event = |error: Value| json!({"type": "error", "error": error});
        let blocked = json!({
            "type": "image_generation_user_error", "code": "moderation_blocked",
            "message": "Not this.", "param": null,
        });
        check_error(error_event(blocked), Blocked, "Not this.");
        let bad_size =
            json!({"type": "invalid_request_error", "message": "Bad size.", "param": "size"});
        check_error(error_event(bad_size), Invalid, "Bad size.");
        let server_error = json!({"type": "image_generation_server_error", "message": "Oh."});
        check_error(error_event(server_error), Upstream, "Oh.");
        let rate_limit = json!({"code": "rate_limit_exceeded", "message": "Slow down."});
        check_error(error_event(rate_limit), RateLimited, "Slow down.");
        check_error(
            json!({"error": {"param": "model", "message": "No."}}),
            NotFound,
            "\"m\"",
        );
        check_error(
            json!({"type": "error", "message": "flat"}),
            Upstream,
            "flat",
        );
        check_error(json!({"type": "error"}), Upstream, "status 200");
        let empty = json!({"type": "image_edit.completed", "b64_json": ""});
        check_error(empty, Protocol, "no image");
    }
}
