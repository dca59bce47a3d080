//! `automatic1111`: images from AUTOMATIC1111's web UI and from what speaks its API (Forge,
//! SD.Next, the server of stable-diffusion.cpp).
//!
//! The way of a job, from top to bottom: `body` writes the request, `choices` puts the web UI's own
//! names into it, `run` sends it and watches, and `made` says where the answer keeps its images.

mod body;
mod choices;
mod made;
mod parameters;
mod progress;
mod refusal;
mod run;
mod settings;

use pinhole_sdk::parameters::overlay_fields;
use pinhole_sdk::upstream::Error as UpstreamError;
use pinhole_sdk::{
    Abilities, Answer, Credential, Description, Engine, Error, Gathered, Image, Job, Model, Output,
    Picture, Refusal, Request, Settings, Size, Upstream, log,
};

use body::Body;
use choices::Chosen;
use made::{Account, Made};
use run::Drawn;

const UPSTREAM: &str = "api";
const TXT2IMG: &str = "/sdapi/v1/txt2img";
const IMG2IMG: &str = "/sdapi/v1/img2img";
const PING: &str = "/internal/ping";

/// Images in one batch; the memory they take on the graphics card grows with it.
const MAX_COUNT: u32 = 10;
/// Up to which length `info` is read, in bytes. It repeats the prompt about twice an image.
const MAX_INFO_BYTES: u32 = 48 * 1024;

struct Automatic1111;

impl Engine for Automatic1111 {
    fn describe() -> Description {
        Description {
            name: "automatic1111".into(),
            title: "AUTOMATIC1111".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                edit: true,
                mask: true,
                progress: true,
                cancel: true,
                negative_prompt: true,
                seed: true,
                steps: true,
                max_count: MAX_COUNT,
                max_sources: 1,
            },
            settings: settings::declare(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: settings::BASE_URL.into(),
                credential: Credential::Basic(settings::API_AUTH.into()),
                // Not the options: they are everybody's.
                requests: [
                    "POST /sdapi/v1/txt2img",
                    "POST /sdapi/v1/img2img",
                    "POST /sdapi/v1/interrupt",
                    "GET /sdapi/v1/progress",
                    "GET /sdapi/v1/sd-models",
                    "GET /sdapi/v1/samplers",
                    "GET /sdapi/v1/schedulers",
                    "GET /internal/ping",
                ]
                .map(Into::into)
                .into(),
            }],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let task = Task {
            path: TXT2IMG,
            params: settings::parameters(&settings, settings::PARAMS)?,
            size: job.size,
            body: body::txt2img(&job)?,
            pictures: Vec::new(),
        };
        task.carry_out(&job)
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let missing = || Error::invalid("image", "there is no image to edit");
        let source = sources.first().ok_or_else(missing)?;
        let unreadable = |why| Error::invalid("mask", format!("the mask cannot be used: {why}"));
        let white = mask.map(|mask| mask.white_mask());
        let white = white.transpose().map_err(unreadable)?;
        let mut pictures = vec![("/init_images/0", source)];
        pictures.extend(white.as_ref().map(|white| ("/mask", white)));
        let mut params = settings::parameters(&settings, settings::EDIT_PARAMS)?;
        // The places of the job's own pictures.
        params.retain(|key, _| !["init_images", "mask"].contains(&key.as_str()));
        let size = source.size();
        let task = Task {
            path: IMG2IMG,
            params,
            size: job.size.or(Some(size)),
            body: body::img2img(&job, size, white.is_some())?,
            pictures,
        };
        task.carry_out(&job)
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        let checkpoints = choices::checkpoints()?;
        Ok(checkpoints.into_iter().map(Model::from).collect())
    }

    /// Asks for the checkpoints: of what every dialect answers only to the right credentials,
    /// the shortest.
    fn verify(settings: Settings) -> Result<(), Error> {
        settings::check(&settings)?;
        choices::checkpoints().map(drop)
    }
}

pinhole_sdk::export!(Automatic1111);

/// A job as it is sent.
struct Task<'a> {
    path: &'static str,
    /// Without the names that the web UI has to be asked for; null where a picture goes.
    body: Body,
    /// The operator's.
    params: Body,
    /// The size asked for, or that of the source.
    size: Option<Size>,
    /// By their places in the body.
    pictures: Vec<(&'static str, &'a Image)>,
}

impl Task<'_> {
    fn carry_out(mut self, job: &Job) -> Result<Output, Error> {
        let before = run::look_before();
        let chosen = choices::settle(&mut self.body, job.model.as_deref())?;
        overlay_fields(&mut self.body, self.params);
        let request = Request::post(UPSTREAM, self.path);
        let request = request.json_with_images(&self.body, &self.pictures)?;
        let drawn = run::draw(request, before)?;
        let resized = self.size.and_then(|size| body::size_note(size, &self.body));
        let asked = body::images_asked(&self.body).min(MAX_COUNT);
        collect(&drawn, asked, &chosen, resized)
    }
}

/// The pictures of an answer, and what a person should know of them. `resized` is a note.
fn collect(
    drawn: &Drawn,
    asked: u32,
    chosen: &Chosen,
    resized: Option<String>,
) -> Result<Output, Error> {
    let document = drawn.answer.document()?;
    let made: Made = document.parse()?;
    let info = document.text_at("/info", MAX_INFO_BYTES);
    let too_long = matches!(info, Err(UpstreamError::TooLarge));
    let account = Account::read(&info.unwrap_or_default());

    let mut gathered: Gathered<()> = Gathered::new(asked, MAX_COUNT);
    let mut places = Vec::new();
    for (place, pointer) in (0..).zip(made.pointers(account.first_image(), asked)?) {
        match document.image(&pointer) {
            Ok(image) => {
                gathered.pictures.push(Picture::Held(image));
                places.push(place);
            }
            Err(error) => gathered.errors.push(error),
        }
    }
    let gathered = gathered.some()?;

    let other_model = chosen.checkpoint.as_ref();
    let other_model = other_model.and_then(|asked| account.model_note(asked));
    if let Some(note) = &other_model {
        log::write(log::Level::Warn, note);
    }
    let unread = "what the web UI tells about the pictures is too long to be read";
    let stopped = "somebody told the web UI to stop: pictures may be unfinished or missing";
    let notes = [
        other_model,
        chosen.note.clone(),
        too_long.then(|| unread.into()),
        drawn.interrupted.then(|| stopped.into()),
        resized,
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    Ok(Output {
        details: account.details(&places, &gathered.notes(&notes)),
        pictures: gathered.pictures,
        revised_prompt: None,
    })
}

/// The error for a refusal. Where there is no API, a web UI still answers a ping.
fn refused(refusal: Refusal) -> Error {
    if !refusal::lacks_api(&refusal) {
        return refusal::refused(&refusal);
    }
    let ping = Request::get(UPSTREAM, PING).send();
    refusal::no_api(ping.is_ok_and(|answer: Answer| answer.success().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_among_those_described() {
        let description = Automatic1111::describe();
        let granted = &description.upstreams[0].requests;
        for (method, path) in [
            ("POST", TXT2IMG),
            ("POST", IMG2IMG),
            ("POST", run::INTERRUPT),
            ("GET", run::PROGRESS),
            ("GET", run::PROGRESS_WITHOUT_IMAGE),
            ("GET", choices::MODELS),
            ("GET", choices::SAMPLERS),
            ("GET", choices::SCHEDULERS),
            ("GET", PING),
        ] {
            let path = path.split('?').next().unwrap();
            assert!(granted.contains(&format!("{method} {path}")), "{path}");
        }
    }
}
