//! Properties of the sandbox: components, and what guests and upstreams pass to the host.

mod bodies;
mod component;
mod credential;
mod events;
mod headers;
mod json;
mod multipart;
mod rules;

pub use bodies::bodies;
pub use component::component;
pub use credential::credential;
pub use events::events;
pub use headers::headers;
pub use json::json;
pub use multipart::multipart;
pub use rules::rules;

/// Separates lists in the input of a target.
const LIST_SEPARATOR: u8 = 0x1e;
/// Separates items of a list in the input of a target.
const ITEM_SEPARATOR: u8 = 0x1f;

/// The texts between separators. Invalid UTF-8 is replaced.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = String> {
    bytes
        .split(move |byte| *byte == separator)
        .map(|text| String::from_utf8_lossy(text).into_owned())
}
