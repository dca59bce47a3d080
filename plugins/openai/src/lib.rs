//! `openai`: an engine for OpenAI's images API and the servers that implement it.
//!
//! `settings::Options` decides between the images API and chat completions (`chat`). A job passes through these steps: `Options` holds the settings of its operation, `wire::plan`
//! builds the request, `send_plan` sends it as often as the model requires, and `Batch` collects
//! the images that `wire::parse_response` (for a stream, `stream::read_stream`) locates.

mod chat;
mod endpoint;
mod settings;
mod stream;
mod wire;

use std::cell::Cell;

use pinhole_sdk::request::Form;
use pinhole_sdk::upstream::Document;
use pinhole_sdk::{
    Abilities, Batch, Description, Engine, Error, ErrorKind, Image, ImageLocation, Job, Model,
    Output, Refusal, Request, Response, Settings, Verification, send_with_retry,
};

use endpoint::Endpoint;
use settings::{ApiChoice, Operation, Options};
use wire::{ImageApi, RequestPlan, ResponseDetails};

/// Requests of one job that run at the same time if each request returns one image.
const MAX_CONCURRENT_REQUESTS: u32 = 4;
/// Source images of one edit.
const MAX_SOURCES: u32 = 16;
/// Source images and mask together. With the rest of the form they stay below the host's limit for
/// one request.
const MAX_SOURCE_BYTES: u64 = 60 << 20;

struct OpenAi;

impl Engine for OpenAi {
    fn describe() -> Description {
        Description {
            name: "openai".into(),
            title: "OpenAI".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                edit: true,
                mask: true,
                progress: true,
                max_count: wire::MAX_COUNT,
                max_sources: MAX_SOURCES,
                ..Abilities::default()
            },
            settings: settings::declare(),
            upstreams: endpoint::upstreams(),
            parameters: wire::declare_parameters(),
            // Those of a compatible server, which the operator allows by a setting.
            other_parameters: true,
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let options = Options::from_settings(&settings, Operation::Generate)?;
        let by_chat = || chat::create(&job, &[], None, &options);
        let by_images = || {
            let plan = wire::plan(&job, &options, Operation::Generate)?;
            send_plan(&plan, || {
                Request::post(plan.upstream, plan.path.as_str()).json(&plan.fields)
            })
        };
        create(&job, &options, by_images, by_chat)
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let options = Options::from_settings(&settings, Operation::Edit)?;
        let by_chat = || chat::create(&job, &sources, mask.as_ref(), &options);
        let by_images = || {
            let plan = wire::plan(&job, &options, Operation::Edit)?;
            let white_mask = match &mask {
                Some(mask) if options.white_mask => Some(to_white_mask(mask)?),
                _ => None,
            };
            let mask = white_mask.as_ref().or(mask.as_ref());
            let bytes = sources.iter().chain(mask).map(Image::length).sum();
            check_source_bytes(bytes)?;
            send_plan(&plan, || {
                let form = edit_form(&plan, &sources, mask);
                Ok(Request::post(plan.upstream, plan.path.as_str()).form(form))
            })
        };
        create(&job, &options, by_images, by_chat)
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let endpoint = Endpoint::from_settings(&settings);
        if let Some(deployment) = endpoint.deployment {
            return Ok(vec![Model::new(deployment.clone(), deployment)]);
        }
        let response = get_models(&endpoint)?
            .success()
            .map_err(|refusal| wire::upstream_error(&refusal, None))?;
        wire::parse_models(&response.json()?, &settings)
    }

    fn verify(settings: Settings) -> Result<Verification, Error> {
        settings::validate(&settings)?;
        let endpoint = Endpoint::from_settings(&settings);
        match get_models(&endpoint)?.success() {
            // A classic Azure deployment has no list of models. A 404 shows that it exists and
            // accepts the key.
            Err(refusal) if refusal.status == 404 && endpoint.deployment.is_some() => {}
            Err(refusal) => return Err(wire::upstream_error(&refusal, None)),
            Ok(_) => {}
        }
        Ok(Verification::default())
    }
}

pinhole_sdk::export!(OpenAi);

fn get_models(endpoint: &Endpoint) -> Result<Response, Error> {
    Request::get(endpoint.upstream, endpoint.request_path("/models")).send()
}

/// Why a plan has no image.
struct Failure {
    error: Error,
    /// The upstream has nothing at the path of the request.
    is_missing_path: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_missing_path: false,
        }
    }
}

/// Creates images through the API of the settings.
fn create(
    job: &Job,
    options: &Options,
    by_images: impl FnOnce() -> Result<Output, Failure>,
    by_chat: impl FnOnce() -> Result<Output, Error>,
) -> Result<Output, Error> {
    let model = wire::choose_model(job, &options.params);
    let choice = options.image_api(model.as_deref());
    if choice == ApiChoice::ChatCompletions {
        return by_chat();
    }
    match by_images() {
        Err(failure) if failure.is_missing_path && choice == ApiChoice::ImagesFirst => by_chat(),
        result => result.map_err(|failure| failure.error),
    }
}

