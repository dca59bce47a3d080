//! Converts a chat request of Open WebUI's client into one of OpenAI's API.

use serde_json::{Map, Value};

/// Fields of Open WebUI that a language model does not know.
const OPEN_WEBUI_FIELDS: &[&str] = &[
    "assistant_message_id",
    "automation_id",
    "background_tasks",
    "chat_id",
    "chat_variables",
    "features",
    "files",
    "filter_ids",
    "folder_id",
    "id",
    "image_generation",
    "message_ids",
    "model_item",
    "new_chat",
    "params",
    "parent_id",
    "parent_message",
    "regeneration_message_id",
    "regeneration_prompt",
    "session_id",
    "skill_ids",
    "terminal_id",
    "tool_ids",
    "tool_servers",
    "user_message",
    "variables",
];

/// Parameters that Open WebUI nests under `params` and OpenAI's API has at the top level.
const PARAMETERS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "top_p",
];

/// Moves parameters to the top level and removes Open WebUI's fields.
pub(super) fn to_model_payload(mut payload: Map<String, Value>) -> Map<String, Value> {
    let params = match payload.remove("params") {
        Some(Value::Object(params)) => params,
        _ => Map::new(),
    };
    for (name, value) in &params {
        if PARAMETERS.contains(&name.as_str()) && !value.is_null() {
            payload.entry(name).or_insert_with(|| value.clone());
        }
    }
    let custom = params.get("custom_params").and_then(Value::as_object);
    for (name, value) in custom.into_iter().flatten() {
        payload
            .entry(name)
            .or_insert_with(|| parse_form_value(value));
    }
    payload.retain(|name, _| !OPEN_WEBUI_FIELDS.contains(&name.as_str()));
    payload
}

/// The value that a user entered in a form: JSON if the text is JSON, else the text.
#[must_use]
pub fn parse_form_value(value: &Value) -> Value {
    value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn to_model_payload_preserves_only_known_fields() {
        let payload = json!({
            "model": "m", "messages": [], "stream": true, "temperature": 1,
            "features": {"image_generation": true}, "chat_id": "c", "id": "i", "session_id": "s",
            "image_generation": {"n": 2},
            "params": {
                "temperature": 0.5, "top_p": 0.9, "function_calling": "legacy", "stop": null,
                "custom_params": {
                    "model": "other", "top_k": "5", "mirostat": 2, "word": "plain", "chat_id": "d",
                    "image_generation": "{\"n\": 3}",
                },
            },
        });
        let Value::Object(payload) = payload else {
            panic!()
        };
        let expected = json!({
            "model": "m", "messages": [], "stream": true, "temperature": 1, "top_p": 0.9,
            "top_k": 5, "mirostat": 2, "word": "plain",
        });
        assert_eq!(Value::Object(to_model_payload(payload)), expected);
    }
}
