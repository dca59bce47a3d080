//! Images through chat completions, as OpenRouter and other gateways have them: one image per request.

use pinhole_sdk::{Error, ErrorKind, Image, Job, Output, Request};

use crate::settings::Options;
use crate::wire;
use crate::{check_source_bytes, send_plan};

/// Generates images, or edits the sources.
pub(crate) fn create(
    job: &Job,
    sources: &[Image],
    mask: Option<&Image>,
    options: &Options,
) -> Result<Output, Error> {
    if mask.is_some() {
        let message = "a mask cannot be sent through chat completions: leave it out, or describe \
                       the area to edit in the prompt";
        return Err(Error::new(ErrorKind::Unsupported, message).with_field("mask"));
    }
    let bytes: u64 = sources.iter().map(Image::length).sum();
    // As base64.
    check_source_bytes(bytes.div_ceil(3).saturating_mul(4))?;
    let plan = wire::plan_chat(job, options, sources.len())?;
    let pointers: Vec<String> = (0..sources.len()).map(wire::source_pointer).collect();
    let images: Vec<(&str, &Image)> = pointers.iter().map(String::as_str).zip(sources).collect();
    send_plan(&plan, || {
        Request::post(plan.upstream, plan.path.as_str()).json_with_data_urls(&plan.fields, &images)
    })
    .map_err(|failure| failure.error)
}
