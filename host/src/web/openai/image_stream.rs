//! A job as a stream of events: previews while it runs, then its images.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use pinhole_ground::memory::{MemoryLease, MemoryShare};
use pinhole_images::Image;
use pinhole_sandbox::Progress;

use super::images_response::{ImageProperties, Usage, insert_base64, output_format};
use crate::jobs::{CompletedJob, Error, Operation};
use crate::store::now;
use crate::web::error::OpenAiError;

/// Time that the response's head waits for the job's first progress. A failure until then has a status
/// of its own.
const MAX_HEAD_WAIT: Duration = Duration::from_secs(10);
/// Least time between two reads of the job's progress, however often the engine reports it.
const MIN_PROGRESS_INTERVAL: Duration = Duration::from_millis(20);

type Job = BoxFuture<'static, Result<CompletedJob, Error>>;

/// A job with a client that receives its events. Dropping it, when the client disconnects, stops the
/// job.
struct JobStream {
    /// `None` after the job has ended.
    job: Option<Job>,
    progress: watch::Receiver<Progress>,
    next_read: Instant,
    previews: Previews,
    queue: VecDeque<ImageEvent>,
    operation: Operation,
    /// Counts the text of the event that is being sent.
    event_lease: MemoryLease,
}

enum ImageEvent {
    Preview { image: Image, index: u32 },
    Completed(Box<CompletedImage>),
    Failed(OpenAiError),
}

struct CompletedImage {
    image: Image,
    revised_prompt: Option<String>,
    /// `usage` is that of the whole job in the last image, and zero in the others.
    properties: ImageProperties,
    /// Those of the job, in its last image.
    warnings: Vec<String>,
}

/// Selects the previews that the client receives.
struct Previews {
    max_count: u32,
    sent: u32,
    last: Option<Image>,
}

/// Responds with the job's events, with at most `max_previews` previews.
///
/// A failure before the engine reports progress becomes an error response; a later one becomes an
/// event.
pub(super) async fn stream_response(
    mut job: Job,
    mut progress: watch::Receiver<Progress>,
    operation: Operation,
    max_previews: u32,
    share: &MemoryShare,
) -> Result<Response, OpenAiError> {
    let mut queue = VecDeque::new();
    let job = tokio::select! {
        biased;
        result = &mut job => {
            queue.extend(completed_events(result?));
            None
        }
        Ok(()) = progress.changed() => Some(job),
        () = tokio::time::sleep(MAX_HEAD_WAIT) => Some(job),
    };
    // The progress that ended the wait is read again by the stream.
    progress.mark_changed();
    let job_stream = JobStream {
        job,
        progress,
        next_read: Instant::now(),
        previews: Previews::new(max_previews),
        queue,
        operation,
        event_lease: share.job(),
    };
    let events = stream::unfold(job_stream, JobStream::next_event);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

impl JobStream {
    async fn next_event(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                // The image is paid for, so it is sent even if the memory is full.
                self.event_lease.resize_job(event.text_bytes()).ok();
                return Some((Ok(event.into_sse(self.operation)), self));
            }
            let job = self.job.as_mut()?;
            let progress_changed = async {
                sleep_until(self.next_read).await;
                self.progress.changed().await
            };
            let result = tokio::select! {
                result = job => Some(result),
                Ok(()) = progress_changed => None,
            };
            self.next_read = Instant::now() + MIN_PROGRESS_INTERVAL;
            let preview = self.previews.select(&self.progress.borrow_and_update());
            self.queue.extend(preview);
            match result {
                None => continue,
                Some(Ok(completed)) => self.queue.extend(completed_events(completed)),
                Some(Err(error)) => self.queue.push_back(ImageEvent::Failed(error.into())),
            }
            self.job = None;
        }
    }
}

impl Previews {
    fn new(max_count: u32) -> Self {
        Self {
            max_count,
            sent: 0,
            last: None,
        }
    }

    /// The preview, if it is new and due. An engine may report many more previews than the client
    /// wants; the selected ones are spread over the job.
    fn select(&mut self, progress: &Progress) -> Option<ImageEvent> {
        let preview = progress.preview.as_ref()?;
        let is_due = progress
            .fraction
            .is_none_or(|fraction| fraction * self.max_count as f32 >= self.sent as f32);
        let is_known = self
            .last
            .as_ref()
            .is_some_and(|last| last.bytes() == preview.bytes());
        if self.sent == self.max_count || !is_due || is_known {
            return None;
        }
        self.last = Some(preview.clone());
        self.sent += 1;
        Some(ImageEvent::Preview {
            image: preview.clone(),
            index: self.sent - 1,
        })
    }
}

