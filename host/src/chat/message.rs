//! Messages of a chat request: the prompt in them, and the context put in front.

use serde_json::{Map, Value, json};

/// The text of the newest user message. `None` without one.
///
/// Source: Open WebUI `utils/misc.py`, the last user message.
pub(super) fn last_text(messages: &[Value]) -> Option<&str> {
    let newest = messages.iter().rfind(|it| role(it) == Some("user"))?;
    text(newest.get("content")?)
}

/// The text of a message's content, or the first of its parts. `None` where it says nothing.
pub(super) fn text(content: &Value) -> Option<&str> {
    let text = match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().find_map(text_of)?,
        _ => return None,
    };
    Some(text.as_str()).filter(|text| !text.trim().is_empty())
}

/// Puts a text in front of the system message, or makes one.
///
/// A system message whose content is a list gets the text in front of every text part. One
/// without any text stays as it is, behind the new one.
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

/// Who wrote it.
pub(super) fn role(message: &Value) -> Option<&str> {
    message.get("role")?.as_str()
}

fn has_text(part: &Value) -> bool {
    part.get("text").is_some_and(Value::is_string)
}

fn text_of(part: &Value) -> Option<&String> {
    let Some(Value::String(text)) = part.get("text") else {
        return None;
    };
    Some(text).filter(|_| part.get("type").and_then(Value::as_str) == Some("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(messages: Value) -> Map<String, Value> {
        Map::from_iter([("messages".to_owned(), messages)])
    }

    fn check_text(messages: Value, expected: Option<&str>) {
        let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(last_text(messages), expected);
    }

    #[test]
    fn the_newest_of_the_persons_texts_counts() {
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
    fn the_context_goes_in_front_of_the_system_message() {
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
        let wordless = json!({"role": "system", "content": [{"type": "image_url"}]});
        check_context(
            json!([wordless]),
            json!([{"role": "system", "content": "C"}, wordless]),
        );
    }
}
