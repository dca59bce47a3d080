//! A job as clients see it, and the JSON of its row.

use pinhole_images::Image;
use pinhole_sandbox::{Edit, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::completed_job::{CompletedJob, CostEntry, ImageDetails};
use super::error::Error;
use super::plan::Operation;
use super::preview;
use super::request::JobRequest;
use crate::store::{FileRow, JobRow, JobState, User};

/// Length of a request as JSON that is stored, in bytes. Escapes can be longer than the texts.
pub const MAX_RECORD_BYTES: usize = 256 << 10;

/// A job of the jobs API or of a chat.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobRecord {
    pub id: String,
    #[schema(inline)]
    pub state: JobState,
    /// `generate` or `edit`.
    #[schema(value_type = Operation)]
    operation: String,
    /// `api` or `chat`.
    origin: String,
    #[schema(required = true)]
    chat_id: Option<String>,
    #[schema(required = true)]
    message_id: Option<String>,
    user_id: String,
    /// Only in administrators' lists.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The binding that makes the images, which may be a fallback.
    binding: String,
    engine: String,
    engine_version: String,
    /// SHA-256 of the engine's component, in hexadecimal.
    digest: String,
    /// Null for jobs of other users and of temporary chats.
    #[schema(required = true)]
    request: Option<RequestRecord>,
    /// While the job is active.
    #[schema(required = true)]
    pub progress: Option<ProgressRecord>,
    /// The stored images. They may have been deleted since.
    files: Vec<FileRecord>,
    /// The prompt as the upstream rewrote it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
    /// What the user should know about the images.
    warnings: Vec<String>,
    /// What the upstream counted, such as tokens.
    #[schema(nullable = false, value_type = Option<Map<String, Value>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    /// What the upstream charges.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostEntry>,
    #[schema(required = true)]
    error: Option<ErrorRecord>,
    /// Seconds since 1970.
    created_at: i64,
    /// When the engine began.
    #[schema(required = true)]
    started_at: Option<i64>,
    #[schema(required = true)]
    ended_at: Option<i64>,
    /// From the start to the end.
    #[schema(required = true, minimum = 0)]
    duration_ms: Option<i64>,
}

/// What a client requested.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JobRequest)]
pub struct RequestRecord {
    /// The prompt as sent to the engine.
    prompt: String,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    negative_prompt: Option<String>,
    /// The binding that the client named.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strength: Option<f32>,
    #[schema(required = false)]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    /// Ids of the files that are edited; null for an image that the request itself contained.
    sources: Vec<Option<String>>,
    /// Id of the file; null without a mask, and for a mask that the request itself contained.
    #[schema(required = true)]
    mask: Option<String>,
}

/// How far a job is. Each field is missing if it is unknown.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = JobProgress)]
pub struct ProgressRecord {
    #[schema(nullable = false, minimum = 0, maximum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction: Option<f32>,
    /// Jobs in front, in this server or at the upstream.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u32>,
    /// A short line for a person.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// A data URL of the unfinished image; only in the response about one job.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preview: Option<String>,
}

/// What a job has made, as it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ResultRecord {
    files: Vec<FileRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostEntry>,
}

/// A stored image of a job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JobFile)]
struct FileRecord {
    id: String,
    /// URL of the bytes, relative to this server.
    url: String,
    name: String,
    content_type: String,
    #[schema(minimum = 1)]
    width: u32,
    #[schema(minimum = 1)]
    height: u32,
    /// Makes the same image again, if the engine says it.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// True if the upstream's safety system marked the image.
    #[schema(required = false)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    flagged: bool,
}

/// Why a job has no images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobError)]
pub struct ErrorRecord {
    /// For a person.
    pub message: String,
    /// The kind of error, for programs.
    pub code: String,
    /// What the user can do.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl JobRecord {
    /// The job as its owner sees it.
    #[must_use]
    pub fn new(row: &JobRow) -> Self {
        let request = row.request.as_deref().unwrap_or_default();
        let ResultRecord {
            files,
            revised_prompt,
            warnings,
            usage,
            cost,
        } = serde_json::from_str(&row.result).unwrap_or_default();
        Self {
            id: row.id.clone(),
            state: row.state,
            operation: row.operation.clone(),
            origin: row.origin.clone(),
            chat_id: row.chat_id.clone(),
            message_id: row.message_id.clone(),
            user_id: row.user_id.clone(),
            user_name: None,
            binding: row.binding.clone(),
            engine: row.engine.clone(),
            engine_version: row.engine_version.clone(),
            digest: row.digest.clone(),
            request: serde_json::from_str(request).ok(),
            progress: None,
            files,
            revised_prompt,
            warnings,
            usage,
            cost,
            error: row
                .error
                .as_deref()
                .and_then(|json| serde_json::from_str(json).ok()),
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            duration_ms: row.duration_ms,
        }
    }

    /// The job at the moment when it was accepted.
    #[must_use]
    pub fn accepted(row: &JobRow) -> Self {
        Self {
            progress: Some(ProgressRecord::new(Progress::default(), false)),
            ..Self::new(row)
        }
    }

    /// The ids of the stored images.
    pub fn file_ids(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.id.as_str())
    }

    /// The kind of the error of a job without images.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.code.as_str())
    }

    /// The error of a job without images, for its user.
    #[must_use]
    pub fn error_text(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.message.as_str())
    }

    /// True if the user may see and stop the job: it is theirs, or they are an administrator.
    #[must_use]
    pub fn is_visible_to(&self, user: &User) -> bool {
        self.user_id == user.id || user.role == "admin"
    }

    /// The job as this user sees it: only its owner sees texts of the prompt, and the unfinished image.
    #[must_use]
    pub fn for_viewer(mut self, viewer: &User) -> Self {
        if self.user_id != viewer.id {
            self.request = None;
            self.revised_prompt = None;
            if let Some(progress) = &mut self.progress {
                progress.preview = None;
            }
        }
        self
    }
}

