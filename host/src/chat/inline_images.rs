//! Pictures of the conversation that the language model is shown: stored files go along as data URLs.

use serde_json::{Map, Value, json};

use crate::files::Files;
use pinhole_images::Image;
use crate::files::lookup::{ImageReference, LookupError};
use crate::store::User;

/// Stored pictures that go along with one request.
const MAX_SHOWN: usize = 16;
/// Their length together, in bytes.
const MAX_SHOWN_BYTES: usize = 32 << 20;
/// What stands for a picture that does not go along.
const MISSING: &str = "[a picture that cannot be shown]";

/// Puts stored pictures of the caller's where the messages name them by id or address, the newest
/// first. Data URLs and addresses elsewhere stay as they are.
///
/// Source: Open WebUI `utils/files.py`, which takes anybody's files.
pub(super) async fn inline(files: &Files, user: &User, payload: &mut Map<String, Value>) {
    let (mut shown, mut bytes) = (0, 0);
    let messages = payload.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten().rev() {
        let parts = message.get_mut("content").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            let Some(name) = stored_name(part) else {
                continue;
            };
            let image = match shown < MAX_SHOWN && bytes < MAX_SHOWN_BYTES {
                true => ImageReference::parse(name).load(files, user).await.map_err(log).ok(),
                false => None,
            };
            match image {
                Some(image) => {
                    shown += 1;
                    bytes += image.bytes().len();
                    set_url(part, data_url(&image));
                }
                None => *part = json!({"type": "text", "text": MISSING}),
            }
        }
    }
}

/// What names a stored file in a part of a message.
fn stored_name(part: &Value) -> Option<&str> {
    if part.get("type").and_then(Value::as_str) != Some("image_url") {
        return None;
    }
    let url = part.get("image_url")?;
    let name = url.get("url").unwrap_or(url).as_str()?;
    ImageReference::parse(name).is_stored_file().then_some(name)
}

/// What else is said of the picture, such as `detail`, stays.
fn set_url(part: &mut Value, url: String) {
    match part.pointer_mut("/image_url/url") {
        Some(named) => *named = url.into(),
        None => *part = json!({"type": "image_url", "image_url": {"url": url}}),
    }
}

fn data_url(image: &Image) -> String {
    let mut url = format!("data:{};base64,", image.media_type());
    base64_simd::STANDARD.encode_append(image.bytes(), &mut url);
    url
}

fn log(unusable: LookupError) {
    if let LookupError::Internal(error) = unusable {
        tracing::error!("a picture of a chat cannot be read: {error:#}");
    }
}
