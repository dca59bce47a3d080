//! A request of OpenAI's responses API, as far as an image needs it.
//!
//! The API's tools, conversations and files that this server does not have are refused by name, because a
//! response without them would not be what the client requested.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use pinhole_ground::text::plain;
use pinhole_sandbox::MAX_MODEL_BYTES;

use super::conversation::{Author, Conversation, Message};
use super::image_tool::ImageTool;
use super::source_reference::parse_source;
use crate::files::lookup::ImageReference;
use crate::web::error::ApiError;

/// Length of a name in a message, in bytes.
const MAX_NAME_BYTES: usize = 60;
/// Metadata of one response: entries, and the length of a value in bytes.
const MAX_METADATA: usize = 16;
const MAX_METADATA_BYTES: usize = 4096;

/// A request of OpenAI's responses API.
///
/// The image generation tool is the only one, and is always called. Fields about the text of a language model
/// are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ResponsesRequest {
    /// An image model, or any other name: the image tool then uses its own `model`, or the configured one.
    #[schema(max_length = 512)]
    pub(super) model: Option<String>,
    /// A text, or a list of messages. The newest text of the user is the prompt; images are edited.
    #[serde(default)]
    #[schema(value_type = ResponsesInput, required)]
    input: Value,
    /// A text that precedes the prompt.
    pub(super) instructions: Option<String>,
    /// `[{"type": "image_generation", …}]`. Required, unless `model` is an image model.
    tools: Option<Vec<Map<String, Value>>>,
    #[schema(value_type = Option<ToolChoice>)]
    tool_choice: Option<Value>,
    pub(super) stream: Option<bool>,
    /// Must be missing or false: responses are not stored.
    store: Option<bool>,
    /// Must be missing or false.
    background: Option<bool>,
    /// Must be missing: send the earlier turns in `input`.
    previous_response_id: Option<String>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) parallel_tool_calls: Option<bool>,
    /// Other fields of OpenAI's API.
    #[serde(flatten)]
    #[schema(ignore)]
    others: Map<String, Value>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
enum ResponsesInput {
    Text(String),
    Items(Vec<Map<String, Value>>),
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
enum ToolChoice {
    Mode(String),
    Tool(Map<String, Value>),
}

/// Fields about a language model's text, or about the client. They change no image.
const WITHOUT_EFFECT: [&str; 14] = [
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "text",
    "top_logprobs",
    "truncation",
    "user",
];

impl ResponsesRequest {
    /// Fails if the request needs what this server does not have.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.previous_response_id.is_some() {
            let why = "responses are not stored, send the earlier turns in input";
            return Err(unsupported("previous_response_id", why));
        }
        if self.store == Some(true) {
            let why = "responses are not stored, set it to false";
            return Err(unsupported("store", why));
        }
        if self.background == Some(true) {
            let why = "leave it out, and use stream to follow the image";
            return Err(unsupported("background", why));
        }
        let model = self.model.as_deref().unwrap_or_default();
        if model.len() > MAX_MODEL_BYTES {
            let message = format!("model must have at most {MAX_MODEL_BYTES} bytes");
            return Err(ApiError::invalid("model", message));
        }
        for (name, value) in self.others.iter().filter(|(_, value)| !value.is_null()) {
            check_other(name, value)?;
        }
        check_metadata(self.metadata.as_ref())?;
        self.check_tool_choice()
    }

    fn check_tool_choice(&self) -> Result<(), ApiError> {
        let is_image = |tool: &Value| tool.get("type").is_some_and(|it| it == "image_generation");
        let is_supported = match &self.tool_choice {
            None | Some(Value::Null) => true,
            Some(Value::String(mode)) => mode == "auto" || mode == "required",
            Some(choice) => {
                let allowed = choice.get("tools").and_then(Value::as_array);
                is_image(choice) || allowed.is_some_and(|tools| tools.iter().any(is_image))
            }
        };
        if is_supported {
            return Ok(());
        }
        let message = "tool_choice must be auto, required, or the tool image_generation";
        Err(ApiError::invalid("tool_choice", message))
    }

    /// The image tool. `None` without tools.
    pub(super) fn take_tool(&mut self) -> Result<Option<ImageTool>, ApiError> {
        let mut image_tool = None;
        for (index, tool) in self
            .tools
            .take()
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            let field = format!("tools[{index}]");
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind != "image_generation" {
                let kind = plain(kind, MAX_NAME_BYTES);
                let message =
                    format!("{field} has the type {kind:?}, but image_generation is the only tool");
                return Err(ApiError::invalid(&field, message));
            }
            if image_tool.is_some() {
                let message = format!("{field} is a second image_generation tool: send one");
                return Err(ApiError::invalid(&field, message));
            }
            image_tool = Some(ImageTool::parse(&field, tool)?);
        }
        Ok(image_tool)
    }

    /// Reads the input.
    pub(super) fn conversation(&self) -> Result<Conversation<'_>, ApiError> {
        let mut conversation = Conversation::default();
        conversation.push(Message {
            author: Author::Instructions,
            texts: self.instructions.as_deref().into_iter().collect(),
            images: Vec::new(),
        });
        match &self.input {
            Value::String(text) => conversation.push(Message {
                author: Author::User,
                texts: vec![text.as_str()],
                images: Vec::new(),
            }),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(message) = parse_item(&format!("input[{index}]"), item)? {
                        conversation.push(message);
                    }
                }
            }
            _ => {
                let message = "input must be a text or a list of items";
                return Err(ApiError::invalid("input", message));
            }
        }
        Ok(conversation)
    }
}

