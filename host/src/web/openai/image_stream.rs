//! The events of a stream of the images API.

use serde::Serialize;

use pinhole_images::Image;

use super::image_json::{ImageJson, ImageMarker};
use super::images_response::{ImageProperties, output_format};
use super::job_stream::{JobEvent, StreamEvent, StreamFormat};
use super::usage::Usage;
use crate::jobs::{CompletedJob, Operation};
use crate::store::now;
use crate::web::error::{ApiError, OpenAiError};

/// Names of an operation's events.
#[derive(Clone, Copy)]
struct EventNames {
    preview: &'static str,
    completed: &'static str,
}

/// The events of an operation: one `completed` for each image.
pub(super) fn image_events(operation: Operation, max_previews: u32) -> StreamFormat {
    let names = match operation {
        Operation::Generate => EventNames {
            preview: "image_generation.partial_image",
            completed: "image_generation.completed",
        },
        Operation::Edit => EventNames {
            preview: "image_edit.partial_image",
            completed: "image_edit.completed",
        },
    };
    StreamFormat {
        first: Vec::new(),
        format: Box::new(move |event| match event {
            JobEvent::Preview { image, index } => {
                let data = ImageEventData {
                    partial_image_index: Some(index),
                    ..ImageEventData::new(names.preview, &image)
                };
                Ok(vec![data.into_event(image)?])
            }
            JobEvent::Completed(outcome) => completed_events(outcome.completed, names.completed),
            JobEvent::Failed(error) => Ok(vec![error_event(error)]),
        }),
        max_previews,
    }
}

/// One event for each image. The last has the warnings and the usage of the whole job, the others zero.
fn completed_events(
    completed: CompletedJob,
    name: &'static str,
) -> Result<Vec<StreamEvent>, ApiError> {
    let properties = ImageProperties::new(&completed);
    let CompletedJob {
        images,
        revised_prompt,
        warnings,
        ..
    } = completed;
    let last = images.len().saturating_sub(1);
    let mut events = Vec::new();
    for (index, image) in images.into_iter().enumerate() {
        let usage = properties.usage.clone().filter(|_| index == last);
        let defaults = ImageEventData::new(name, &image);
        let data = ImageEventData {
            background: properties.background.as_deref().unwrap_or("auto"),
            quality: properties.quality.as_deref().unwrap_or("auto"),
            revised_prompt: revised_prompt.as_deref(),
            usage: Some(usage.unwrap_or_default()),
            warnings: if index == last { &warnings } else { &[] },
            ..defaults
        };
        events.push(data.into_event(image)?);
    }
    Ok(events)
}

fn error_event(error: OpenAiError) -> StreamEvent {
    let mut data = serde_json::to_value(error.into_body()).unwrap_or_default();
    if let Some(data) = data.as_object_mut() {
        data.insert("type".to_owned(), "error".into());
    }
    StreamEvent {
        name: Some("error"),
        data: ImageJson::text(data.to_string()),
    }
}

/// The data of an event with an image.
///
/// Source: OpenAI's reference of the images API, streaming events.
#[derive(Serialize)]
struct ImageEventData<'a> {
    r#type: &'static str,
    created_at: i64,
    /// The size of this image, whatever the engine reports.
    size: String,
    quality: &'a str,
    background: &'a str,
    output_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_image_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    b64_json: ImageMarker,
}

impl ImageEventData<'_> {
    fn new(r#type: &'static str, image: &Image) -> Self {
        let (width, height) = image.size();
        Self {
            r#type,
            created_at: now(),
            size: format!("{width}x{height}"),
            quality: "auto",
            background: "auto",
            output_format: output_format(image),
            partial_image_index: None,
            revised_prompt: None,
            usage: None,
            warnings: &[],
            b64_json: ImageMarker::new(),
        }
    }

    fn into_event(self, image: Image) -> Result<StreamEvent, ApiError> {
        Ok(StreamEvent {
            name: Some(self.r#type),
            data: ImageJson::new(&self, &self.b64_json, vec![image])?,
        })
    }
}
