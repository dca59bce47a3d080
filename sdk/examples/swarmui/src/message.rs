//! The messages of SwarmUI's WebSocket.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ErrorKind};
use serde::Deserialize;
use serde_json::Value;

/// Length of a message of SwarmUI in an error, in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

/// A message while images are made.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Progress(ProgressMessage),
    Image(MadeMessage),
    /// The state of the queue, images to discard, and what later versions send.
    Other,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct ProgressMessage {
    /// From 0 to 1, for one image.
    #[serde(default)]
    pub(crate) overall_percent: f32,
    /// The beginning of a data URL.
    pub(crate) preview: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct MadeMessage {
    /// The beginning of a data URL, or a path such as `View/local/raw/1.png`.
    pub(crate) image: String,
}

impl Message {
    pub(crate) fn from_json(json: &Value) -> Result<Self, Error> {
        if let Some(error) = find_error(json) {
            return Err(error);
        }
        let unreadable = |error| Error::protocol(format!("SwarmUI sent another message: {error}"));
        if let Some(progress) = json.get("gen_progress") {
            let progress = ProgressMessage::deserialize(progress).map_err(unreadable)?;
            return Ok(Self::Progress(progress));
        }
        if let Some(made) = json.get("image") {
            let made = MadeMessage::deserialize(made).map_err(unreadable)?;
            return Ok(Self::Image(made));
        }
        Ok(Self::Other)
    }
}

/// The error of a response or message. SwarmUI sends it with the status 200.
pub(crate) fn find_error(json: &Value) -> Option<Error> {
    let text = json.get("error").and_then(Value::as_str);
    let id = json.get("error_id").and_then(Value::as_str);
    let message = truncate(text.or(id)?, MAX_MESSAGE_BYTES);
    let is_wrong_input = ["model", "invalid", "parameter"]
        .iter()
        .any(|word| message.to_lowercase().contains(word));
    let kind = if is_wrong_input {
        ErrorKind::Invalid
    } else {
        ErrorKind::Upstream
    };
    let error = Error::new(kind, message);
    Some(match id {
        Some(id) => error.with_code(id),
        None => error,
    })
}

/// The seed in an image's metadata, which is usually JSON.
pub(crate) fn find_seed(metadata: &str) -> Option<u64> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    metadata.pointer("/sui_image_params/seed")?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_read_by_their_keys() {
        let progress = json!({"gen_progress": {"batch_index": "0", "overall_percent": 0.5}});
        let expected = ProgressMessage {
            overall_percent: 0.5,
            preview: None,
        };
        assert_eq!(
            Message::from_json(&progress).unwrap(),
            Message::Progress(expected)
        );
        let status = json!({"status": {"waiting_gens": 1}});
        assert_eq!(Message::from_json(&status).unwrap(), Message::Other);
        let odd = json!({"image": 7});
        assert_eq!(
            Message::from_json(&odd).unwrap_err().kind,
            ErrorKind::Protocol
        );
    }

    #[test]
    fn error_has_kind_and_code() {
        let error = find_error(&json!({"error": "Invalid model value", "error_id": "bad"}));
        let error = error.unwrap();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.code.as_deref(), Some("bad"));
        assert!(find_error(&json!({"session_id": "s1"})).is_none());
    }

    #[test]
    fn seed_is_in_the_metadata() {
        assert_eq!(
            find_seed(r#"{"sui_image_params": {"seed": 1234}}"#),
            Some(1234)
        );
        assert_eq!(find_seed("a text"), None);
    }
}
