//! The reason in an error response, whatever its shape.
//!
//! Reads the shapes of OpenAI, Azure and Google (`{"error": {"message"}}`), FastAPI (`{"detail": [{"loc", "msg"}]}`),
//! Cloudflare (`{"errors": [{"message"}]}`), problem details (RFC 9457: `title`, `detail`), OpenRouter
//! (`error.metadata.raw`), and of gateways that put one error as a JSON string into another.
//!
//! ```
//! use pinhole_sdk::error_body::find_message;
//!
//! let body = serde_json::json!({"errors": [{"message": "no credits"}]});
//! assert_eq!(find_message(&body).as_deref(), Some("no credits"));
//! ```

mod page;

use serde_json::{Map, Value};

use crate::json_text::parse_json;
use crate::upstream_text::truncate;

pub(crate) use page::is_markup;
pub use page::page_title;

/// Errors within each other.
const MAX_DEPTH: usize = 8;
/// Errors of one list that a message names.
const MAX_ITEMS: usize = 3;
/// Length of a field's name in bytes.
const MAX_FIELD_BYTES: usize = 100;

/// Keys of the message for people.
const MESSAGES: [&str; 11] = [
    "message",
    "msg",
    "Message",
    "error_message",
    "errorMessage",
    "error_description",
    "error_msg",
    "status_msg",
    "faultstring",
    "failure_reason",
    "title",
];
/// Keys of the reason that a general message omits.
const REASONS: [&str; 7] = [
    "detail",
    "errors",
    "metadata",
    "raw",
    "reason",
    "description",
    "failure",
];
/// Keys of objects that wrap an error.
const WRAPPERS: [&str; 8] = [
    "fault",
    "result",
    "data",
    "response",
    "base_resp",
    "output",
    "body",
    "status",
];
/// Keys of a code, which is better than nothing.
const CODES: [&str; 3] = ["code", "type", "status"];
/// Keys by which an error names the field that is wrong.
const FIELDS: [&str; 6] = ["param", "field", "parameter", "property", "pointer", "path"];
/// Phrases that a field's name follows.
const FIELD_PHRASES: [&str; 13] = [
    "argument not supported: ",
    "argument supplied: ",
    "arguments supplied: ",
    "unexpected keyword argument ",
    "unknown argument: ",
    "unknown field ",
    "unknown field: ",
    "unknown name ",
    "unknown parameter: ",
    "unrecognized parameter: ",
    "unsupported parameter: ",
    "parameter not supported: ",
    "additional properties are not allowed (",
];

/// The reason in an error's JSON; `None` if it has none.
///
/// ```
/// use pinhole_sdk::error_body::find_message;
///
/// let body = serde_json::json!({"detail": [{"loc": ["body", "size"], "msg": "too large"}]});
/// assert_eq!(find_message(&body).as_deref(), Some("size: too large"));
/// ```
#[must_use]
pub fn find_message(json: &Value) -> Option<String> {
    message_of(json, 0)
}

/// The name of the field that is wrong: from `param`, `loc` and similar keys, or else from the message.
///
/// ```
/// use pinhole_sdk::error_body::find_field;
///
/// let body = serde_json::json!({"error": {"message": "too large", "param": "size"}});
/// assert_eq!(find_field(&body).as_deref(), Some("size"));
/// ```
#[must_use]
pub fn find_field(json: &Value) -> Option<String> {
    let field =
        field_of(json, 0).or_else(|| find_message(json).as_deref().and_then(field_in_message))?;
    Some(truncate(&field, MAX_FIELD_BYTES))
}

fn message_of(value: &Value, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::String(text) => message_in_text(text, depth),
        Value::Array(items) => {
            let messages = items.iter().filter_map(|item| message_of(item, depth + 1));
            join(messages.take(MAX_ITEMS))
        }
        Value::Object(object) => message_of_object(object, depth),
        _ => None,
    }
}

fn message_of_object(object: &Map<String, Value>, depth: usize) -> Option<String> {
    let at = |key: &str| message_of(object.get(key)?, depth + 1);
    let error = object.get("error");
    let nested = error.filter(|it| !it.is_string());
    let message = nested
        .and_then(|it| message_of(it, depth + 1))
        .or_else(|| MESSAGES.iter().find_map(|key| at(key)));
    let reason = REASONS.iter().find_map(|key| match object.get(*key)? {
        // Messages by the field that is wrong.
        Value::Object(fields) if *key == "errors" => join_by_field(fields, depth),
        reason => message_of(reason, depth + 1),
    });
    let message = match (message, reason) {
        (Some(message), Some(reason)) if reason.contains(&message) => Some(reason),
        (Some(message), Some(reason)) if message.contains(&reason) => Some(message),
        (Some(message), Some(reason)) => {
            let general = message.trim_end_matches(['.', ':']);
            Some(format!("{general}: {reason}"))
        }
        (message, reason) => message.or(reason),
    };
    let location = location(object);
    match (message, location) {
        (Some(message), Some(location)) if !message.contains(&location) => {
            Some(format!("{location}: {message}"))
        }
        (Some(message), _) => Some(message),
        (None, _) => at("error")
            .or_else(|| {
                WRAPPERS
                    .iter()
                    .find_map(|key| nested_message(object, key, depth))
            })
            .or_else(|| code_of(object, depth)),
    }
}

