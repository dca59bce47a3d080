//! A job as a stream of events: drafts while it runs, then its pictures.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::reply::{output_format, tokens, told};
use pinhole_sandbox::Progress;
use pinhole_images::Image;
use crate::jobs::{Error, Finished};
use crate::store::now;
use crate::web::error::OpenAiError;

/// How long the head of the answer waits for the engine to tell something: until then a failure
/// has a status of its own.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// The least time between two looks at how far the job is, however often the engine reports.
const MIN_LOOK: Duration = Duration::from_millis(20);

type Job = BoxFuture<'static, Result<Finished, Error>>;

/// A job that a client watches. Dropped with the client's connection, it ends the job.
struct Watched {
    /// `None` once it has ended.
    job: Option<Job>,
    progress: watch::Receiver<Progress>,
    /// When to look next.
    look: Instant,
    drafts: Drafts,
    /// What the client is told next.
    queue: VecDeque<Told>,
    /// What the names of events begin with.
    operation: &'static str,
}

enum Told {
    Draft(Image, u32),
    /// A picture, and what is known of it.
    Made(Image, Map<String, Value>),
    Failed(OpenAiError),
}

/// Which previews become drafts.
struct Drafts {
    /// How many at most.
    most: u32,
    sent: u32,
    last: Option<Image>,
}

/// Answers with events.
///
/// `most` is how many drafts are shown in all. What fails before the engine has told anything is
/// an error with its status; what fails later is an event.
pub(super) async fn reply(
    mut job: Job,
    mut progress: watch::Receiver<Progress>,
    edits: bool,
    most: u32,
) -> Result<Response, OpenAiError> {
    let mut queue = VecDeque::new();
    let job = tokio::select! {
        biased;
        ended = &mut job => {
            queue.extend(pictures(ended?));
            None
        }
        Ok(()) = progress.changed() => Some(job),
        () = tokio::time::sleep(HEAD_WAIT) => Some(job),
    };
    // What has just been heard is news for the stream too.
    progress.mark_changed();
    let watched = Watched {
        job,
        progress,
        look: Instant::now(),
        drafts: Drafts {
            most,
            sent: 0,
            last: None,
        },
        queue,
        operation: match edits {
            true => "image_edit",
            false => "image_generation",
        },
    };
    let events = stream::unfold(watched, Watched::next);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

impl Watched {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(told) = self.queue.pop_front() {
                return Some((Ok(told.event(self.operation)), self));
            }
            let job = self.job.as_mut()?;
            let news = async {
                sleep_until(self.look).await;
                self.progress.changed().await
            };
            let ended = tokio::select! {
                ended = job => Some(ended),
                Ok(()) = news => None,
            };
            self.look = Instant::now() + MIN_LOOK;
            let draft = self.drafts.take(&self.progress.borrow_and_update());
            self.queue.extend(draft);
            match ended {
                None => continue,
                Some(Ok(finished)) => self.queue.extend(pictures(finished)),
                Some(Err(error)) => self.queue.push_back(Told::Failed(error.into())),
            }
            self.job = None;
        }
    }
}

impl Drafts {
    /// The preview, where it is new and its turn has come: an engine may show many more than were
    /// asked for, which are spread over the job.
    fn take(&mut self, progress: &Progress) -> Option<Told> {
        let preview = progress.preview.as_ref()?;
        let due = progress
            .fraction
            .is_none_or(|fraction| fraction * self.most as f32 >= self.sent as f32);
        let last = self.last.as_ref();
        let known = last.is_some_and(|last| last.bytes() == preview.bytes());
        if self.sent == self.most || !due || known {
            return None;
        }
        self.last = Some(preview.clone());
        self.sent += 1;
        Some(Told::Draft(preview.clone(), self.sent - 1))
    }
}

/// One event for each picture. What the job has cost stands in the last.
fn pictures(finished: Finished) -> impl Iterator<Item = Told> {
    let mut more = told(&finished);
    if let Some(prompt) = finished.revised_prompt {
        more.insert("revised_prompt".to_owned(), prompt.into());
    }
    let usage = more.remove("usage").unwrap_or_default();
    let last = finished.images.len().saturating_sub(1);
    let images = finished.images.into_iter().enumerate();
    images.map(move |(index, image)| {
        let cost = if index == last { &usage } else { &Value::Null };
        let mut more = more.clone();
        more.insert("usage".to_owned(), tokens(cost));
        Told::Made(image, more)
    })
}

impl Told {
    /// As OpenAI's clients read it.
    ///
    /// Source: OpenAI's reference of the images API, streaming events.
    fn event(self, operation: &str) -> Event {
        match self {
            Self::Draft(image, index) => {
                let more = Map::from_iter([("partial_image_index".to_owned(), index.into())]);
                picture(&format!("{operation}.partial_image"), &image, more)
            }
            Self::Made(image, more) => picture(&format!("{operation}.completed"), &image, more),
            Self::Failed(error) => {
                let mut data = error.body();
                if let Some(data) = data.as_object_mut() {
                    data.insert("type".to_owned(), "error".into());
                }
                Event::default().event("error").data(data.to_string())
            }
        }
    }
}

/// An event with a picture in base64, written once: it is most of the event.
fn picture(kind: &str, image: &Image, more: Map<String, Value>) -> Event {
    let (width, height) = image.size();
    let mut fields = json!({
        "type": kind,
        "created_at": now(),
        "size": format!("{width}x{height}"),
        "quality": "auto",
        "background": "auto",
        "output_format": output_format(image),
    });
    if let Some(fields) = fields.as_object_mut() {
        // The size is that of the picture, whatever anybody says.
        fields.extend(more.into_iter().filter(|(name, _)| name != "size"));
    }
    let mut text = fields.to_string();
    text.pop();
    text.reserve(image.bytes().len() * 4 / 3 + 32);
    text.push_str(",\"b64_json\":\"");
    base64_simd::STANDARD.encode_append(image.bytes(), &mut text);
    text.push_str("\"}");
    Event::default().event(kind).data(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the previews, each with how far the job is, become drafts.
    fn check(most: u32, previews: &[(u8, Option<f32>)], expected: &[u8]) {
        let mut drafts = Drafts {
            most,
            sent: 0,
            last: None,
        };
        let shown = previews.iter().filter_map(|(width, fraction)| {
            let progress = Progress {
                fraction: *fraction,
                preview: Some(Image::sample(*width, 0)),
                ..Progress::default()
            };
            match drafts.take(&progress)? {
                Told::Draft(image, _) => u8::try_from(image.size().0).ok(),
                _ => None,
            }
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_more_drafts_than_were_asked_for_spread_over_the_job() {
        let ten: Vec<_> = (1..=10u8).map(|n| (n, Some(f32::from(n) / 10.0))).collect();
        check(0, &ten, &[]);
        check(1, &ten, &[1]);
        check(2, &ten, &[1, 5]);
        check(3, &ten, &[1, 4, 7]);
        let timeless = [(1, None), (1, None), (2, None), (3, None)];
        check(2, &timeless, &[1, 2]);
        // As an upstream sends them that was asked for just so many: two pictures, one after another.
        let asked = [(1, Some(0.25)), (2, Some(0.75))];
        check(2, &asked, &[1, 2]);
        let asked = [(1, Some(0.25)), (2, Some(0.5)), (3, Some(0.75))];
        check(3, &asked, &[1, 2, 3]);
    }
}
