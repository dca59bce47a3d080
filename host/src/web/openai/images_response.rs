//! The response with the images of a completed job.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use pinhole_ground::text::is_plain;
use pinhole_images::Image;

use super::image_json::{ImageJson, ImageMarker};
use super::usage::Usage;
use crate::files::link::FileLinks;
use crate::jobs::{CompletedJob, CostEntry, ImageDetails};
use crate::store::{FileRow, now};
use crate::web::error::ApiError;

/// Length of a property that an engine reports, in bytes.
const MAX_PROPERTY_BYTES: usize = 40;

/// The generated images.
#[derive(Serialize, ToSchema)]
pub(super) struct ImagesResponse {
    /// Seconds since 1970.
    created: i64,
    data: Vec<ImageEntry>,
    #[schema(nullable = false, value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// Not part of OpenAI's API: what the upstream charges, if it says so.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostEntry>,
    /// Not part of OpenAI's API: in what the images differ from the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// An image as `b64_json` or `url`, depending on the request's `response_format`, or else on its model.
#[derive(Clone, Serialize, ToSchema)]
struct ImageEntry {
    #[schema(nullable = false, value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    b64_json: Option<ImageMarker>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The prompt as the upstream rewrote it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
    /// Not part of OpenAI's API: makes the same image again, if the engine says it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Not part of OpenAI's API: true if the upstream's safety system marked the image.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flagged: bool,
}

/// Properties of the images that the engine reports.
#[derive(Clone, Debug)]
pub(super) struct ImageProperties {
    pub(super) background: Option<String>,
    pub(super) quality: Option<String>,
    pub(super) size: Option<String>,
    pub(super) usage: Option<Usage>,
}

impl ImagesResponse {
    fn new(completed: &CompletedJob, data: Vec<ImageEntry>) -> Self {
        let properties = ImageProperties::new(completed);
        Self {
            created: now(),
            data,
            output_format: None,
            background: properties.background,
            quality: properties.quality,
            size: properties.size,
            usage: properties.usage,
            cost: completed.cost.as_ref().map(CostEntry::from),
            warnings: completed.warnings.clone(),
        }
    }
}

impl ImageEntry {
    /// Without the image itself.
    fn new(completed: &CompletedJob, details: &ImageDetails) -> Self {
        Self {
            b64_json: None,
            url: None,
            revised_prompt: completed.revised_prompt.clone(),
            seed: details.seed,
            flagged: details.flagged,
        }
    }
}

impl ImageProperties {
    /// The properties that the engine of this job reports.
    pub(super) fn new(completed: &CompletedJob) -> Self {
        let property = |name: &str| {
            let text = completed.details.get(name)?.as_str()?;
            is_plain(text, MAX_PROPERTY_BYTES).then(|| text.to_owned())
        };
        Self {
            background: property("background"),
            quality: property("quality"),
            size: property("size"),
            usage: completed.usage.as_ref().map(Usage::from_json),
        }
    }
}

/// The images in base64.
pub(super) fn base64_response(completed: &CompletedJob) -> Result<Response, ApiError> {
    let marker = ImageMarker::new();
    let entry = |details: &ImageDetails| ImageEntry {
        b64_json: Some(marker.clone()),
        ..ImageEntry::new(completed, details)
    };
    let data = completed.image_details.iter().map(entry).collect();
    let response = ImagesResponse {
        output_format: completed.images.first().and_then(output_format),
        ..ImagesResponse::new(completed, data)
    };
    let json = ImageJson::new(&response, &marker, completed.images.clone())?;
    Ok(json.into_response())
}

/// The images as links to stored files.
pub(super) fn url_response(
    completed: &CompletedJob,
    files: &[FileRow],
    links: &FileLinks,
) -> ImagesResponse {
    let entry = |(file, details): (&FileRow, &ImageDetails)| ImageEntry {
        url: Some(links.url(file)),
        ..ImageEntry::new(completed, details)
    };
    let data = files.iter().zip(&completed.image_details).map(entry);
    ImagesResponse::new(completed, data.collect())
}

/// OpenAI's name of an image's format; `None` if it has no name for it.
pub(super) fn output_format(image: &Image) -> Option<&'static str> {
    match image.media_type() {
        "image/png" => Some("png"),
        "image/jpeg" => Some("jpeg"),
        "image/webp" => Some("webp"),
        "image/gif" => Some("gif"),
        _ => None,
    }
}