/// The message of an object in the object. A text under such a key is no error.
fn nested_message(object: &Map<String, Value>, key: &str, depth: usize) -> Option<String> {
    let nested = object.get(key)?;
    let is_container = nested.is_object() || nested.is_array();
    is_container
        .then(|| message_of(nested, depth + 1))
        .flatten()
}

/// A code in place of a message. At the top it may be a status of the job.
fn code_of(object: &Map<String, Value>, depth: usize) -> Option<String> {
    if depth == 0 {
        return None;
    }
    let text = |key: &&str| object.get(*key)?.as_str().filter(|code| !code.is_empty());
    CODES.iter().find_map(text).map(str::to_owned)
}

/// A text, or the message of the JSON or page in it.
fn message_in_text(text: &str, depth: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if is_markup(text)
        && let Some(title) = page_title(text)
    {
        return Some(title);
    }
    let json_start = text.find(['{', '[']);
    if let Some((prefix, json)) = json_start.and_then(|start| text.split_at_checked(start))
        && let Ok(nested) = parse_json(json)
        && (nested.is_object() || prefix.is_empty())
        && let Some(message) = message_of(&nested, depth + 1)
    {
        let prefix = prefix.trim().trim_end_matches([':', '-', ' ']);
        return Some(if prefix.is_empty() {
            message
        } else {
            format!("{prefix}: {message}")
        });
    }
    Some(text.to_owned())
}

