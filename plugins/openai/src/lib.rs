//! `openai`: OpenAI's images API, and the many servers that speak it.
//!
//! The way of a job, from top to bottom: `Options` are the settings of its operation, `wire::plan`
//! makes the request, `run` sends it as often as the model needs, and `Gathered` takes the pictures
//! from where `wire::read` (or, of a stream, `stream::read`) finds them.

mod address;
mod settings;
mod stream;
mod wire;

use pinhole_sdk::request::Form;
use pinhole_sdk::{
    Abilities, Answer, Description, Engine, Error, Gathered, Image, Job, Model, Output, Refusal,
    Request, Settings, send_each,
};
use settings::{Operation, Options};
use wire::{Plan, Reading};

use address::Address;

/// Requests of one job under way at the same time, where a request gives one picture.
const CALLS_AT_ONCE: u32 = 4;
/// Source images of one edit.
const MAX_SOURCES: u32 = 16;
/// Source images and mask together, in bytes: with the rest of the form they stay below what the
/// host sends in one request.
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
            upstreams: address::upstreams(),
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let options = Options::read(&settings, Operation::Generate)?;
        let plan = wire::plan(&job, &options, Operation::Generate)?;
        run(&plan, || {
            Request::post(plan.upstream, plan.path.as_str()).json(&plan.fields)
        })
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let options = Options::read(&settings, Operation::Edit)?;
        let plan = wire::plan(&job, &options, Operation::Edit)?;
        let mask = match mask {
            Some(mask) if options.white_mask => Some(white(&mask)?),
            mask => mask,
        };
        let bytes = sources.iter().chain(&mask).map(Image::length).sum();
        check_length(bytes)?;
        run(&plan, || {
            let form = form(&plan, &sources, mask.as_ref());
            Ok(Request::post(plan.upstream, plan.path.as_str()).form(form))
        })
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let address = Address::read(&settings);
        if let Some(deployment) = address.deployment {
            return Ok(vec![Model {
                name: deployment.clone(),
                id: deployment,
            }]);
        }
        let answer = ask_models(&address)?.success();
        let answer = answer.map_err(|refusal| wire::refused(&refusal, None))?;
        wire::models(&answer.json()?, &settings)
    }

    fn verify(settings: Settings) -> Result<(), Error> {
        settings::check(&settings)?;
        let address = Address::read(&settings);
        match ask_models(&address)?.success() {
            // A classic Azure deployment has no list of models: it is there, and took the key.
            Err(refusal) if refusal.status == 404 && address.deployment.is_some() => Ok(()),
            Err(refusal) => Err(wire::refused(&refusal, None)),
            Ok(_) => Ok(()),
        }
    }
}

pinhole_sdk::export!(OpenAi);

fn ask_models(address: &Address) -> Result<Answer, Error> {
    Request::get(address.upstream, address.path("/models")).send()
}

/// Sends the plan's request as often as it says, several side by side, and takes the pictures.
fn run<'a>(
    plan: &'a Plan,
    request: impl Fn() -> Result<Request<'a>, Error>,
) -> Result<Output, Error> {
    let refused = |refusal: &Refusal| wire::refused(refusal, plan.model.as_deref());
    let mut gathered = Gathered::new(plan.asked, plan.most);
    let mut left = plan.calls;
    while left > 0 {
        let round = vec![(); left.min(CALLS_AT_ONCE) as usize];
        left = left.saturating_sub(CALLS_AT_ONCE);
        let came = gathered.pictures.len();
        for answer in send_each(&round, |()| request(), refused) {
            take(&mut gathered, answer, plan);
        }
        // What refused a whole round refuses the next one too.
        if gathered.pictures.len() == came {
            break;
        }
    }
    let gathered = gathered.some()?;
    let notes = gathered.notes(&plan.notes);
    let mut readings = gathered.readings.iter();
    Ok(Output {
        revised_prompt: readings.find_map(|reading| reading.revised_prompt.clone()),
        details: wire::details(plan, &gathered.readings, &notes),
        pictures: gathered.pictures,
    })
}

fn take(gathered: &mut Gathered<Reading>, answer: Result<Answer, Error>, plan: &Plan) {
    let id = answer.as_ref().ok().and_then(wire::request_id);
    match answer {
        Ok(answer) if stream::is_one(&answer) => match stream::read(&answer, plan, gathered) {
            Ok(reading) => gathered.readings.push(reading.named(id)),
            Err(error) => gathered.errors.push(error),
        },
        answer => gathered.add(answer, |json| {
            wire::read(&json).map(|(places, reading)| (places, reading.named(id)))
        }),
    }
}

/// The form of an edit: the plan's fields as text, then the pictures.
fn form<'a>(plan: &Plan, sources: &'a [Image], mask: Option<&'a Image>) -> Form<'a> {
    let mut form = Form::new();
    for (name, text) in wire::texts(&plan.fields) {
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

fn white(mask: &Image) -> Result<Image, Error> {
    let cannot = |why| Error::invalid("mask", format!("the mask cannot be used: {why}"));
    mask.white_mask().map_err(cannot)
}

fn check_length(bytes: u64) -> Result<(), Error> {
    if bytes <= MAX_SOURCE_BYTES {
        return Ok(());
    }
    Err(Error::invalid(
        "image",
        format!(
            "the images to change have {bytes} bytes together; {MAX_SOURCE_BYTES} can be sent: \
             use fewer or smaller ones"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_no_request_could_carry_are_refused() {
        assert!(check_length(MAX_SOURCE_BYTES).is_ok());
        let error = check_length(MAX_SOURCE_BYTES + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("image"));
    }
}
