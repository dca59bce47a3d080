//! The expected outcome and progress reports.

use serde::Deserialize;
use serde_json::Value;

use super::{CaseImage, deserialize_present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedOutcome {
    #[serde(rename = "pictures")]
    pub(crate) images: Option<ExpectedImages>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) revised_prompt: Option<Option<String>>,
    pub(crate) details: Option<Value>,
    pub(crate) warnings: Option<Value>,
    /// A pattern of what the job stored last; also if it failed.
    pub(crate) remembered: Option<Value>,
    pub(crate) error: Option<ExpectedError>,
    pub(crate) models: Option<Value>,
    /// `true`, or a pattern of the report.
    pub(crate) verified: Option<Value>,
}

pub(crate) enum ExpectedImages {
    Count(usize),
    List(Vec<ExpectedImage>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedImage {
    pub(crate) media_type: Option<String>,
    pub(crate) size: Option<String>,
    #[serde(rename = "picture")]
    pub(crate) image: Option<CaseImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedError {
    pub(crate) kind: String,
    /// Texts that the message contains.
    #[serde(default)]
    pub(crate) message: Vec<String>,
    /// Texts that the message does not contain.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) code: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) field: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) retry_after_ms: Option<Option<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedReport {
    pub(crate) fraction: Option<f32>,
    pub(crate) queue_position: Option<u32>,
    pub(crate) note: Option<String>,
    /// A media type.
    pub(crate) preview: Option<String>,
}

impl ExpectedImages {
    pub(crate) const fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::List(list) => list.len(),
        }
    }
}
