//! A job as a stream of events: previews while it runs, then its images. Each dialect has its own events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use pinhole_ground::memory::{MemoryLease, MemoryShare};
use pinhole_images::Image;
use pinhole_sandbox::Progress;

use super::image_job::JobOutcome;
use super::image_json::ImageJson;
use crate::web::error::{ApiError, OpenAiError};

/// Time that the response's head waits for the job's first progress. A failure until then has a status
/// of its own.
const MAX_HEAD_WAIT: Duration = Duration::from_secs(10);
/// Least time between two reads of the job's progress, however often the engine reports it.
const MIN_PROGRESS_INTERVAL: Duration = Duration::from_millis(20);

type Job = BoxFuture<'static, Result<JobOutcome, OpenAiError>>;

/// What happens to a job.
pub(super) enum JobEvent {
    /// The number of previews before it is `index`.
    Preview {
        image: Image,
        index: u32,
    },
    Completed(Box<JobOutcome>),
    Failed(OpenAiError),
}

/// An event for the client.
#[derive(Debug)]
pub(super) struct StreamEvent {
    /// `None` for a dialect that sends data only.
    pub(super) name: Option<&'static str>,
    pub(super) data: ImageJson,
}

/// Converts what happens to the events of a dialect.
pub(super) type EventFormat = Box<dyn FnMut(JobEvent) -> Result<Vec<StreamEvent>, ApiError> + Send>;

/// The events of a dialect.
pub(super) struct StreamFormat {
    /// The events that precede all others.
    pub(super) first: Vec<StreamEvent>,
    pub(super) format: EventFormat,
    /// Previews that the client wants.
    pub(super) max_previews: u32,
}

/// A job with a client that receives its events. Dropping it, when the client disconnects, stops the
/// job.
struct JobStream {
    /// `None` after the job has ended.
    job: Option<Job>,
    progress: watch::Receiver<Progress>,
    next_read: Instant,
    previews: Previews,
    queue: VecDeque<StreamEvent>,
    format: EventFormat,
    /// Counts the text of the event that is being sent.
    event_lease: MemoryLease,
}

/// Selects the previews that the client receives.
struct Previews {
    max_count: u32,
    sent: u32,
    last: Option<Image>,
}

/// Responds with the job's events.
///
/// A failure before the engine reports progress becomes an error response; a later one becomes an
/// event.
pub(super) async fn stream_response(
    mut job: Job,
    mut progress: watch::Receiver<Progress>,
    mut format: StreamFormat,
    share: &MemoryShare,
) -> Result<Response, OpenAiError> {
    let mut queue = VecDeque::from(format.first);
    let job = tokio::select! {
        biased;
        result = &mut job => {
            queue.extend((format.format)(JobEvent::Completed(Box::new(result?)))?);
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
        previews: Previews::new(format.max_previews),
        queue,
        format: format.format,
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
                self.event_lease.resize_job(event.data.image_bytes()).ok();
                return Some((Ok(event.into_sse()), self));
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
            if let Some(preview) = preview {
                self.push(preview);
            }
            match result {
                None => continue,
                Some(Ok(outcome)) => self.push(JobEvent::Completed(Box::new(outcome))),
                Some(Err(error)) => self.push(JobEvent::Failed(error)),
            }
            self.job = None;
        }
    }

    fn push(&mut self, event: JobEvent) {
        let events =
            (self.format)(event).or_else(|error| (self.format)(JobEvent::Failed(error.into())));
        self.queue.extend(events.unwrap_or_default());
    }
}

impl StreamEvent {
    fn into_sse(self) -> Event {
        let event = match self.name {
            Some(name) => Event::default().event(name),
            None => Event::default(),
        };
        event.data(self.data.into_text())
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
    fn select(&mut self, progress: &Progress) -> Option<JobEvent> {
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
        Some(JobEvent::Preview {
            image: preview.clone(),
            index: self.sent - 1,
        })
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
                JobEvent::Preview { image, .. } => u8::try_from(image.size().0).ok(),
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
