//! Responses that are event streams: partial images first, then the complete one.

use pinhole_sdk::upstream::{Document, Error as UpstreamError};
use pinhole_sdk::{Batch, Error, Progress, Response, job};
use serde_json::Value;

use crate::take_images;
use crate::wire::{self, RequestPlan, ResponseDetails, StreamEvent};

/// Events of one stream, of any type.
const MAX_EVENTS: usize = 1000;
/// Events of one stream that are not JSON.
const MAX_MALFORMED_EVENTS: usize = 20;

/// Reports the partial images as progress and takes those of the complete event.
///
/// A stream that ends without a complete image is an error, even after partial images. An event that is not
/// JSON, such as a comment of a gateway, is skipped.
pub(crate) fn read_stream(
    response: &Response,
    plan: &RequestPlan,
    batch: &mut Batch<ResponseDetails>,
) -> Result<ResponseDetails, Error> {
    let (mut drafts, mut malformed) = (0, Vec::new());
    for _ in 0..MAX_EVENTS {
        let document = match response.0.next_event() {
            Ok(Some(document)) => document,
            Ok(None) => return Err(unfinished_error(drafts, malformed.first())),
            Err(UpstreamError::Malformed(reason))
                if malformed.len() < MAX_MALFORMED_EVENTS && !reason.contains("broke off") =>
            {
                malformed.push(reason);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let name = document.event_name();
        let event = document.parse::<Value>()?;
        match wire::parse_event(&event, name.as_deref(), plan.model.as_deref())? {
            StreamEvent::PartialImage { pointer, index } => {
                drafts += 1;
                let progress = plan.progress(batch.images.len(), index);
                report_partial_image(&document, pointer, &progress);
            }
            StreamEvent::Completed { images, details } => {
                take_images(&document, images, batch);
                return Ok(details);
            }
            StreamEvent::Other => {}
        }
    }
    let message = format!("the upstream sent {MAX_EVENTS} events without a finished image");
    Err(Error::protocol(message))
}

fn unfinished_error(drafts: usize, malformed: Option<&String>) -> Error {
    let reason = match malformed {
        Some(reason) => format!("; {reason}"),
        None => String::new(),
    };
    Error::protocol(format!(
        "the upstream's stream ended before the image was finished ({drafts} drafts received{reason})"
    ))
}

/// Reports progress even if the partial image cannot be decoded.
fn report_partial_image(document: &Document, pointer: &str, progress: &Progress) {
    let preview = document.image(pointer).ok();
    job::report(progress, preview.as_ref());
}
