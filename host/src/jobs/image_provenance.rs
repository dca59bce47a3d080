//! What made an image: the request as the engine received it, and the engine. It is stored with each file.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::Edit;
use pinhole_sandbox::contract::Job;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plan::Operation;

/// Length of the stored request as JSON, in bytes. Of a longer one, parts are left out.
pub const MAX_STORED_REQUEST_BYTES: usize = 64 << 10;
/// Length of a prompt of a request that is too long, in bytes. Its JSON may have six times as many.
const MAX_SHORT_PROMPT_BYTES: usize = 4 << 10;

/// How an image was made.
#[derive(Clone, Debug, Default)]
pub struct ImageProvenance {
    pub request: StoredRequest,
    pub operation: Operation,
    /// Until the engine returned its images.
    pub duration: Duration,
}

/// The request of a job, with the defaults of its binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredRequest {
    pub prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `WxH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Number of images.
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Ids of the stored files that were edited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Parts were left out, because they were too long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_incomplete: bool,
}

impl ImageProvenance {
    pub(super) fn new(job: &Job, edit: Option<&Edit>) -> Self {
        let sources = edit.map_or(&[][..], |edit| edit.sources.as_slice());
        let source_ids = sources.iter().filter_map(Image::file_id);
        Self {
            request: StoredRequest::new(job, source_ids.map(str::to_owned).collect()),
            operation: Operation::of(edit),
            duration: Duration::ZERO,
        }
    }
}

impl StoredRequest {
    fn new(job: &Job, sources: Vec<String>) -> Self {
        let size = job.size.as_ref();
        let request = Self {
            prompt: job.prompt.clone(),
            negative_prompt: job.negative_prompt.clone(),
            model: job.model.clone(),
            size: size.map(|it| format!("{}x{}", it.width, it.height)),
            count: job.count,
            steps: job.steps,
            seed: job.seed,
            strength: job.strength,
            parameters: serde_json::from_str(&job.parameters).unwrap_or_default(),
            sources,
            is_incomplete: false,
        };
        request.shortened()
    }

    /// Removes what the user wrote.
    pub(super) fn remove_texts(&mut self) {
        self.prompt.clear();
        self.negative_prompt = None;
        self.parameters.clear();
    }

    /// The request without what exceeds its limit.
    fn shortened(mut self) -> Self {
        if self.json_bytes() > MAX_STORED_REQUEST_BYTES {
            self.parameters = Map::new();
            self.is_incomplete = true;
        }
        if self.json_bytes() > MAX_STORED_REQUEST_BYTES {
            shorten(&mut self.prompt);
            if let Some(negative_prompt) = &mut self.negative_prompt {
                shorten(negative_prompt);
            }
        }
        self
    }

    fn json_bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |json| json.len())
    }
}

fn shorten(prompt: &mut String) {
    prompt.truncate(prompt.floor_char_boundary(MAX_SHORT_PROMPT_BYTES));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(prompt: &str, parameters: &Value) -> StoredRequest {
        let job = Job {
            prompt: prompt.to_owned(),
            negative_prompt: Some(prompt.to_owned()),
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            strength: Some(0.6),
            parameters: parameters.to_string(),
        };
        StoredRequest::new(&job, Vec::new())
    }

    #[test]
    fn stored_request_is_complete_within_its_limit() {
        let whole = stored("a fox", &json!({"style": "ink"}));
        assert!(!whole.is_incomplete);
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"prompt":"a fox","negative_prompt":"a fox","count":1,"strength":0.6,"parameters":{"style":"ink"}}"#
        );
        let long = "x".repeat(30_000);
        let without_parameters = stored(&long, &json!({"style": long}));
        assert!(without_parameters.is_incomplete && without_parameters.parameters.is_empty());
        assert_eq!(without_parameters.prompt, long);
        let escaped = stored(&"\u{1}".repeat(32_000), &json!({}));
        assert!(escaped.is_incomplete);
        assert!(escaped.json_bytes() <= MAX_STORED_REQUEST_BYTES);
    }

    #[test]
    fn stored_request_is_read_from_any_version() {
        let read = |json: &str| serde_json::from_str::<StoredRequest>(json).unwrap();
        assert_eq!(read("{}"), StoredRequest::default());
        assert_eq!(read(r#"{"prompt":"a","later":1}"#).prompt, "a");
    }
}
