//! Responses that are event streams: partial images first, then the complete one.

use pinhole_sdk::upstream::Document;
use pinhole_sdk::{Batch, Error, Progress, Response, job};
use serde_json::Value;

use crate::wire::{self, RequestPlan, ResponseDetails, StreamEvent};

/// Events of one stream, of any type.
const MAX_EVENTS: usize = 1000;

/// Whether the host treats this response as an event stream. Its media type decides.
pub(crate) fn is_event_stream(response: &Response) -> bool {
    response
        .0
        .headers()
        .iter()
        .find(|header| header.name == "content-type")
        .is_some_and(|header| header.value.starts_with("text/event-stream"))
}

/// Reports the partial images as progress and collects the complete image.
///
/// A stream that ends without a complete image is an error, even after partial images.
pub(crate) fn read_stream(
    response: &Response,
    plan: &RequestPlan,
    batch: &mut Batch<ResponseDetails>,
) -> Result<ResponseDetails, Error> {
    let mut drafts = 0;
    for _ in 0..MAX_EVENTS {
        let Some(document) = response.0.next_event()? else {
            return Err(Error::protocol(format!(
                "the upstream's stream ended before the image was finished ({drafts} drafts \
                 received)"
            )));
        };
        match wire::parse_event(&document.parse::<Value>()?, plan.model.as_deref())? {
            StreamEvent::PartialImage { pointer, index } => {
                drafts += 1;
                let progress = plan.progress(batch.images.len(), index);
                report_partial_image(&document, pointer, &progress);
            }
            StreamEvent::Completed { image, details } => {
                batch.take_images(&document, vec![image]);
                return Ok(details);
            }
            StreamEvent::Other => {}
        }
    }
    let message = format!("the upstream sent {MAX_EVENTS} events without a finished image");
    Err(Error::protocol(message))
}

/// Reports progress even if the partial image cannot be decoded.
fn report_partial_image(document: &Document, pointer: &str, progress: &Progress) {
    let preview = document.image(pointer).ok();
    job::report(progress, preview.as_ref());
}