/// One event for each image.
fn completed_events(completed: CompletedJob) -> impl Iterator<Item = ImageEvent> {
    let CompletedJob {
        images,
        revised_prompt,
        details,
        mut warnings,
        ..
    } = completed;
    let properties = ImageProperties::from_details(&details);
    let last = images.len().saturating_sub(1);
    images.into_iter().enumerate().map(move |(index, image)| {
        let usage = match properties.usage {
            Some(usage) if index == last => usage,
            _ => Usage::default(),
        };
        ImageEvent::Completed(Box::new(CompletedImage {
            image,
            revised_prompt: revised_prompt.clone(),
            properties: ImageProperties {
                usage: Some(usage),
                ..properties.clone()
            },
            warnings: if index == last {
                std::mem::take(&mut warnings)
            } else {
                Vec::new()
            },
        }))
    })
}

/// The data of an event with an image.
///
/// Source: OpenAI's reference of the images API, streaming events.
#[derive(Serialize)]
struct ImageEventData<'a> {
    r#type: &'a str,
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
    /// Empty: the base64 is inserted into the serialized event, so that it is written only once.
    b64_json: &'static str,
}

impl<'a> ImageEventData<'a> {
    fn new(r#type: &'a str, image: &Image) -> Self {
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
            b64_json: "",
        }
    }

    fn into_sse(self, image: &Image) -> Event {
        let json = serde_json::to_string(&self).unwrap_or_default();
        Event::default()
            .event(self.r#type)
            .data(insert_base64(&json, image))
    }
}

impl ImageEvent {
    /// Length of the image in base64, in bytes.
    fn text_bytes(&self) -> usize {
        let image = match self {
            Self::Preview { image, .. } => image,
            Self::Completed(completed) => &completed.image,
            Self::Failed(_) => return 0,
        };
        STANDARD.encoded_length(image.bytes().len())
    }

    fn into_sse(self, operation: Operation) -> Event {
        let prefix = match operation {
            Operation::Generate => "image_generation",
            Operation::Edit => "image_edit",
        };
        match self {
            Self::Preview { image, index } => {
                let event_type = format!("{prefix}.partial_image");
                let data = ImageEventData {
                    partial_image_index: Some(index),
                    ..ImageEventData::new(&event_type, &image)
                };
                data.into_sse(&image)
            }
            Self::Completed(completed) => completed.to_sse(&format!("{prefix}.completed")),
            Self::Failed(error) => {
                let mut data = serde_json::to_value(error.into_body()).unwrap_or_default();
                if let Some(data) = data.as_object_mut() {
                    data.insert("type".to_owned(), "error".into());
                }
                Event::default().event("error").data(data.to_string())
            }
        }
    }
}

impl CompletedImage {
    fn to_sse(&self, event_type: &str) -> Event {
        let defaults = ImageEventData::new(event_type, &self.image);
        let ImageProperties {
            background,
            quality,
            usage,
            ..
        } = &self.properties;
        let data = ImageEventData {
            background: background.as_deref().unwrap_or(defaults.background),
            quality: quality.as_deref().unwrap_or(defaults.quality),
            revised_prompt: self.revised_prompt.as_deref(),
            usage: *usage,
            warnings: &self.warnings,
            ..defaults
        };
        data.into_sse(&self.image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which previews are selected. Each is an image's width and the job's progress.
    fn check(max_count: u32, previews: &[(u8, Option<f32>)], expected: &[u8]) {
        let mut selection = Previews::new(max_count);
        let selected = previews.iter().filter_map(|(width, fraction)| {
            let progress = Progress {
                fraction: *fraction,
                preview: Some(Image::sample(*width, 0)),
                ..Progress::default()
            };
            match selection.select(&progress)? {
                ImageEvent::Preview { image, .. } => u8::try_from(image.size().0).ok(),
                _ => None,
            }
        });
        assert_eq!(selected.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn selected_previews_are_limited_and_spread_over_the_job() {
        let ten: Vec<_> = (1..=10u8).map(|n| (n, Some(f32::from(n) / 10.0))).collect();
        check(0, &ten, &[]);
        check(1, &ten, &[1]);
        check(2, &ten, &[1, 5]);
        check(3, &ten, &[1, 4, 7]);
        let without_fraction = [(1, None), (1, None), (2, None), (3, None)];
        check(2, &without_fraction, &[1, 2]);
        // An upstream that sends the requested number: two images, one after the other.
        let two = [(1, Some(0.25)), (2, Some(0.75))];
        check(2, &two, &[1, 2]);
        let three = [(1, Some(0.25)), (2, Some(0.5)), (3, Some(0.75))];
        check(3, &three, &[1, 2, 3]);
    }
}
