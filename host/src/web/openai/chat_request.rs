//! A chat completion request for an image: its messages, and the options of the image.
//!
//! Source: OpenRouter's documentation of image generation.

use serde_json::{Map, Value};

use pinhole_ground::text::plain;

use super::aspect_ratio;
use super::conversation::{Author, Conversation, Message};
use super::source_reference::parse_source;
use crate::files::lookup::ImageReference;
use crate::web::error::ApiError;

/// Length of a name in a message, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// The outputs that a request wants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Modalities {
    /// The request has the field.
    pub(super) is_set: bool,
    pub(super) has_image: bool,
}

impl Modalities {
    pub(super) fn parse(payload: &Map<String, Value>) -> Self {
        let Some(Value::Array(modalities)) = payload.get("modalities") else {
            return Self::default();
        };
        Self {
            is_set: true,
            has_image: modalities.iter().any(|it| it == "image"),
        }
    }
}

/// Fails if the request wants another output than an image.
pub(super) fn check_outputs(payload: &Map<String, Value>) -> Result<(), ApiError> {
    let modalities = match payload.get("modalities") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(modalities)) => modalities,
        Some(_) => return Err(ApiError::invalid("modalities", "modalities must be a list")),
    };
    let is_known = |it: &Value| it == "image" || it == "text";
    if !modalities.iter().all(is_known)
        || (!modalities.is_empty() && !Modalities::parse(payload).has_image)
    {
        let message =
            "the model makes images: modalities must be [\"image\"] or [\"image\", \"text\"]";
        return Err(ApiError::invalid("modalities", message));
    }
    let is_set = |field: &str| payload.get(field).is_some_and(|value| !value.is_null());
    if is_set("audio") {
        return Err(ApiError::invalid(
            "audio",
            "the model makes images and no audio: leave audio out",
        ));
    }
    let format = payload.get("response_format").and_then(|it| it.get("type"));
    if format.is_some_and(|it| it != "text") {
        let message = "the model makes images and no JSON: leave response_format out";
        return Err(ApiError::invalid("response_format", message));
    }
    let choice = payload.get("tool_choice");
    if choice.is_some_and(|it| !it.is_null() && it != "auto" && it != "none") {
        let message = "the model makes images and calls no tools: leave tool_choice out";
        return Err(ApiError::invalid("tool_choice", message));
    }
    Ok(())
}

/// The size that `image_config` requests. Fails if it has an option that has no effect here.
pub(super) fn parse_image_config(payload: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    const FIELD: &str = "image_config";
    let config = match payload.get(FIELD) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(config)) => config,
        Some(_) => return Err(ApiError::invalid(FIELD, "image_config must be an object")),
    };
    let (mut ratio, mut resolution) = (None, None);
    for (name, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "aspect_ratio" => ratio = Some(value),
            "image_size" => resolution = Some(("image_config.image_size", value)),
            _ => {
                let option = format!("{FIELD}.{}", plain(name, MAX_NAME_BYTES));
                let message = format!(
                    "{option} is not supported: use aspect_ratio and image_size, or leave it out"
                );
                return Err(ApiError::invalid(&option, message));
            }
        }
    }
    if ratio.is_none() && resolution.is_none() {
        return Ok(None);
    }
    aspect_ratio::parse_size("image_config.aspect_ratio", ratio, resolution).map(Some)
}

/// Reads the messages of a chat completion request.
pub(super) fn parse_messages(payload: &Map<String, Value>) -> Result<Conversation<'_>, ApiError> {
    let mut conversation = Conversation::default();
    let messages = payload.get("messages").and_then(Value::as_array);
    for (index, message) in messages.into_iter().flatten().enumerate() {
        if let Some(message) = parse_message(index, message)? {
            conversation.push(message);
        }
    }
    Ok(conversation)
}

/// `None` for a message without a meaning for an image, such as a tool's.
fn parse_message(index: usize, message: &Value) -> Result<Option<Message<'_>>, ApiError> {
    let author = match message.get("role").and_then(Value::as_str) {
        Some("user") => Author::User,
        Some("assistant") => Author::Assistant,
        Some("system" | "developer") => Author::Instructions,
        Some("tool" | "function") => return Ok(None),
        _ => {
            let field = format!("messages[{index}].role");
            let detail = format!("{field} must be system, developer, user, assistant or tool");
            return Err(ApiError::invalid(&field, detail));
        }
    };
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    match message.get("content") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => texts.push(text.as_str()),
        Some(Value::Array(parts)) => {
            for (number, part) in parts.iter().enumerate() {
                let field = format!("messages[{index}].content[{number}]");
                match part.get("type").and_then(Value::as_str) {
                    Some("text" | "refusal") => {
                        texts.extend(part.get("text").and_then(Value::as_str))
                    }
                    Some("image_url") => images.push(parse_source(&field, part)?),
                    // A model's own parts, such as a refusal, say nothing about the next image.
                    _ if author == Author::Assistant => {}
                    _ => {
                        let detail =
                            format!("{field} is not supported: its type must be text or image_url");
                        return Err(ApiError::invalid(&field, detail));
                    }
                }
            }
        }
        Some(_) => {
            let field = format!("messages[{index}].content");
            return Err(ApiError::invalid(
                &field,
                format!("{field} must be a text or a list of parts"),
            ));
        }
    }
    if author == Author::Assistant {
        let sent = message.get("images").and_then(Value::as_array);
        images.extend(
            sent.into_iter()
                .flatten()
                .filter_map(|it| parse_source("messages", it).ok()),
        );
        images.extend(texts.iter().flat_map(|text| markdown_images(text)));
    }
    Ok(Some(Message {
        author,
        texts,
        images,
    }))
}

