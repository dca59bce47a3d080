//! Frames of the socket: text frames with an event, and binary frames with an image.

use serde::Deserialize;
use serde_json::Value;

/// Length of a binary frame's header, in bytes: two big-endian 32-bit numbers.
pub(crate) const BINARY_HEADER_BYTES: u32 = 8;
/// Maximum length of a frame's type, in bytes. Custom nodes send types of any length.
pub(crate) const MAX_TYPE_BYTES: u32 = 64;
/// Maximum length of an image's metadata, in bytes.
const MAX_METADATA_BYTES: u32 = 16 * 1024;

/// A text frame.
#[derive(Debug, Deserialize)]
pub(crate) struct TextFrame {
    #[serde(rename = "type")]
    pub(crate) frame_type: String,
    #[serde(default)]
    pub(crate) data: Value,
}

/// Whether the engine uses frames of this type. Custom nodes send others. `progress_state` repeats the
/// state of every node at every step, which the other frames already give.
pub(crate) fn is_relevant(frame_type: &str) -> bool {
    matches!(
        frame_type,
        "status"
            | "execution_start"
            | "execution_cached"
            | "executing"
            | "progress"
            | "executed"
            | "execution_error"
            | "execution_interrupted"
    )
}

/// The header of a binary frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BinaryHeader {
    /// An image without metadata. It does not identify its job.
    Image { is_png: bool },
    /// An image after metadata of this length, in bytes.
    ImageWithMetadata { metadata_bytes: u32 },
}

impl BinaryHeader {
    /// Parses the first bytes of a frame; `None` for frames without an image.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (event, rest) = bytes.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        match (u32::from_be_bytes(*event), u32::from_be_bytes(*number)) {
            (1, format) => Some(Self::Image {
                is_png: format == 2,
            }),
            (4, metadata_bytes) if metadata_bytes <= MAX_METADATA_BYTES => {
                Some(Self::ImageWithMetadata { metadata_bytes })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_header_refuses_other_frames() {
        for bytes in [
            &b""[..],
            b"\0\0\0\x01",
            b"\0\0\0\x03\0\0\0\x01",
            b"\0\0\0\x04\xff\xff\xff\xff",
        ] {
            assert_eq!(BinaryHeader::parse(bytes), None);
        }
    }
}
