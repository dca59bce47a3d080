//! Fuzz targets of what a guest hands over, and of guests themselves.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken property is shown by a panic"
)]

mod component;
mod events;
mod headers;
mod json;
mod multipart;

pub use component::component;
pub use events::events;
pub use headers::headers;
pub use json::json;
pub use multipart::multipart;

/// Parts one list from the next in the bytes of a fuzz target, and an item from the next within one.
const LISTS: u8 = 0x1e;
const ITEMS: u8 = 0x1f;

/// The pieces between separators, with what is no UTF-8 replaced.
fn pieces(bytes: &[u8], separator: u8) -> impl Iterator<Item = String> {
    bytes
        .split(move |byte| *byte == separator)
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
}
