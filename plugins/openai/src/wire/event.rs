//! The events of an answer that comes as a stream.

use pinhole_sdk::{Error, Place};
use serde_json::Value;

use super::answer::{Reading, place};
use super::{refusal, text};

/// What an event says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A picture on its way, at this JSON pointer, and how many came before it.
    Draft(&'static str, u64),
    /// A finished picture.
    Finished(Place, Reading),
    /// Nothing that matters here.
    Other,
}

/// Reads an event. What the upstream refuses after its status of 200 is an error, and so is a
/// finished picture that is not there.
pub(crate) fn read(event: &Value, model: Option<&str>) -> Result<Event, Error> {
    let kind = text(event, "type").unwrap_or_default();
    let error = event.get("error").is_some_and(|error| !error.is_null());
    if error || kind == "error" {
        return Err(refusal::failed(event, model));
    }
    if kind.ends_with(".partial_image") {
        let index = event.get("partial_image_index").and_then(Value::as_u64);
        return Ok(Event::Draft("/b64_json", index.unwrap_or(0)));
    }
    if !kind.ends_with(".completed") {
        return Ok(Event::Other);
    }
    match place("", event) {
        Some(place) => {
            let revised = text(event, "revised_prompt");
            Ok(Event::Finished(place, Reading::of(event, revised)))
        }
        None => Err(refusal::without_picture(event, std::slice::from_ref(event))),
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn drafts_and_finished_pictures_are_told_apart() {
        let draft = json!({
            "type": "image_edit.partial_image", "b64_json": "AA", "partial_image_index": 2,
        });
        let read_draft = read(&draft, None).unwrap();
        assert!(matches!(read_draft, Event::Draft("/b64_json", 2)));
        let finished = json!({"type": "image_generation.completed", "b64_json": "AA"});
        match read(&finished, None).unwrap() {
            Event::Finished(Place::Pointer(pointer), _) => assert_eq!(pointer, "/b64_json"),
            other => panic!("{other:?}"),
        }
        for other in [json!({}), json!([]), json!({"type": "ping", "error": null})] {
            assert!(matches!(read(&other, None).unwrap(), Event::Other));
        }
    }

    fn check(event: Value, kind: ErrorKind, words: &str) {
        let error = read(&event, Some("m")).unwrap_err();
        assert_eq!(error.kind, kind, "{event}");
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn a_failure_after_the_head_is_of_the_right_kind() {
        use ErrorKind::{Blocked, Invalid, NotFound, Protocol, RateLimited, Upstream};
        let error = |error: Value| json!({"type": "error", "error": error});
        let blocked = json!({
            "type": "image_generation_user_error", "code": "moderation_blocked",
            "message": "Not this.", "param": null,
        });
        check(error(blocked), Blocked, "Not this.");
        let wrong =
            json!({"type": "invalid_request_error", "message": "Bad size.", "param": "size"});
        check(error(wrong), Invalid, "Bad size.");
        let server = json!({"type": "image_generation_server_error", "message": "Oh."});
        check(error(server), Upstream, "Oh.");
        let limit = json!({"code": "rate_limit_exceeded", "message": "Slow down."});
        check(error(limit), RateLimited, "Slow down.");
        check(
            json!({"error": {"param": "model", "message": "No."}}),
            NotFound,
            "\"m\"",
        );
        check(
            json!({"type": "error", "message": "flat"}),
            Upstream,
            "flat",
        );
        check(json!({"type": "error"}), Upstream, "status 200");
        let empty = json!({"type": "image_edit.completed", "b64_json": ""});
        check(empty, Protocol, "no image");
    }
}
