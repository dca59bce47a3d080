//! A job as one request to the web UI, and the response to it as the engine's output.

use pinhole_sdk::parameters::merge_patch_fields;
use pinhole_sdk::upstream::Error as UpstreamError;
use pinhole_sdk::{Batch, Error, Image, Job, MadeImage, Output, Request, Size, log};

use crate::body::{self, Body};
use crate::names::{self, ResolvedNames};
use crate::polling::{self, Generation};
use crate::response::{GenerationInfo, ImagesResponse};
use crate::{MAX_COUNT, UPSTREAM};

/// Maximum length of `info` that is read, in bytes. It repeats the prompt about twice per image.
const MAX_INFO_BYTES: u32 = 48 * 1024;

/// A request for images. Its names are not yet replaced by the web UI's own.
pub(crate) struct ImageRequest<'a> {
    pub(crate) path: &'static str,
    /// Null where an image goes.
    pub(crate) body: Body,
    /// Override the fields of the body.
    pub(crate) operator_parameters: Body,
    /// The job's size, or else the size of the source.
    pub(crate) size: Option<Size>,
    /// With their JSON pointers in the body.
    pub(crate) images: Vec<(&'static str, &'a Image)>,
}

impl ImageRequest<'_> {
    pub(crate) fn run(mut self, job: &Job) -> Result<Output, Error> {
        let first_poll = polling::poll_before_job();
        let names = names::resolve(&mut self.body, job.model.as_deref())?;
        let schedule = names::old_schedule(&self.operator_parameters);
        merge_patch_fields(&mut self.body, self.operator_parameters);
        if let Some(name) = schedule {
            names::split_sampler(&mut self.body, &name);
        }
        let request =
            Request::post(UPSTREAM, self.path).json_with_images(&self.body, &self.images)?;
        let generation = polling::generate(request, first_poll)?;
        let size_note = self.size.and_then(|size| body::size_note(size, &self.body));
        let requested = body::requested_images(&self.body).min(MAX_COUNT);
        build_output(&generation, requested, &names, size_note)
    }
}

/// The images of a response, with warnings for the user.
fn build_output(
    generation: &Generation,
    requested: u32,
    names: &ResolvedNames,
    size_note: Option<String>,
) -> Result<Output, Error> {
    let document = generation.response.document()?;
    let images = ImagesResponse(document.parse()?);
    let info_text = document.text_at("/info", MAX_INFO_BYTES);
    let info_is_too_long = matches!(info_text, Err(UpstreamError::TooLarge));
    let info = GenerationInfo::parse(&info_text.unwrap_or_default());

    let mut batch: Batch<()> = Batch::new(requested, MAX_COUNT);
    for (index, pointer) in (0..).zip(images.pointers(info.first_image(), requested)?) {
        match document.image(&pointer) {
            Ok(image) => {
                let seed = info.seed(index);
                batch.images.push(MadeImage::from(image).with_seed(seed));
            }
            Err(error) => batch.errors.push(error),
        }
    }
    let batch = batch.require_image()?;

    let mut warnings = Vec::new();
    if let Some(note) = names.checkpoint.as_ref().and_then(|it| info.model_note(it)) {
        log::write(log::Level::Warn, &note);
        warnings.push(note);
    }
    warnings.extend(names.note.clone());
    if info_is_too_long {
        warnings.push(format!(
            "ignored the web UI's generation info: longer than {MAX_INFO_BYTES} bytes"
        ));
    }
    if generation.interrupted {
        warnings.push(
            "another client interrupted the web UI: images may be unfinished or missing".into(),
        );
    }
    warnings.extend(size_note);
    Ok(Output {
        details: info.details(),
        warnings: batch.warnings(&warnings),
        ..Output::new(batch.images)
    })
}
