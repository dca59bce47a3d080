//! The image generation tool of the responses API: its options.

use serde_json::{Map, Value};

use pinhole_ground::text::plain;

use super::image_model::Action;
use super::image_request::ImageRequest;
use crate::web::error::ApiError;
use crate::web::json_body::json_value;

/// Length of a name in a message, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// Options that are fields of the images API.
const IMAGE_OPTIONS: [&str; 12] = [
    "background",
    "input_fidelity",
    "model",
    "moderation",
    "negative_prompt",
    "output_compression",
    "output_format",
    "partial_images",
    "quality",
    "seed",
    "size",
    "steps",
];

/// The tool as the client defines it.
#[derive(Debug)]
pub(super) struct ImageTool {
    pub(super) action: Action,
    /// The image model.
    pub(super) model: Option<String>,
    /// The image or its id, as the client names it.
    pub(super) mask: Option<Value>,
    options: Map<String, Value>,
}

impl ImageTool {
    /// Without options.
    pub(super) fn new() -> Self {
        Self {
            action: Action::Auto,
            model: None,
            mask: None,
            options: Map::new(),
        }
    }

    /// Parses a tool of this type. Fails if an option is unknown.
    pub(super) fn parse(field: &str, tool: Map<String, Value>) -> Result<Self, ApiError> {
        let mut parsed = Self::new();
        for (name, value) in tool.into_iter().filter(|(_, value)| !value.is_null()) {
            let option = || format!("{field}.{}", plain(&name, MAX_NAME_BYTES));
            let must_be = |expected: &str| {
                let option = option();
                Err(ApiError::invalid(
                    &option,
                    format!("{option} must be {expected}"),
                ))
            };
            match (name.as_str(), value) {
                ("type", _) => {}
                ("action", Value::String(action)) if action == "auto" => {}
                ("action", Value::String(action)) if action == "generate" => {
                    parsed.action = Action::Generate;
                }
                ("action", Value::String(action)) if action == "edit" => {
                    parsed.action = Action::Edit;
                }
                ("action", _) => return must_be("auto, generate or edit"),
                ("input_image_mask", mask) => parsed.mask = Some(mask),
                ("model", Value::String(model)) => parsed.model = Some(model),
                ("model", _) => return must_be("a string"),
                (name, value) if IMAGE_OPTIONS.contains(&name) => {
                    parsed.options.insert(name.to_owned(), value);
                }
                _ => {
                    let option = option();
                    let message = format!("unknown option {option}: leave it out");
                    return Err(ApiError::invalid(&option, message));
                }
            }
        }
        Ok(parsed)
    }

    /// The tool as a response repeats it: without the mask, which may be long.
    pub(super) fn to_json(&self) -> Value {
        let mut tool = self.options.clone();
        tool.insert("type".to_owned(), "image_generation".into());
        if let Some(model) = &self.model {
            tool.insert("model".to_owned(), model.as_str().into());
        }
        Value::Object(tool)
    }

    /// The request of an image with these options.
    pub(super) fn into_request(
        self,
        prompt: String,
        is_stream: bool,
    ) -> Result<ImageRequest, ApiError> {
        let mut fields = self.options;
        fields.insert("prompt".to_owned(), prompt.into());
        fields.insert("stream".to_owned(), is_stream.into());
        json_value(Value::Object(fields))
    }
}
