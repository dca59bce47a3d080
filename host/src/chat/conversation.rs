//! The conversation of a stored chat as the messages of a chat completion request.

use pinhole_ground::memory::MemoryLease;
use serde_json::{Map, Value, json};

use super::Error;
use super::history::{MAX_CHAIN, count_chain};
use super::image_references::image_references;
use super::message::{content_text, role};
use crate::store::{Store, StoredMessage};

/// What a request adds to the stored messages.
#[derive(Debug, Default)]
pub struct Additions<'a> {
    /// The messages of the request, of which only a system message counts.
    pub sent: &'a [Value],
    /// The id of a response to revise, and how.
    pub revision: Option<(&'a str, &'a str)>,
}

/// The messages up to this one, oldest first. The memory counts them.
///
/// Source: Open WebUI 0.12 `utils/middleware.py`: the client's system message first, images of the user as parts.
pub async fn load(
    store: &Store,
    chat_id: &str,
    message_id: &str,
    additions: Additions<'_>,
    memory: &mut MemoryLease,
) -> Result<Vec<Value>, Error> {
    count_chain(store, chat_id, memory).await?;
    let chain = store.message_chain(chat_id, message_id, MAX_CHAIN).await;
    let chain = chain.map_err(Error::Store)?;
    let system = additions.sent.iter().find(|it| role(it) == Some("system"));
    let mut messages: Vec<Value> = system.cloned().into_iter().collect();
    messages.extend(chain.into_iter().filter_map(to_request_message));
    if let Some((response_id, prompt)) = additions.revision {
        let response = store.message_chain(chat_id, response_id, 1).await;
        let response = response.map_err(Error::Store)?.into_iter();
        messages.extend(response.filter_map(to_request_message));
        messages.push(json!({"role": "user", "content": prompt}));
    }
    Ok(messages)
}

/// `None` for a message that says nothing, such as a response that failed.
fn to_request_message(message: StoredMessage) -> Option<Value> {
    let StoredMessage {
        role,
        content,
        files,
        ..
    } = message;
    match role.as_str() {
        "user" => {
            let images = image_references(&files, &Value::Null);
            let content = with_images(content, &images);
            Some(json!({"role": role, "content": content}))
        }
        "assistant" | "system" => {
            content_text(&content)?;
            Some(json!({"role": role, "content": content}))
        }
        _ => None,
    }
}

/// The content with the images as further parts.
fn with_images(content: Value, images: &[&str]) -> Value {
    if images.is_empty() {
        return content;
    }
    let mut parts = match content {
        Value::Array(parts) => parts,
        text => vec![json!({"type": "text", "text": text})],
    };
    parts.extend(images.iter().map(|url| {
        let url = Map::from_iter([("url".to_owned(), Value::from(*url))]);
        json!({"type": "image_url", "image_url": url})
    }));
    parts.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: &str, content: Value, files: Value, expected: Option<Value>) {
        let message = StoredMessage {
            id: "m".to_owned(),
            parent_id: None,
            role: role.to_owned(),
            content,
            files: files.as_array().unwrap().clone(),
        };
        assert_eq!(to_request_message(message), expected);
    }

    #[test]
    fn request_message_has_text_and_the_images_of_the_user() {
        let upload = json!([{"type": "file", "url": "f1", "content_type": "image/png"}]);
        let image = json!({"type": "image_url", "image_url": {"url": "f1"}});
        let text = json!({"type": "text", "text": "a fox"});
        check(
            "user",
            json!("a fox"),
            json!([]),
            Some(json!({"role": "user", "content": "a fox"})),
        );
        check(
            "user",
            json!("a fox"),
            upload.clone(),
            Some(json!({"role": "user", "content": [text, image]})),
        );
        check(
            "user",
            json!([text]),
            upload.clone(),
            Some(json!({"role": "user", "content": [text, image]})),
        );
        check(
            "assistant",
            json!("Here."),
            upload.clone(),
            Some(json!({"role": "assistant", "content": "Here."})),
        );
        check("assistant", json!(""), upload.clone(), None);
        check("tool", json!("x"), json!([]), None);
    }
}
