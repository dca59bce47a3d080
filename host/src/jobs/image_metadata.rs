//! The metadata of a file that a job made, as JSON.

use pinhole_ground::text::plain;
use pinhole_sandbox::MAX_MODEL_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::completed_job::{CompletedJob, CostEntry, ImageOrigin};
use super::image_provenance::StoredRequest;
use crate::files::ImageRecord;
use crate::store::GalleryFields;

/// The JSON of an image's row. Rows of earlier versions lack some fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageMetadata {
    /// The job's name in logs.
    pub job: String,
    pub binding: String,
    pub engine: String,
    pub engine_version: String,
    pub digest: String,
    /// `generate` or `edit`.
    pub operation: String,
    pub request: StoredRequest,
    /// The engine's details of the job.
    pub details: Value,
    pub revised_prompt: Option<String>,
    pub warnings: Vec<String>,
    pub seed: Option<u64>,
    pub flagged: bool,
    /// The engine's details of the image.
    pub image: Value,
    pub usage: Option<Value>,
    pub cost: Option<CostEntry>,
    pub duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The prompt, if a language model wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl ImageMetadata {
    /// The metadata of one image of a job.
    pub(super) fn new(
        completed: &CompletedJob,
        index: usize,
        origin: Option<ImageOrigin<'_>>,
    ) -> Self {
        let image = completed.image_details.get(index);
        let image = image.cloned().unwrap_or_default();
        let provenance = &completed.provenance;
        let duration_ms = u64::try_from(provenance.duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            job: completed.job.clone(),
            binding: completed.binding.clone(),
            engine: completed.engine.clone(),
            engine_version: completed.engine_version.clone(),
            digest: completed.digest.clone(),
            operation: provenance.operation.name().to_owned(),
            request: provenance.request.clone(),
            details: completed.details.clone(),
            revised_prompt: completed.revised_prompt.clone(),
            warnings: completed.warnings.clone(),
            seed: image.seed,
            flagged: image.flagged,
            image: image.details,
            usage: completed.usage.clone(),
            cost: completed.cost.as_ref().map(CostEntry::from),
            duration_ms: Some(duration_ms),
            chat_id: origin.and_then(|it| it.chat_id).map(str::to_owned),
            message_id: origin.map(|it| it.message_id.to_owned()),
            prompt: origin.and_then(|it| it.prompt).map(str::to_owned),
        }
    }

    /// The model that was requested, or that the engine names.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let named = || self.details.get("model").and_then(Value::as_str);
        self.request.model.as_deref().or_else(named)
    }

    /// The prompt as it was sent, if it is stored.
    #[must_use]
    pub fn sent_prompt(&self) -> Option<&str> {
        let sent = Some(self.request.prompt.as_str()).filter(|prompt| !prompt.is_empty());
        sent.or(self.prompt.as_deref())
    }

    /// The columns of the image's row.
    pub(crate) fn into_record(self) -> ImageRecord {
        ImageRecord {
            metadata: serde_json::to_string(&self).unwrap_or_default(),
            gallery: GalleryFields {
                is_generated: true,
                model: plain(self.model().unwrap_or_default(), MAX_MODEL_BYTES),
                prompt: self.sent_prompt().unwrap_or_default().to_owned(),
                chat_id: self.chat_id.unwrap_or_default(),
                binding: self.binding,
                engine: self.engine,
                ..GalleryFields::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_metadata_is_read_from_earlier_versions() {
        let json = r#"{"job":"j","engine":"openai","details":{"model":"m"},"seed":null,"warnings":[],
            "image":null,"usage":null,"cost":null,"revised_prompt":"r","prompt":"a fox"}"#;
        let metadata: ImageMetadata = serde_json::from_str(json).unwrap();
        assert_eq!(metadata.model(), Some("m"));
        assert_eq!(metadata.sent_prompt(), Some("a fox"));
        assert_eq!(metadata.request, StoredRequest::default());
    }
}
