//! Steps of the server's end of a WebSocket.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{CaseImage, Moment};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SocketStep {
    Send(Value),
    SendText(String),
    SendBinary(Vec<BinaryPart>),
    Expect(Value),
    Wait(Moment),
    Close(bool),
    Break(bool),
    /// Replaced by its frames when the case is loaded.
    Recorded(RecordedFrames),
}

/// A part of a binary message.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BinaryPart {
    U32(u32),
    JsonWithLength(Value),
    #[serde(rename = "picture")]
    Image(CaseImage),
    Text(String),
}

/// Frames in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedFrames {
    pub(crate) file: String,
    #[serde(default, rename = "at")]
    pub(crate) pointer: String,
    /// The first entry.
    #[serde(default)]
    pub(crate) from: usize,
    /// The entry after the last.
    pub(crate) to: Option<usize>,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) replace: Map<String, Value>,
}
