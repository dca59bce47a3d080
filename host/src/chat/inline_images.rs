//! Replaces stored images of the conversation with data URLs, which the language model can read.

use pinhole_ground::memory::MemoryLease;
use pinhole_images::Image;
use serde_json::{Value, json};

use super::Turn;
use crate::files::lookup::{ImageReference, LookupError};
use crate::files::{Files, encode_data_url};
use crate::store::User;

/// Images in one request.
const MAX_IMAGES: usize = 16;
/// Length of all images in one request, in bytes.
const MAX_IMAGE_BYTES: usize = 32 << 20;
/// Replaces an image that cannot be loaded or exceeds the limits.
const MISSING: &str = "[an image that cannot be shown]";

/// Replaces the stored images in the messages, newest first. Data URLs and other URLs remain unchanged.
///
/// Source: Open WebUI `utils/files.py`, which reads the files of every user.
pub(super) async fn inline(files: &Files, turn: &mut Turn) {
    let (mut images, mut bytes) = (0, 0);
    let Turn {
        user,
        payload,
        memory,
        ..
    } = turn;
    let messages = payload.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten().rev() {
        let parts = message.get_mut("content").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            let Some(reference) = stored_image(part) else {
                continue;
            };
            let image = if images < MAX_IMAGES && bytes < MAX_IMAGE_BYTES {
                load(&reference, files, user, memory).await
            } else {
                None
            };
            match image {
                Some(image) => {
                    images += 1;
                    bytes += image.bytes().len();
                    set_url(part, encode_data_url(&image));
                }
                None => *part = json!({"type": "text", "text": MISSING}),
            }
        }
    }
}

/// Loads an image, and counts its data URL in the payload and in the text for the language model.
async fn load(
    reference: &ImageReference<'_>,
    files: &Files,
    user: &User,
    memory: &mut MemoryLease,
) -> Option<Image> {
    let image = reference.load(files, user).await.map_err(log).ok()?;
    let url_bytes = base64_simd::STANDARD.encoded_length(image.bytes().len());
    memory.grow(url_bytes.saturating_mul(2)).await.ok()?;
    Some(image)
}

/// The stored file that a part of a message names.
fn stored_image(part: &Value) -> Option<ImageReference<'_>> {
    if part.get("type").and_then(Value::as_str) != Some("image_url") {
        return None;
    }
    let url = part.get("image_url")?;
    let reference = ImageReference::parse(url.get("url").unwrap_or(url).as_str()?);
    reference.is_stored_file().then_some(reference)
}

/// Preserves other fields of the part, such as `detail`.
fn set_url(part: &mut Value, url: String) {
    match part.pointer_mut("/image_url/url") {
        Some(field) => *field = url.into(),
        None => *part = json!({"type": "image_url", "image_url": {"url": url}}),
    }
}

fn log(error: LookupError) {
    if let LookupError::Internal(error) = error {
        tracing::error!("cannot read an image of a chat: {error:#}");
    }
}