/// Checks a field that is not part of [`ResponsesRequest`].
fn check_other(name: &str, value: &Value) -> Result<(), ApiError> {
    let format = value.pointer("/format/type");
    match name {
        "conversation" => {
            let why = "conversations are not stored, send the earlier turns in input";
            Err(unsupported(name, why))
        }
        "prompt" => Err(unsupported(
            name,
            "there are no prompt templates, send input",
        )),
        "text" if format.is_some_and(|it| it != "text") => {
            let why = "the response is an image, leave it out";
            Err(unsupported("text.format", why))
        }
        _ if WITHOUT_EFFECT.contains(&name) => Ok(()),
        _ => {
            let name = plain(name, MAX_NAME_BYTES);
            let message = format!(
                "unknown field {name}: leave it out, or put an option of the image into tools"
            );
            Err(ApiError::invalid(&name, message))
        }
    }
}

fn unsupported(field: &str, why: &str) -> ApiError {
    ApiError::invalid(field, format!("{field} is not supported: {why}"))
}

fn check_metadata(metadata: Option<&Map<String, Value>>) -> Result<(), ApiError> {
    let entries = metadata.into_iter().flatten();
    let is_valid = |(name, value): (&String, &Value)| {
        let text = value.as_str();
        name.len() <= MAX_METADATA_BYTES && text.is_some_and(|it| it.len() <= MAX_METADATA_BYTES)
    };
    if metadata.is_none_or(|it| it.len() <= MAX_METADATA) && entries.clone().all(is_valid) {
        return Ok(());
    }
    let message =
        format!("metadata must have at most {MAX_METADATA} strings of {MAX_METADATA_BYTES} bytes");
    Err(ApiError::invalid("metadata", message))
}

/// Reads an item of the input. `None` for an item without a meaning for an image, such as reasoning.
fn parse_item<'a>(field: &str, item: &'a Value) -> Result<Option<Message<'a>>, ApiError> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let unsupported = |why: &str| Err(ApiError::invalid(field, format!("{field} {why}")));
    match text("type") {
        None | Some("message") => {}
        Some("reasoning") => return Ok(None),
        Some("image_generation_call") => {
            let Some(result) = text("result") else {
                return unsupported(
                    "has no result, and responses are not stored: send the image in result",
                );
            };
            let image = ImageReference::Base64(result);
            return Ok(Some(Message {
                author: Author::Assistant,
                texts: Vec::new(),
                images: vec![image],
            }));
        }
        Some("item_reference") => {
            return unsupported(
                "refers to a stored response, but responses are not stored: send the item itself",
            );
        }
        Some(other) => {
            let other = plain(other, MAX_NAME_BYTES);
            return unsupported(&format!(
                "has the type {other:?}: use message or image_generation_call"
            ));
        }
    }
    let author = match text("role") {
        Some("user") => Author::User,
        Some("assistant") => Author::Assistant,
        Some("system" | "developer") => Author::Instructions,
        _ => return unsupported("needs a role: user, assistant, system or developer"),
    };
    let mut message = Message {
        author,
        texts: Vec::new(),
        images: Vec::new(),
    };
    match item.get("content") {
        Some(Value::String(content)) => message.texts.push(content),
        Some(Value::Array(parts)) => {
            for (index, part) in parts.iter().enumerate() {
                parse_part(&format!("{field}.content[{index}]"), part, &mut message)?;
            }
        }
        _ => return unsupported("needs a content: a text or a list of parts"),
    }
    Ok(Some(message))
}

