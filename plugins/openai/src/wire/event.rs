//! The events of a response that is a stream.

use pinhole_sdk::{Error, ImageLocation};
use serde_json::Value;

use super::response::{ResponseDetails, locate_image};
use super::{error, string_at};

#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// An unfinished image at a JSON pointer of the event.
    PartialImage {
        pointer: &'static str,
        /// Number of the partial images before it.
        index: u64,
    },
    Completed {
        image: ImageLocation,
        details: ResponseDetails,
    },
    /// An event without an image, such as a ping.
    Other,
}

/// Parses an event. An error event and a completed image without bytes are errors.
pub(crate) fn parse_event(event: &Value, model: Option<&str>) -> Result<StreamEvent, Error> {
    let event_type = string_at(event, "type").unwrap_or_default();
    if event_type == "error" || event.get("error").is_some_and(|error| !error.is_null()) {
        return Err(error::error_in_success(event, model));
    }
    if event_type.ends_with(".partial_image") {
        let index = event.get("partial_image_index").and_then(Value::as_u64);
        return Ok(StreamEvent::PartialImage {
            pointer: "/b64_json",
            index: index.unwrap_or(0),
        });
    }
    if !event_type.ends_with(".completed") {
        return Ok(StreamEvent::Other);
    }
    let Some(image) = locate_image("", event) else {
        let items = std::slice::from_ref(event);
        return Err(error::missing_image_error(event, items));
    };
    let revised_prompt = string_at(event, "revised_prompt");
    Ok(StreamEvent::Completed {
        image,
        details: ResponseDetails::from_json(event, revised_prompt),
    })
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
        match parse_event(&partial, None).unwrap() {
            StreamEvent::PartialImage { pointer, index } => {
                assert_eq!((pointer, index), ("/b64_json", 2));
            }
            other => panic!("{other:?}"),
        }
        let completed = json!({"type": "image_generation.completed", "b64_json": "AA"});
        match parse_event(&completed, None).unwrap() {
            StreamEvent::Completed { image, .. } => {
                assert_eq!(image, ImageLocation::Pointer("/b64_json".into()));
            }
            other => panic!("{other:?}"),
        }
        for other in [json!({}), json!([]), json!({"type": "ping", "error": null})] {
            let event = parse_event(&other, None).unwrap();
            assert!(matches!(event, StreamEvent::Other), "{event:?}");
        }
    }

    fn check_error(event: Value, kind: ErrorKind, message: &str) {
        let error = parse_event(&event, Some("m")).unwrap_err();
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
