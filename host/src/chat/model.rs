//! The language model behind: any server with OpenAI's chat completions.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::egress::{Destination, Error, Request, Response};

/// Time for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Length of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Fields of a chat request that are Open WebUI's own and mean nothing to a language model.
const OPEN_WEBUI: &[&str] = &[
    "background_tasks",
    "chat_id",
    "features",
    "files",
    "filter_ids",
    "id",
    "message_ids",
    "model_item",
    "params",
    "parent_id",
    "parent_message",
    "session_id",
    "tool_ids",
    "tool_servers",
    "user_message",
    "variables",
];

/// Parameters that Open WebUI nests under `params` and OpenAI's API takes at the top.
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

/// Asks the model; the answer streams when the request says so.
pub async fn complete(model: &Destination, payload: Map<String, Value>) -> Result<Response, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    let request = Request {
        method: Method::POST,
        path: "/chat/completions".to_owned(),
        headers,
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from(Value::Object(for_model(payload)).to_string()),
    };
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    model.send(request, MAX_ANSWER_BYTES, deadline).await
}

/// The request without what is Open WebUI's own.
fn for_model(mut payload: Map<String, Value>) -> Map<String, Value> {
    let params = payload.remove("params");
    for (name, value) in params
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if PARAMETERS.contains(&name.as_str()) && !value.is_null() {
            payload.entry(name).or_insert_with(|| value.clone());
        }
    }
    payload.retain(|name, _| !OPEN_WEBUI.contains(&name.as_str()));
    payload
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_model_knows_is_sent() {
        let payload = json!({
            "model": "m", "messages": [], "stream": true, "temperature": 1,
            "features": {"image_generation": true}, "chat_id": "c", "id": "i", "session_id": "s",
            "params": {"temperature": 0.5, "top_p": 0.9, "function_calling": "legacy", "stop": null},
        });
        let Value::Object(payload) = payload else {
            panic!()
        };
        let expected =
            json!({"model": "m", "messages": [], "stream": true, "temperature": 1, "top_p": 0.9});
        assert_eq!(Value::Object(for_model(payload)), expected);
    }
}