fn parse_part<'a>(field: &str, part: &'a Value, message: &mut Message<'a>) -> Result<(), ApiError> {
    match part.get("type").and_then(Value::as_str) {
        Some("input_text" | "output_text" | "text") => {
            let Some(text) = part.get("text").and_then(Value::as_str) else {
                return Err(ApiError::invalid(field, format!("{field} has no text")));
            };
            message.texts.push(text);
        }
        Some("input_image") => message.images.push(parse_source(field, part)?),
        Some("refusal") => {}
        other => {
            let other = plain(other.unwrap_or_default(), MAX_NAME_BYTES);
            let detail = format!("{field} has the type {other:?}: use input_text or input_image");
            return Err(ApiError::invalid(field, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The field of the refusal.
    fn refused(body: Value) -> Option<String> {
        let mut request: ResponsesRequest = serde_json::from_value(body).unwrap();
        let outcome = request.check().and_then(|()| {
            request.take_tool()?;
            request.conversation()?.prompt("input")
        });
        let error = format!("{:?}", outcome.err()?);
        let (_, rest) = error.split_once("param: Some(\"").unwrap();
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let image = json!({"type": "image_generation"});
        for (field, value, expected) in [
            (
                "previous_response_id",
                json!("resp_1"),
                "previous_response_id",
            ),
            ("conversation", json!("conv_1"), "conversation"),
            ("store", json!(true), "store"),
            ("background", json!(true), "background"),
            ("prompt", json!({"id": "pmpt_1"}), "prompt"),
            (
                "text",
                json!({"format": {"type": "json_schema"}}),
                "text.format",
            ),
            ("size", json!("1x1"), "size"),
            ("tools", json!([image, {"type": "web_search"}]), "tools[1]"),
            ("tools", json!([image, image]), "tools[1]"),
            (
                "tools",
                json!([{"type": "image_generation", "count": 2}]),
                "tools[0].count",
            ),
            ("tool_choice", json!("none"), "tool_choice"),
            (
                "tool_choice",
                json!({"type": "function", "name": "x"}),
                "tool_choice",
            ),
            ("metadata", json!({"a": 1}), "metadata"),
            ("model", json!("m".repeat(MAX_MODEL_BYTES + 1)), "model"),
            ("input", json!(5), "input"),
            ("input", json!([]), "input"),
            ("input", json!([5]), "input[0]"),
            (
                "input",
                json!([{"type": "item_reference", "id": "ig_1"}]),
                "input[0]",
            ),
            (
                "input",
                json!([{"type": "image_generation_call", "id": "ig_1"}]),
                "input[0]",
            ),
            ("input", json!([{"type": "function_call"}]), "input[0]"),
            (
                "input",
                json!([{"role": "user", "content": [{"type": "input_file"}]}]),
                "input[0].content[0]",
            ),
            ("input", json!([{"role": "user"}]), "input[0]"),
        ] {
            let mut body = json!({"model": "gpt-5", "input": "a fox", "tools": [image]});
            body[field] = value;
            assert_eq!(refused(body.clone()).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn fields_of_a_language_model_are_accepted() {
        let body = json!({
            "model": "gpt-5", "input": "a fox", "instructions": "Ink.", "store": false,
            "tools": [{"type": "image_generation", "size": "auto"}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "image_generation"}]},
            "include": [], "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}},
            "metadata": {"a": "b"}, "temperature": 1, "conversation": null, "max_output_tokens": 5,
        });
        assert_eq!(refused(body.clone()), None);
        let request: ResponsesRequest = serde_json::from_value(body).unwrap();
        let prompt = request.conversation().unwrap().prompt("input").unwrap();
        assert_eq!(prompt, "Ink.\n\na fox");
    }

    #[test]
    fn schema_states_model_limit() {
        let schema = <ResponsesRequest as utoipa::PartialSchema>::schema();
        let schema = serde_json::to_value(schema).unwrap();
        assert_eq!(schema["properties"]["model"]["maxLength"], MAX_MODEL_BYTES);
    }
}