/// The stored files that a Markdown text shows, such as an earlier completion of this server.
fn markdown_images(text: &str) -> impl Iterator<Item = ImageReference<'_>> {
    let urls = text.split("![").skip(1);
    urls.filter_map(|rest| {
        let (_, target) = rest.split_once("](")?;
        let (url, _) = target.split_once(')')?;
        let reference = ImageReference::parse_url(url);
        reference.is_stored_file().then_some(reference)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload(body: &Value) -> &Map<String, Value> {
        body.as_object().unwrap()
    }

    #[test]
    fn options_that_have_no_effect_are_refused_by_name() {
        let check = |body: Value, field: &str| {
            let body = payload(&body);
            let outcome = check_outputs(body).and_then(|()| parse_image_config(body).map(|_| ()));
            let error = format!("{:?}", outcome.unwrap_err());
            assert!(
                error.contains(&format!("param: Some({field:?})")),
                "{error}"
            );
        };
        check(json!({"modalities": ["text"]}), "modalities");
        check(json!({"modalities": ["image", "audio"]}), "modalities");
        check(json!({"modalities": "image"}), "modalities");
        check(json!({"audio": {"voice": "x"}}), "audio");
        check(
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        );
        check(json!({"tool_choice": "required"}), "tool_choice");
        check(json!({"image_config": []}), "image_config");
        check(
            json!({"image_config": {"strength": 1}}),
            "image_config.strength",
        );
        check(
            json!({"image_config": {"aspect_ratio": 1}}),
            "image_config.aspect_ratio",
        );
        check(
            json!({"image_config": {"image_size": "9K"}}),
            "image_config.image_size",
        );
        for body in [
            json!({}),
            json!({"modalities": null, "image_config": null, "tool_choice": "auto"}),
            json!({"modalities": ["image", "text"], "response_format": {"type": "text"}}),
            json!({"modalities": [], "tools": [{}], "temperature": 1}),
        ] {
            assert!(check_outputs(payload(&body)).is_ok(), "{body}");
        }
        let wide = json!({"image_config": {"aspect_ratio": "16:9", "image_size": "2K"}});
        let size = parse_image_config(payload(&wide)).unwrap();
        assert_eq!(size.as_deref(), Some("2688x1512"));
    }

    #[test]
    fn messages_have_texts_and_images() {
        let prompt = |messages: Value| {
            let body = json!({"messages": messages});
            let conversation = parse_messages(payload(&body));
            conversation
                .and_then(|it| it.prompt("messages"))
                .map_err(|error| format!("{error:?}"))
        };
        let text = prompt(json!([
            {"role": "system", "content": "Ink."},
            {"role": "user", "content": [
                {"type": "text", "text": "a fox"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            ]},
        ]));
        assert_eq!(text.unwrap(), "Ink.\n\na fox");
        for (messages, field) in [
            (
                json!([{"role": "narrator", "content": "x"}]),
                "messages[0].role",
            ),
            (json!([5]), "messages[0].role"),
            (
                json!([{"role": "user", "content": 5}]),
                "messages[0].content",
            ),
            (
                json!([{"role": "user", "content": [{"type": "file"}]}]),
                "messages[0].content[0]",
            ),
            (
                json!([{"role": "user", "content": [{"type": "image_url"}]}]),
                "messages[0].content[0]",
            ),
            (json!([{"role": "assistant", "content": "x"}]), "messages"),
        ] {
            let error = prompt(messages).unwrap_err();
            assert!(
                error.contains(&format!("param: Some({field:?})")),
                "{error}"
            );
        }
    }

    #[test]
    fn markdown_images_are_stored_files() {
        let text =
            "![a](/api/v1/files/5/content)\n![b](https://x/y.png) ![c](http://h/api/v1/files/6)";
        let images: Vec<_> = markdown_images(text).collect();
        let file = |id: &str| ImageReference::StoredFile(id.to_owned());
        assert_eq!(images, [file("5"), file("6")]);
        assert_eq!(markdown_images("![](").count(), 0);
    }
}
