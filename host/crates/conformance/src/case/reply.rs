//! HTTP replies of the upstream.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{CaseImage, Moment, deserialize_present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    #[serde(rename = "picture")]
    pub(crate) image: Option<CaseImage>,
    pub(crate) events: Option<Vec<Event>>,
    pub(crate) media_type: Option<String>,
    /// `None` after the case is loaded.
    pub(super) recorded: Option<RecordedReply>,
    /// Of events.
    #[serde(rename = "line_end")]
    pub(crate) line_ending: Option<String>,
    /// Length of each piece of the body, in bytes.
    #[serde(rename = "pieces")]
    pub(crate) piece_bytes: Option<usize>,
    pub(crate) after: Option<Moment>,
    #[serde(rename = "break")]
    pub(crate) connection_break: Option<ConnectionBreak>,
    /// The request gets no response.
    #[serde(default)]
    pub(crate) hangs: bool,
    /// The request that hangs is still open after the job.
    #[serde(default)]
    pub(crate) stays_open: bool,
}

/// When the upstream breaks a connection.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionBreak {
    BeforeHead,
    /// After this many bytes of the body.
    AfterBytes(usize),
}

/// A part of a `text/event-stream`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    #[serde(rename = "event")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    pub(crate) wait: Option<Moment>,
}

/// A response in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedReply {
    pub(crate) file: String,
    #[serde(default, rename = "at")]
    pub(crate) pointer: String,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) replace: Map<String, Value>,
}
