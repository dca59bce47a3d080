//! `openai`: OpenAI's images API, and the many servers that speak it.
//!
//! The way of a job, from top to bottom: `wire::plan` makes the request, `call` sends it as
//! often as the model needs, `wire::read` says where the answer keeps its pictures, and
//! `Gathered` takes them.

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
/// Requests of one job under way at the same time, where a model gives one picture a request.
const CALLS_AT_ONCE: u32 = 4;

struct OpenAi;

impl Engine for OpenAi {
    fn describe() -> Description {
        Description {
            name: "openai".into(),
            title: "OpenAI".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                max_count: wire::MAX_COUNT,
                ..Abilities::default()
            },
            settings: settings::declare(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: settings::BASE_URL.into(),
                credential: Credential::Bearer(settings::API_KEY.into()),
                requests: vec!["POST /images/".into(), "GET /models".into()],
            }],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let plan = wire::plan(&job, &settings)?;
        let mut gathered = Gathered::new(job.count);
        let mut left = plan.calls;
        while left > 0 {
            let times = left.min(CALLS_AT_ONCE);
            left -= times;
            let came = gathered.pictures.len();
            for answer in call(&plan, times) {
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
        wire::models(&list_models(&settings)?.json()?, &settings)
    }

    fn verify(settings: Settings) -> Result<(), Error> {
        list_models(&settings).map(drop)
    }
}

pinhole_sdk::export!(OpenAi);

fn list_models(settings: &Settings) -> Result<Answer, Error> {
    let answer = Request::get(UPSTREAM, wire::path("/models", settings)).send()?;
    answer
        .success()
        .map_err(|refusal| wire::refused(&refusal, None))
}

/// Sends the plan's request so many times, side by side. The answers are of any status.
fn call(plan: &Plan, times: u32) -> Vec<Result<Answer, Error>> {
    let request = |_| Request::post(UPSTREAM, plan.path.as_str()).json(&plan.body);
    match (0..times).map(request).collect() {
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
            .map_err(|refusal| wire::refused(&refusal, plan.model.as_deref()))?;
        let document = answer.document()?;
        let reading = wire::read(&document.parse::<Value>()?)?;
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
        let notes = wire::notes(self.count, self.pictures.len(), self.left_out, &self.errors);
        let details = wire::details(plan, &self.readings, &notes);
        let mut revised = self
            .readings
            .into_iter()
            .filter_map(|read| read.revised_prompt);
        Ok(Output {
            pictures: self.pictures,
            revised_prompt: revised.next(),
            details,
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
        let description = OpenAi::describe();
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
