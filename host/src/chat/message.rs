//! Messages of a chat request: their texts, and the context for the language model.

use serde_json::{Map, Value, json};

/// The text of the user's newest message.
///
/// Source: Open WebUI `utils/misc.py`, the last user message.
pub(super) fn last_user_text(messages: &[Value]) -> Option<&str> {
    let newest = messages.iter().rfind(|it| role(it) == Some("user"))?;
    content_text(newest.get("content")?)
}

/// The text of a message's content, or of its first text part. `None` if it is blank.
pub(super) fn content_text(content: &Value) -> Option<&str> {
    let text = match content {
        Value::String(text) => text.as_str(),
        Value::Array(parts) => parts.iter().find_map(part_text)?,
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// Inserts a text before the system message's, or adds a system message.
///
/// If the content is a list, inserts the text before every text part. If the list has no text, adds a
/// message before it.
///
/// Source: Open WebUI `utils/misc.py`, adding to the system message.
pub(super) fn add_context(payload: &mut Map<String, Value>, context: &str) {
    let messages = payload.entry("messages").or_insert_with(|| json!([]));
    let Some(messages) = messages.as_array_mut() else {
        return;
    };
    let system = messages
        .first_mut()
        .filter(|message| role(message) == Some("system"));
    match system.and_then(|message| message.get_mut("content")) {
        Some(Value::String(text)) => *text = format!("{context}\n{text}"),
        Some(Value::Array(parts)) if parts.iter().any(has_text) => {
            for text in parts.iter_mut().filter_map(|part| part.get_mut("text")) {
                if let Value::String(text) = text {
                    *text = format!("{context}\n{text}");
                }
            }
        }
        _ => messages.insert(0, json!({"role": "system", "content": context})),
    }
}

pub(super) fn role(message: &Value) -> Option<&str> {
    message.get("role")?.as_str()
}

fn has_text(part: &Value) -> bool {
    part.get("text").is_some_and(Value::is_string)
}

fn part_text(part: &Value) -> Option<&str> {
    if part.get("type").and_then(Value::as_str) != Some("text") {
        return None;
    }
    part.get("text")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(messages: Value) -> Map<String, Value> {
        Map::from_iter([("messages".to_owned(), messages)])
    }

    fn check_text(messages: Value, expected: Option<&str>) {
        let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(last_user_text(messages), expected);
    }

    #[test]
    fn last_user_text_is_the_newest_of_the_user() {
        check_text(
            json!([
                {"role": "user", "content": "a fox"},
                {"role": "assistant", "content": "here"},
                {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "a hen"}]},
                {"role": "assistant", "content": "well"},
            ]),
            Some("a hen"),
        );
        check_text(json!([{"role": "user", "content": "  "}]), None);
        check_text(json!([{"role": "user", "content": 5}, 7]), None);
        check_text(json!("x"), None);
    }

    fn check_context(messages: Value, expected: Value) {
        let mut payload = payload(messages);
        add_context(&mut payload, "C");
        assert_eq!(payload.get("messages"), Some(&expected));
    }

    #[test]
    fn add_context_extends_or_adds_the_system_message() {
        let user = json!({"role": "user", "content": "x"});
        check_context(
            json!([user]),
            json!([{"role": "system", "content": "C"}, user]),
        );
        check_context(
            json!([{"role": "system", "content": "S"}, user]),
            json!([{"role": "system", "content": "C\nS"}, user]),
        );
        check_context(
            json!([{"role": "system", "content": [{"type": "text", "text": "S"}]}]),
            json!([{"role": "system", "content": [{"type": "text", "text": "C\nS"}]}]),
        );
        let without_text = json!({"role": "system", "content": [{"type": "image_url"}]});
        check_context(
            json!([without_text]),
            json!([{"role": "system", "content": "C"}, without_text]),
        );
    }
}