fn join(messages: impl Iterator<Item = String>) -> Option<String> {
    let messages: Vec<String> = messages.collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

fn join_by_field(fields: &Map<String, Value>, depth: usize) -> Option<String> {
    let messages = fields.iter().filter_map(|(field, value)| {
        let message = message_of(value, depth + 1)?;
        Some(format!("{field}: {message}"))
    });
    join(messages.take(MAX_ITEMS))
}

/// FastAPI's `loc`: the path of the field that is wrong, without the part of the request.
fn location(object: &Map<String, Value>) -> Option<String> {
    let parts = object.get("loc")?.as_array()?;
    let names: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Value::String(name) if ["body", "query", "path"].contains(&name.as_str()) => None,
            Value::String(name) => Some(name.clone()),
            Value::Number(index) => Some(index.to_string()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| names.join("."))
}

fn field_of(value: &Value, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let object = match value {
        Value::Array(items) => return items.iter().find_map(|item| field_of(item, depth + 1)),
        Value::String(text) => {
            let nested = parse_json(text).ok().filter(Value::is_object)?;
            return field_of(&nested, depth + 1);
        }
        Value::Object(object) => object,
        _ => return None,
    };
    let named = |key: &&str| object.get(*key)?.as_str().filter(|name| !name.is_empty());
    // At the top, a path is that of the request.
    let keys = if depth == 0 {
        FIELDS.get(..2)
    } else {
        FIELDS.get(..)
    };
    let own = location(object).or_else(|| {
        let name = keys?.iter().find_map(named)?;
        Some(name.trim_start_matches(['/', '#', '$', '.']).to_owned())
    });
    let by_field = || Some(object.get("errors")?.as_object()?.keys().next()?.clone());
    let nested = || {
        let mut containers = ["error", "detail", "errors"].iter();
        containers.find_map(|key| field_of(object.get(*key)?, depth + 1))
    };
    own.filter(|name| !name.is_empty())
        .or_else(nested)
        .or_else(by_field)
}

/// The name that follows a phrase such as `Unknown parameter:`.
fn field_in_message(message: &str) -> Option<String> {
    let lower = message.to_ascii_lowercase();
    let start = FIELD_PHRASES
        .iter()
        .find_map(|phrase| Some(lower.find(phrase)? + phrase.len()))?;
    let name = message.get(start..)?.trim_start_matches(['\'', '"', '`']);
    let is_name = |c: char| c.is_alphanumeric() || "_-.[]".contains(c);
    let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
    let name = name.get(..end)?.trim_end_matches('.');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: Value, message: &str, field: Option<&str>) {
        assert_eq!(find_message(&body).as_deref(), Some(message), "{body}");
        assert_eq!(find_field(&body).as_deref(), field, "{body}");
    }

    #[test]
    fn error_body_reads_common_shapes() {
        check(
            json!({"error": {"message": "no such size", "param": "size"}}),
            "no such size",
            Some("size"),
        );
        check(
            json!([{"error": {"message": "slow down"}}]),
            "slow down",
            None,
        );
        check(json!({"error": "prompt required"}), "prompt required", None);
        check(
            json!({"error": "server_error", "message": "no memory"}),
            "no memory",
            None,
        );
        check(
            json!({"code": "400", "error": "Argument not supported: size"}),
            "Argument not supported: size",
            Some("size"),
        );
        check(
            json!({"message": ["a is wrong", "b is wrong"], "error": "Bad Request"}),
            "a is wrong; b is wrong",
            None,
        );
        check(
            json!({"error": "invalid_client", "error_description": "wrong secret"}),
            "wrong secret",
            None,
        );
        check(json!({"fault": {"faultstring": "no key"}}), "no key", None);
        check(
            json!({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
            "insufficient balance",
            None,
        );
        check(
            json!({"error": {"type": "overloaded_error"}}),
            "overloaded_error",
            None,
        );
    }

    #[test]
    fn error_body_reads_lists() {
        check(
            json!({"detail": [{"type": "int", "loc": ["body", "num_inference_steps"], "msg": "not an integer"}]}),
            "num_inference_steps: not an integer",
            Some("num_inference_steps"),
        );
        check(
            json!({"detail": [{"loc": ["body", "images", 0, "url"], "msg": "missing"}, {"loc": ["body"], "msg": "no"}]}),
            "images.0.url: missing; no",
            Some("images.0.url"),
        );
        check(
            json!({"success": false, "result": null, "errors": [{"code": 5006, "message": "prompt is required"}], "messages": []}),
            "prompt is required",
            None,
        );
        check(json!({"errors": ["a", "b", "c", "d"]}), "a; b; c", None);
        check(
            json!({"message": "Validation failed", "errors": [{"field": "size", "message": "too big"}]}),
            "Validation failed: too big",
            Some("size"),
        );
        check(
            json!({"title": "Errors occurred.", "errors": {"Prompt": ["It is required."]}}),
            "Errors occurred: Prompt: It is required.",
            Some("Prompt"),
        );
    }

    #[test]
    fn error_body_reads_problem_details_and_nested_errors() {
        check(
            json!({"type": "about:blank", "title": "Unprocessable", "status": 422, "detail": "the size is too big"}),
            "Unprocessable: the size is too big",
            None,
        );
        check(
            json!({"detail": {"error": {"message": "busy", "param": "n"}}}),
            "busy",
            Some("n"),
        );
        check(
            json!({"error": {"message": "{\"error\": {\"message\": \"no such model\", \"param\": \"model\"}}"}}),
            "no such model",
            None,
        );
        check(
            json!({"error": {"message": "Provider returned error", "metadata": {"raw": "{\"error\":{\"message\":\"too long\"}}"}}}),
            "Provider returned error: too long",
            None,
        );
        check(
            json!({"error": "upstream error: {\"detail\": \"no GPU\"}"}),
            "upstream error: no GPU",
            None,
        );
        check(
            json!({"error": {"message": "<html><title>504 Timeout</title>"}}),
            "504 Timeout",
            None,
        );
        check(json!({"detail": "use [1, 2]"}), "use [1, 2]", None);
    }

    #[test]
    fn error_body_survives_odd_values() {
        for body in [
            json!({}),
            json!([]),
            json!(null),
            json!(7),
            json!({"error": null}),
            json!({"status": "failed"}),
        ] {
            assert_eq!(find_message(&body), None, "{body}");
            assert_eq!(find_field(&body), None, "{body}");
        }
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!({ "error": [deep] });
        }
        assert_eq!(find_message(&deep), None);
    }

    #[test]
    fn find_field_reads_common_phrases() {
        for (message, expected) in [
            (
                "Unknown parameter: 'input_fidelity'.",
                Some("input_fidelity"),
            ),
            (
                "Unrecognized request argument supplied: quality",
                Some("quality"),
            ),
            ("json: unknown field \"size\"", Some("size")),
            (
                "Additional properties are not allowed ('style' was unexpected)",
                Some("style"),
            ),
            ("f() got an unexpected keyword argument 'n'", Some("n")),
            ("the size is wrong", None),
            ("Unknown parameter: ", None),
        ] {
            assert_eq!(
                find_field(&json!({"error": message})).as_deref(),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn page_title_is_title_or_heading() {
        for (page, expected) in [
            (
                "<!DOCTYPE html>\n<TITLE>\n Not\n Found </TITLE>",
                Some("Not Found"),
            ),
            ("<html><title></title><h1 class='x'>Busy</h1>", Some("Busy")),
            (
                "<?xml version='1.0'?><Error><Message>No bucket</Message></Error>",
                Some("No bucket"),
            ),
            ("<html>", None),
            ("plain", None),
        ] {
            assert_eq!(page_title(page).as_deref(), expected, "{page}");
        }
    }
}