impl RequestRecord {
    /// The request, with the binding that the client named.
    #[must_use]
    pub fn new(request: &JobRequest, engine: Option<&str>, edit: Option<&Edit>) -> Self {
        let file_id = |image: &Image| image.file_id().map(str::to_owned);
        Self {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            engine: engine.map(str::to_owned),
            model: request.model.clone(),
            size: request.size.clone(),
            n: request.count,
            steps: request.steps,
            seed: request.seed,
            strength: request.strength,
            parameters: request.parameters.clone(),
            sources: edit.map_or_else(Vec::new, |it| it.sources.iter().map(file_id).collect()),
            mask: edit.and_then(|it| it.mask.as_ref()).and_then(file_id),
        }
    }

    /// The request of a job that is done again, and the binding that the client named.
    #[must_use]
    pub fn to_request(&self) -> (JobRequest, Option<String>) {
        let request = JobRequest {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            model: self.model.clone(),
            size: self.size.clone(),
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            strength: self.strength,
            parameters: self.parameters.clone(),
        };
        (request, self.engine.clone())
    }

    /// Id of the file that is the source with this index.
    pub(super) fn source_id(&self, index: usize) -> Option<&str> {
        self.sources.get(index)?.as_deref()
    }

    pub(super) fn mask_id(&self) -> Option<&str> {
        self.mask.as_deref()
    }

    /// The JSON that is stored. Fails if it is longer than [`MAX_RECORD_BYTES`].
    pub fn to_json(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self).unwrap_or_default();
        if json.len() > MAX_RECORD_BYTES {
            let message = format!(
                "the request has {} bytes as JSON, more than the {MAX_RECORD_BYTES} allowed: shorten the prompts",
                json.len()
            );
            return Err(Error::invalid("prompt", message));
        }
        Ok(json)
    }
}

impl ErrorRecord {
    /// The failure of a job. It has no host names.
    #[must_use]
    pub fn new(error: &Error) -> Self {
        Self {
            message: error.to_string(),
            code: error.code(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl ProgressRecord {
    /// The preview only if it is requested, and not too long.
    #[must_use]
    pub fn new(progress: Progress, with_preview: bool) -> Self {
        let preview = progress.preview.filter(|_| with_preview);
        Self {
            fraction: progress.fraction,
            queue_position: progress.queue_position,
            note: progress.note,
            preview: preview.as_ref().and_then(preview::to_data_url),
        }
    }
}

/// The JSON of a finished job's result.
pub(super) fn result_json(completed: &CompletedJob, files: &[FileRow]) -> String {
    let images = completed.images.iter().zip(&completed.image_details);
    let records = files.iter().zip(images).map(|(file, (image, details))| {
        let (width, height) = image.upright_size();
        let ImageDetails { seed, flagged, .. } = *details;
        FileRecord {
            id: file.id.clone(),
            url: file.url(),
            name: file.name.clone(),
            content_type: file.media_type.clone(),
            width,
            height,
            seed,
            flagged,
        }
    });
    let result = ResultRecord {
        files: records.collect(),
        revised_prompt: completed.revised_prompt.clone(),
        warnings: completed.warnings.clone(),
        usage: completed.usage.clone(),
        cost: completed.cost.as_ref().map(CostEntry::from),
    };
    serde_json::to_string(&result).unwrap_or_default()
}

/// The JSON of a result without images.
pub(super) fn empty_result() -> String {
    serde_json::to_string(&ResultRecord::default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: String) -> RequestRecord {
        let request = JobRequest {
            prompt,
            ..JobRequest::default()
        };
        RequestRecord::new(&request, None, None)
    }

    #[test]
    fn request_is_stored_within_its_limit() {
        let around = request(String::new()).to_json().unwrap().len();
        let longest = "x".repeat(MAX_RECORD_BYTES - around);
        assert!(request(longest.clone()).to_json().is_ok());
        let error = request(longest + "x").to_json().unwrap_err();
        assert!(error.to_string().contains("bytes as JSON"), "{error}");
    }

    #[test]
    fn stored_texts_of_other_users_are_hidden() {
        let row = JobRow {
            id: "j".to_owned(),
            user_id: "ada".to_owned(),
            origin: "api".to_owned(),
            chat_id: None,
            message_id: None,
            operation: "generate".to_owned(),
            state: JobState::Done,
            request: request("a fox".to_owned()).to_json().ok(),
            binding: String::new(),
            engine: String::new(),
            engine_version: String::new(),
            digest: String::new(),
            ordered: false,
            result: r#"{"files": [], "warnings": [], "revised_prompt": "a red fox"}"#.to_owned(),
            error: None,
            idempotency: None,
            created_at: 1,
            started_at: None,
            ended_at: None,
            duration_ms: None,
            attempt: 1,
            host: None,
            continuation: None,
        };
        let seen_by = |id: &str| {
            let viewer = User {
                id: id.to_owned(),
                name: String::new(),
                role: "admin".to_owned(),
            };
            serde_json::to_string(&JobRecord::new(&row).for_viewer(&viewer)).unwrap()
        };
        assert!(seen_by("ada").contains("a fox") && seen_by("ada").contains("a red fox"));
        assert!(!seen_by("bob").contains("fox"), "{}", seen_by("bob"));
    }
}
