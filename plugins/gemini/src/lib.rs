//! `gemini`: Google's image models, by `:generateContent` and by the older `:predict`.
//!
//! The way of a job, from top to bottom: `wire::plan` makes the requests, `call` sends them,
//! `wire::read` says where an answer keeps its pictures, and `Gathered` takes them.

mod settings;
mod wire;

use pinhole_sdk::upstream::Document;
use pinhole_sdk::{
    Abilities, Answer, Credential, Description, Engine, Error, Job, Model, Output, Picture,
    Request, Settings, Upstream, send_all,
};
use serde_json::Value;
use wire::{Place, Plan, Reading};

const UPSTREAM: &str = "api";
/// Requests of one job under way at the same time.
const CALLS_AT_ONCE: usize = 4;
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
                seed: true,
                max_count: wire::MAX_COUNT,
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
        let plan = wire::plan(&job, &settings)?;
        let mut gathered = Gathered::new(job.count);
        for bodies in plan.bodies.chunks(CALLS_AT_ONCE) {
            let came = gathered.pictures.len();
            for answer in call(&plan, bodies) {
                gathered.add(&plan, answer);
            }
            // What refused a whole round refuses the next one too.
            if gathered.pictures.len() == came {
                break;
            }
        }
        gathered.output(&plan)
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

    fn verify(_settings: Settings) -> Result<(), Error> {
        list(wire::list_path(1, None)).map(drop)
    }
}

pinhole_sdk::export!(Gemini);

fn list(path: String) -> Result<Answer, Error> {
    let answer = Request::get(UPSTREAM, path).send()?;
    answer
        .success()
        .map_err(|refusal| wire::refused(&refusal, None))
}

/// Sends these requests of the plan, side by side. The answers are of any status.
fn call(plan: &Plan, bodies: &[Value]) -> Vec<Result<Answer, Error>> {
    let request = |body| Request::post(UPSTREAM, plan.path.as_str()).json(body);
    match bodies.iter().map(request).collect() {
        Ok(requests) => send_all(requests),
        Err(error) => vec![Err(error)],
    }
}

/// What the requests of a job gave so far.
struct Gathered {
    /// Pictures that the job asked for.
    count: usize,
    /// More than asked for, where the upstream gave more: they are made and paid.
    pictures: Vec<Picture>,
    /// Pictures beyond what a job may give.
    left_out: usize,
    readings: Vec<Reading>,
    errors: Vec<Error>,
}

impl Gathered {
    fn new(count: u32) -> Self {
        Self {
            count: count as usize,
            pictures: Vec::new(),
            left_out: 0,
            readings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn add(&mut self, plan: &Plan, answer: Result<Answer, Error>) {
        if let Err(error) = self.try_add(plan, answer) {
            self.errors.push(error);
        }
    }

    fn try_add(&mut self, plan: &Plan, answer: Result<Answer, Error>) -> Result<(), Error> {
        let answer = answer?
            .success()
            .map_err(|refusal| wire::refused(&refusal, Some((&plan.model, plan.method))))?;
        let document = answer.document()?;
        let reading = wire::read(plan.method, &document.parse::<Value>()?)?;
        for place in &reading.places {
            if self.pictures.len() == wire::MAX_COUNT as usize {
                self.left_out += 1;
            } else {
                match picture(&document, place) {
                    Ok(picture) => self.pictures.push(picture),
                    Err(error) => self.errors.push(error),
                }
            }
        }
        self.readings.push(reading);
        Ok(())
    }

    /// The output, or the first error where no picture came.
    fn output(self, plan: &Plan) -> Result<Output, Error> {
        if self.pictures.is_empty() {
            let nothing = || Error::protocol("the upstream was not asked for a picture");
            return Err(self.errors.into_iter().next().unwrap_or_else(nothing));
        }
        let missing = self.count.saturating_sub(self.pictures.len());
        let notes = wire::notes(plan, missing, self.left_out, &self.readings, &self.errors);
        Ok(Output {
            pictures: self.pictures,
            revised_prompt: None,
            details: wire::details(plan, &self.readings, &notes),
        })
    }
}

fn picture(document: &Document, place: &Place) -> Result<Picture, Error> {
    Ok(match place {
        Place::Pointer(pointer) => Picture::Held(document.image(pointer)?),
        Place::Address(address) => Picture::Address(address.clone()),
    })
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
        assert!(!description.abilities.edit);
    }
}
