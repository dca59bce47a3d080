//! An answer that comes as a stream of events: drafts first, then the picture.

use pinhole_sdk::upstream::Document;
use pinhole_sdk::{Answer, Error, Gathered, Image, Progress, job};
use serde_json::Value;

use crate::wire::{self, Event, Plan, Reading};

/// Events of one stream, drafts and others.
const MAX_EVENTS: usize = 1000;

/// Is this answer a stream of events? The host calls it one by its media type.
pub(crate) fn is_one(answer: &Answer) -> bool {
    let headers = answer.0.headers();
    let mut types = headers
        .iter()
        .filter(|header| header.name == "content-type");
    types
        .next()
        .is_some_and(|header| header.value.starts_with("text/event-stream"))
}

/// Reports the drafts, and takes the finished picture.
///
/// A stream that ends without a finished picture is an error: a draft is no result.
pub(crate) fn read(
    answer: &Answer,
    plan: &Plan,
    gathered: &mut Gathered<Reading>,
) -> Result<Reading, Error> {
    let mut drafts = 0;
    for _ in 0..MAX_EVENTS {
        let Some(document) = answer.0.next_event()? else {
            return Err(Error::protocol(format!(
                "the upstream's stream ended before the image was finished ({drafts} drafts came)"
            )));
        };
        match wire::event(&document.parse::<Value>()?, plan.model.as_deref())? {
            Event::Draft(pointer, index) => {
                drafts += 1;
                report(
                    &document,
                    pointer,
                    plan.progress(gathered.pictures.len(), index),
                );
            }
            Event::Finished(place, reading) => {
                gathered.take(&document, vec![place]);
                return Ok(reading);
            }
            Event::Other => {}
        }
    }
    let message = format!("the upstream sent {MAX_EVENTS} events without a finished image");
    Err(Error::protocol(message))
}

/// A draft that cannot be shown is still progress.
fn report(document: &Document, pointer: &str, progress: Progress) {
    let preview: Option<Image> = document.image(pointer).ok();
    job::report(&progress, preview.as_ref());
}
