//! `gemini`: Google's image models, by `:generateContent` and by the older `:predict`.
//!
//! The way of a job, from top to bottom: `wire::plan` makes the requests, `send_each` sends them,
//! `Reading` says where an answer keeps its pictures, and `Gathered` takes them.

mod settings;
mod wire;

use pinhole_sdk::upstream::Document;
use pinhole_sdk::{
    Abilities, Answer, Credential, Description, Engine, Error, Gathered, Image, Job, Model, Output,
    Refusal, Request, Settings, Upstream, send_each,
};
use serde_json::Value;

use crate::settings::Setup;
use crate::wire::Reading;

const UPSTREAM: &str = "api";
/// Requests of one job under way at the same time.
const CALLS_AT_ONCE: usize = 4;
/// Pictures to change that the largest family of models takes; others say so themselves.
const MAX_SOURCES: u32 = 14;
/// Events of one answer.
const MAX_EVENTS: usize = 1000;
/// Pages of the list of models that are read.
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
                credential: Credential::Header(("x-goog-api-key".into(), settings::API_KEY.into())),
                requests: vec!["POST /models/".into(), "GET /models".into()],
            }],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        draw(&job, &[], &settings)
    }

    /// The API has no masks, so none comes: the abilities say so.
    fn edit(
        job: Job,
        sources: Vec<Image>,
        _mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        draw(&job, &sources, &settings)
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let words = settings.text(settings::LISTED_MODELS).unwrap_or_default();
        let mut models = Vec::new();
        let mut path = wire::list_path(wire::PAGE_SIZE, None);
        for _ in 0..MAX_PAGES {
            let page = wire::page(&list(path)?.json()?, &words)?;
            models.extend(page.models);
            match page.next {
                Some(token) => path = wire::list_path(wire::PAGE_SIZE, Some(&token)),
                None => break,
            }
        }
        Ok(models)
    }

    fn verify(settings: Settings) -> Result<(), Error> {
        Setup::read(&settings)?;
        list(wire::list_path(1, None)).map(drop)
    }
}

pinhole_sdk::export!(Gemini);

/// Makes the pictures of a job, from `sources` where there are any.
fn draw(job: &Job, sources: &[Image], settings: &Settings) -> Result<Output, Error> {
    let setup = Setup::read(settings)?;
    let types: Vec<String> = sources.iter().map(Image::media_type).collect();
    let plan = wire::plan(job, &types, &setup)?;
    let places = plan.places.iter().map(String::as_str);
    let images: Vec<(&str, &Image)> = places.zip(sources).collect();
    let request =
        |body: &Value| Request::post(UPSTREAM, plan.path.as_str()).json_with_images(body, &images);
    let refused = |refusal: &Refusal| wire::refused(refusal, Some(&plan.asked));
    let mut gathered = Gathered::new(job.count, wire::MAX_COUNT);
    for bodies in plan.bodies.chunks(CALLS_AT_ONCE) {
        let came = gathered.pictures.len();
        for answer in send_each(bodies, request, refused) {
            let reading = Reading::new(&plan.asked);
            let taken = answer.and_then(|answer| take(&answer, reading, &mut gathered));
            gathered.errors.extend(taken.err());
        }
        // What refused a whole round refuses the next one too.
        if gathered.pictures.len() == came {
            break;
        }
    }
    let gathered = gathered.some()?;
    let details = wire::details(&plan, &gathered);
    Ok(Output {
        pictures: gathered.pictures,
        revised_prompt: None,
        details,
    })
}

/// Takes the pictures of an answer, which is one document or a stream of them. Some gateways stream
/// whatever they are asked, and others never: the answer itself says which it is.
fn take<'a>(
    answer: &Answer,
    mut reading: Reading<'a>,
    gathered: &mut Gathered<Reading<'a>>,
) -> Result<(), Error> {
    let taken = match streams(answer) {
        true => take_events(answer, &mut reading, gathered),
        false => answer
            .document()
            .and_then(|document| take_document(&document, &mut reading, gathered)),
    };
    match reading.finish() {
        // What came before an answer broke off is made and paid.
        Ok(reading) => gathered.readings.push(reading),
        Err(nothing) => return Err(taken.err().unwrap_or(nothing)),
    }
    taken
}

fn streams(answer: &Answer) -> bool {
    let headers = answer.0.headers();
    let kind = headers.iter().find(|header| header.name == "content-type");
    kind.is_some_and(|kind| kind.value.starts_with("text/event-stream"))
}

fn take_events<'a>(
    answer: &Answer,
    reading: &mut Reading<'a>,
    gathered: &mut Gathered<Reading<'a>>,
) -> Result<(), Error> {
    for _ in 0..MAX_EVENTS {
        match answer.0.next_event()? {
            Some(document) => take_document(&document, reading, gathered)?,
            None => return Ok(()),
        }
    }
    Err(Error::protocol(format!(
        "the upstream's answer has more than {MAX_EVENTS} events"
    )))
}

fn take_document<'a>(
    document: &Document,
    reading: &mut Reading<'a>,
    gathered: &mut Gathered<Reading<'a>>,
) -> Result<(), Error> {
    let places = reading.read(&document.parse()?)?;
    gathered.take(document, places);
    Ok(())
}

fn list(path: String) -> Result<Answer, Error> {
    let answer = Request::get(UPSTREAM, path).send()?;
    answer
        .success()
        .map_err(|refusal| wire::refused(&refusal, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_names_settings_that_exist() {
        let description = Gemini::describe();
        let declared: Vec<&str> = description
            .settings
            .iter()
            .map(|setting| setting.key.as_str())
            .collect();
        assert!(declared.contains(&settings::BASE_URL));
        assert!(declared.contains(&settings::API_KEY));
    }
}