/// Sends the plan's request as often as the plan requires, in concurrent rounds, and collects the
/// images.
fn send_plan<'a>(
    plan: &'a RequestPlan,
    build_request: impl Fn() -> Result<Request<'a>, Error>,
) -> Result<Output, Failure> {
    let is_missing_path = Cell::new(false);
    let to_error = |refusal: &Refusal| {
        let error = wire::upstream_error(refusal, plan.model.as_deref());
        // Another 404 is about the model.
        let is_about_path = error.kind == ErrorKind::Invalid && refusal.status == 404;
        is_missing_path.set(is_missing_path.get() || is_about_path || refusal.status == 405);
        error
    };
    let mut batch = Batch::new(plan.requested_images, plan.max_images);
    let mut remaining = plan.requests;
    while remaining > 0 {
        let round = vec![(); remaining.min(MAX_CONCURRENT_REQUESTS) as usize];
        remaining = remaining.saturating_sub(MAX_CONCURRENT_REQUESTS);
        let images_before = batch.images.len();
        for response in send_with_retry(&round, |()| build_request(), to_error) {
            collect_images(response, plan, &mut batch);
        }
        // An error that fails a whole round would fail the next one too.
        if batch.images.len() == images_before {
            break;
        }
    }
    let batch = batch.require_image().map_err(|error| Failure {
        error,
        is_missing_path: is_missing_path.get(),
    })?;
    Ok(Output {
        revised_prompt: batch
            .readings
            .iter()
            .find_map(|details| details.revised_prompt.clone()),
        details: wire::output_details(plan, &batch.readings),
        usage: wire::output_usage(&batch.readings),
        cost: wire::output_cost(plan, &batch.readings),
        warnings: batch.warnings(&plan.warnings),
        ..Output::new(batch.images)
    })
}

/// Collects the images and the details of one response, or its error.
fn collect_images(
    response: Result<Response, Error>,
    plan: &RequestPlan,
    batch: &mut Batch<ResponseDetails>,
) {
    match response.and_then(|response| read_images(&response, plan, batch)) {
        Ok(details) => batch.readings.push(details),
        Err(error) => batch.errors.push(error),
    }
}

fn read_images(
    response: &Response,
    plan: &RequestPlan,
    batch: &mut Batch<ResponseDetails>,
) -> Result<ResponseDetails, Error> {
    let request_id = wire::request_id(response);
    let details = if response.is_event_stream() {
        stream::read_stream(response, plan, batch)?
    } else {
        let document = response.document()?;
        let body = document.parse()?;
        let (locations, details) = match plan.api {
            ImageApi::Images => wire::parse_response(&body)?,
            ImageApi::ChatCompletions => wire::parse_completion(&body)?,
        };
        take_images(&document, locations, batch);
        details
    };
    Ok(details.with_request_id(request_id))
}

/// Takes the images at these locations. The error of a URL says how to get bytes instead.
pub(crate) fn take_images(
    document: &Document,
    locations: Vec<ImageLocation>,
    batch: &mut Batch<ResponseDetails>,
) {
    for location in locations {
        let is_url = matches!(location, ImageLocation::Url(_));
        let errors = batch.errors.len();
        batch.take_images(document, vec![location]);
        if is_url && let Some(error) = batch.errors.get_mut(errors) {
            wire::explain_url_error(error);
        }
    }
}

/// The form of an edit: the plan's fields as text, then the images.
fn edit_form<'a>(plan: &RequestPlan, sources: &'a [Image], mask: Option<&'a Image>) -> Form<'a> {
    let mut form = Form::new();
    for (name, text) in wire::form_fields(&plan.fields) {
        form = form.text(name, text);
    }
    let name = if sources.len() == 1 {
        "image"
    } else {
        "image[]"
    };
    for (number, source) in (1..).zip(sources) {
        form = form.image(name, &format!("image-{number}"), source);
    }
    match mask {
        Some(mask) => form.image("mask", "mask", mask),
        None => form,
    }
}

fn to_white_mask(mask: &Image) -> Result<Image, Error> {
    mask.white_mask()
        .map_err(|reason| Error::invalid("mask", format!("the mask cannot be used: {reason}")))
}

fn check_source_bytes(bytes: u64) -> Result<(), Error> {
    if bytes <= MAX_SOURCE_BYTES {
        return Ok(());
    }
    let message = format!(
        "the source images and the mask have {bytes} bytes in total, more than the limit of \
         {MAX_SOURCE_BYTES}: use fewer or smaller images"
    );
    Err(Error::invalid("image", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_source_bytes_rejects_more_than_limit() {
        assert!(check_source_bytes(MAX_SOURCE_BYTES).is_ok());
        let error = check_source_bytes(MAX_SOURCE_BYTES + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("image"));
    }
}
