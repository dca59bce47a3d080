//! `gemini`: an engine for Google's image models, through `:generateContent` and the older
//! `:predict`.
//!
//! A job passes through these steps: `wire::plan` builds the requests, `send_with_retry` sends
//! them, `ResponseReader` locates the images in the responses, and `Batch` collects them.

mod method;
mod settings;
mod wire;

use pinhole_sdk::upstream::{Document, Error as UpstreamError};
use pinhole_sdk::{
    Abilities, Batch, Credential, Description, Engine, Error, Image, Job, Model, Output, Refusal,
    Request, Response, SecretHeader, Settings, Upstream, Verification, send_with_retry,
};
use serde_json::Value;

use settings::Options;
use wire::{ResponseReader, ResponseSummary};

const UPSTREAM: &str = "api";
/// Requests of one job that run at the same time.
const MAX_CONCURRENT_REQUESTS: usize = 4;
/// Source images that the largest model family accepts. Smaller models reject them themselves.
const MAX_SOURCES: u32 = 14;
/// Events of one response.
const MAX_EVENTS: usize = 1000;
/// Events of one response that are not JSON.
const MAX_MALFORMED_EVENTS: usize = 20;
/// Pages of the list of models.
const MAX_PAGES: usize = 10;

struct Gemini;

impl Engine for Gemini {
    fn describe() -> Description {
        Description {
            name: "gemini".into(),
            title: "Gemini".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                edit: true,
                seed: true,
                max_count: wire::MAX_COUNT,
                max_sources: MAX_SOURCES,
                ..Abilities::default()
            },
            settings: settings::declare(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: settings::BASE_URL.into(),
                credentials: vec![Credential::Header(SecretHeader::new(
                    "x-goog-api-key",
                    settings::API_KEY,
                ))],
                requests: vec!["POST /models/".into(), "GET /models".into()],
                ..Upstream::default()
            }],
            parameters: Vec::new(),
            // Those of the method, which the engine checks.
            other_parameters: true,
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        create_images(&job, &[], &settings)
    }

    /// The API has no masks. The host rejects them, because the abilities do not include them.
    fn edit(
        job: Job,
        sources: Vec<Image>,
        _mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        create_images(&job, &sources, &settings)
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let name_parts = settings.text(settings::LISTED_MODELS).unwrap_or_default();
        let mut models = Vec::new();
        let mut path = wire::model_list_path(wire::PAGE_SIZE, None);
        for _ in 0..MAX_PAGES {
            let page = wire::parse_model_page(&get_models(path)?.json()?, &name_parts)?;
            models.extend(page.models);
            match page.next_token {
                Some(token) => path = wire::model_list_path(wire::PAGE_SIZE, Some(&token)),
                None => break,
            }
        }
        Ok(models)
    }

    fn verify(settings: Settings) -> Result<Verification, Error> {
        Options::from_settings(&settings)?;
        get_models(wire::model_list_path(1, None))?;
        Ok(Verification::default())
    }
}

pinhole_sdk::export!(Gemini);

/// Creates the images of a job. An edit has `sources`.
fn create_images(job: &Job, sources: &[Image], settings: &Settings) -> Result<Output, Error> {
    let options = Options::from_settings(settings)?;
    let source_types: Vec<String> = sources.iter().map(Image::media_type).collect();
    let plan = wire::plan(job, &source_types, &options)?;
    let pointers = plan.source_pointers.iter().map(String::as_str);
    let images: Vec<(&str, &Image)> = pointers.zip(sources).collect();
    let build_request =
        |body: &Value| Request::post(UPSTREAM, plan.path.as_str()).json_with_images(body, &images);
    let to_error = |refusal: &Refusal| wire::upstream_error(refusal, Some(&plan.target));
    let mut batch = Batch::new(job.count, wire::MAX_COUNT);
    let mut seeds = plan.seeds.iter();
    for bodies in plan.bodies.chunks(MAX_CONCURRENT_REQUESTS) {
        let images_before = batch.images.len();
        for response in send_with_retry(bodies, build_request, to_error) {
            let reader = ResponseReader::new(&plan.target);
            let first = batch.images.len();
            let result =
                response.and_then(|response| collect_images(&response, reader, &mut batch));
            batch.errors.extend(result.err());
            let seed = seeds.next().copied();
            for image in batch.images.iter_mut().skip(first) {
                image.seed = seed;
            }
        }
        // An error that fails a whole round would fail the next one too.
        if batch.images.len() == images_before {
            break;
        }
    }
    let batch = batch.require_image()?;
    Ok(Output {
        details: wire::output_details(&plan, &batch),
        usage: wire::output_usage(&batch),
        warnings: wire::output_warnings(&plan, &batch),
        ..Output::new(batch.images)
    })
}

/// Collects the images of a response, which is one document or an event stream. The response
/// decides which: some gateways always stream and others never do.
fn collect_images(
    response: &Response,
    mut reader: ResponseReader,
    batch: &mut Batch<ResponseSummary>,
) -> Result<(), Error> {
    let result = if response.is_event_stream() {
        read_events(response, &mut reader, batch)
    } else {
        response
            .document()
            .and_then(|document| read_document(&document, &mut reader, batch))
    };
    match reader.finish() {
        // Images before an error are valid, and the upstream has billed them.
        Ok(summary) => batch.readings.push(summary),
        Err(missing_image) => return Err(result.err().unwrap_or(missing_image)),
    }
    result
}

fn read_events(
    response: &Response,
    reader: &mut ResponseReader,
    batch: &mut Batch<ResponseSummary>,
) -> Result<(), Error> {
    let mut malformed = Vec::new();
    for _ in 0..MAX_EVENTS {
        match response.0.next_event() {
            Ok(Some(document)) => read_document(&document, reader, batch)?,
            Ok(None) => {
                return match malformed.pop() {
                    Some(reason) if batch.images.is_empty() => Err(Error::protocol(reason)),
                    _ => Ok(()),
                };
            }
            // Such as a comment of a gateway. The image may follow.
            Err(UpstreamError::Malformed(reason))
                if malformed.len() < MAX_MALFORMED_EVENTS && !reason.contains("broke off") =>
            {
                malformed.push(reason);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::protocol(format!(
        "the upstream's response has more than {MAX_EVENTS} events"
    )))
}

fn read_document(
    document: &Document,
    reader: &mut ResponseReader,
    batch: &mut Batch<ResponseSummary>,
) -> Result<(), Error> {
    let locations = reader.read_document(&document.parse()?)?;
    batch.take_images(document, locations);
    Ok(())
}

fn get_models(path: String) -> Result<Response, Error> {
    Request::get(UPSTREAM, path)
        .send()?
        .success()
        .map_err(|refusal| wire::upstream_error(&refusal, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describe_declares_settings_of_upstream() {
        let description = Gemini::describe();
        let keys: Vec<&str> = description
            .settings
            .iter()
            .map(|setting| setting.key.as_str())
            .collect();
        assert!(keys.contains(&settings::BASE_URL));
        assert!(keys.contains(&settings::API_KEY));
    }
}
