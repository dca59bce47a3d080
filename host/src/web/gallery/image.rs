//! An image of the gallery, with what made it.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Kind;
use crate::jobs::{CostEntry, ImageMetadata, Operation};
use crate::store::GalleryRow;

/// An image, with what made it. Images of early versions lack fields.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct GalleryImage {
    id: String,
    /// URL of the bytes, relative to this server.
    url: String,
    name: String,
    content_type: String,
    #[schema(minimum = 1)]
    size_bytes: i64,
    /// In pixels, as viewers show the image; `null` for images of early versions.
    #[schema(required = true)]
    width: Option<u32>,
    /// In pixels, as viewers show the image; `null` for images of early versions.
    #[schema(required = true)]
    height: Option<u32>,
    /// Seconds since 1970.
    created_at: i64,
    starred: bool,
    /// SHA-256 of the bytes, in hexadecimal; `null` for images of early versions.
    #[schema(required = true)]
    sha256: Option<String>,
    source: Kind,
    /// As it was sent to the engine; `null` for uploads.
    #[schema(required = true)]
    prompt: Option<String>,
    /// As the upstream rewrote it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_prompt: Option<String>,
    /// `generate` or `edit`.
    #[schema(nullable = false, value_type = Option<Operation>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_version: Option<String>,
    /// SHA-256 of the engine's component, in hexadecimal.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// `WxH`, as it was requested.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_size: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    /// Makes the same image again, if the engine says it; else the requested one.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<f32>,
    /// Parameters that only this engine knows.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    /// Number of images that the job requested.
    #[schema(nullable = false, minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// Ids of the stored images that were edited, in their order.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
    /// True if the upstream's safety system marked the image.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flagged: bool,
    /// What the upstream counted, such as tokens.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    /// What the upstream charges for the whole job.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostEntry>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    /// In what the images of the job differ from the request.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// The engine's details of the job and of this image.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_id: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
}

impl From<GalleryRow> for GalleryImage {
    fn from(row: GalleryRow) -> Self {
        let file = row.file;
        let image = Self {
            url: file.url(),
            id: file.id,
            name: file.name,
            content_type: file.media_type,
            size_bytes: file.size_bytes,
            width: row.width,
            height: row.height,
            created_at: file.created_at,
            starred: row.is_starred,
            sha256: non_empty(file.hash),
            ..Self::default()
        };
        if !row.is_generated {
            // What a client stored with an upload says nothing about how the image was made.
            return image;
        }
        image.made_by(serde_json::from_str(&file.meta).unwrap_or_default())
    }
}

impl GalleryImage {
    fn made_by(self, metadata: ImageMetadata) -> Self {
        let model = metadata.model().map(str::to_owned);
        let prompt = metadata.sent_prompt().map(str::to_owned);
        let request = metadata.request;
        let mut details = fields(metadata.details);
        details.extend(fields(metadata.image));
        Self {
            source: Kind::Generated,
            prompt,
            revised_prompt: metadata.revised_prompt,
            negative_prompt: request.negative_prompt,
            operation: non_empty(metadata.operation),
            binding: non_empty(metadata.binding),
            engine: non_empty(metadata.engine),
            engine_version: non_empty(metadata.engine_version),
            digest: non_empty(metadata.digest),
            model,
            requested_size: request.size,
            steps: request.steps,
            seed: metadata.seed.or(request.seed),
            strength: request.strength,
            parameters: request.parameters,
            count: Some(request.count).filter(|count| *count > 0),
            sources: request.sources,
            flagged: metadata.flagged,
            usage: metadata.usage,
            cost: metadata.cost,
            duration_ms: metadata.duration_ms,
            warnings: metadata.warnings,
            details,
            job_id: non_empty(metadata.job),
            chat_id: metadata.chat_id,
            message_id: metadata.message_id,
            ..self
        }
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
