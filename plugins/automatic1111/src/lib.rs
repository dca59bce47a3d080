//! `automatic1111`: images from AUTOMATIC1111's web UI and from what speaks its API (Forge,
//! SD.Next, the server of stable-diffusion.cpp).
//!
//! The web UI answers when the images are made. Meanwhile its one progress answer, which is about
//! whatever it draws at the moment, is read twice a second; see `progress::Watch`.

mod progress;
mod refusal;
mod wire;

use pinhole_sdk::upstream::Error as UpstreamError;
use pinhole_sdk::{
    Abilities, Answer, Credential, Description, Engine, Error, ErrorKind, Image, Job, Model,
    Output, Picture, Request, Setting, SettingKind, Settings, Upstream, job, log,
};

use progress::{ProgressAnswer, Watch};
use wire::{Body, Checkpoint, Made};

const UPSTREAM: &str = "api";
const TXT2IMG: &str = "/sdapi/v1/txt2img";
const INTERRUPT: &str = "/sdapi/v1/interrupt";
const PROGRESS: &str = "/sdapi/v1/progress?skip_current_image=false";
const PROGRESS_WITHOUT_IMAGE: &str = "/sdapi/v1/progress?skip_current_image=true";
const MODELS: &str = "/sdapi/v1/sd-models";
const PING: &str = "/internal/ping";

/// Images in one batch; the memory they take on the graphics card grows with it.
const MAX_COUNT: u32 = 10;
/// How long to wait for the images before asking for progress again, in milliseconds.
const WAIT_MS: u32 = 500;
/// How long to wait for a progress answer, in milliseconds: a busy web UI may be slow to give one.
const PROGRESS_WAIT_MS: u32 = 2_000;
/// Up to which length `info` is read, in bytes. It repeats the prompt about twice an image.
const MAX_INFO_BYTES: u32 = 256 * 1024;

struct Automatic1111;

impl Engine for Automatic1111 {
    fn describe() -> Description {
        Description {
            name: "automatic1111".into(),
            title: "AUTOMATIC1111".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                progress: true,
                cancel: true,
                negative_prompt: true,
                seed: true,
                steps: true,
                max_count: MAX_COUNT,
                ..Abilities::default()
            },
            settings: describe_settings(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: "base-url".into(),
                credential: Credential::Basic("api-auth".into()),
                requests: vec![
                    "POST /sdapi/v1/".into(),
                    "GET /sdapi/v1/".into(),
                    "GET /internal/ping".into(),
                ],
            }],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let params: Option<Body> = settings.json("params")?;
        let checkpoint = match &job.model {
            Some(name) => Some(wire::find(checkpoints()?, name)?),
            None => None,
        };
        let body = wire::txt2img(&job, checkpoint.as_ref(), params.unwrap_or_default())?;
        let answer = draw(&body)?;
        collect(&answer, &job, checkpoint.as_ref())
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        Ok(checkpoints()?.into_iter().map(Model::from).collect())
    }

    /// Asks for the checkpoints: of what every dialect answers only to the right credentials,
    /// the shortest.
    fn verify(_settings: Settings) -> Result<(), Error> {
        match Request::get(UPSTREAM, MODELS).send()?.success() {
            Ok(answer) => answer.json::<Vec<Checkpoint>>().map(drop),
            Err(said) if said.status == 404 => Err(refusal::no_api(ping())),
            Err(said) => Err(refusal::refused(said)),
        }
    }
}

pinhole_sdk::export!(Automatic1111);

fn describe_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "base-url",
            SettingKind::Url,
            "Base URL",
            "Where the web UI runs, such as http://127.0.0.1:7860. Start it with --api.",
        )
        .with_variables(&["AUTOMATIC1111_BASE_URL"], &[]),
        Setting::new(
            "api-auth",
            SettingKind::Secret,
            "API credentials",
            "What the web UI was given with --api-auth, as user:password. Empty when it was given nothing.",
        )
        .with_variables(&["AUTOMATIC1111_API_AUTH"], &[]),
        Setting::new(
            "params",
            SettingKind::Document,
            "Parameters",
            "A JSON object of txt2img parameters, such as {\"cfg_scale\": 7, \"sampler_name\": \"Euler a\"}. \
             They win over those of a job. Empty adds none.",
        )
        .with_variables(&["AUTOMATIC1111_PARAMS"], &[]),
    ]
}

fn checkpoints() -> Result<Vec<Checkpoint>, Error> {
    let answer = Request::get(UPSTREAM, MODELS).send()?;
    answer.success().map_err(refusal::refused)?.json()
}

/// Is there a web UI at all, be it without its API?
fn ping() -> bool {
    Request::get(UPSTREAM, PING)
        .send()
        .is_ok_and(|answer| answer.success().is_ok())
}

/// Sends the job and waits for its images, telling the host how far it is.
fn draw(body: &Body) -> Result<Answer, Error> {
    let mut watch = match ask_progress(PROGRESS_WITHOUT_IMAGE)? {
        Asked::Answer(before) => before.json().ok().map(|before| Watch::new(&before)),
        Asked::Late | Asked::Refused => None,
    };
    let pending = Request::post(UPSTREAM, TXT2IMG).json(body)?.start()?;
    loop {
        match pending.wait(WAIT_MS) {
            Some(Ok(response)) => return Answer(response).success().map_err(refusal::refused),
            Some(Err(error)) => return Err(stop(error.into(), watch.as_mut())),
            None => {}
        }
        if let Some(watching) = &mut watch {
            match look(watching) {
                Ok(true) => {}
                Ok(false) => watch = None,
                Err(error) => return Err(stop(error, watch.as_mut())),
            }
        }
    }
}

/// Reports the progress. False when there is none to be had from this server; an error only when
/// the job was cancelled.
fn look(watch: &mut Watch) -> Result<bool, Error> {
    let answer = match ask_progress(PROGRESS)? {
        Asked::Answer(answer) => answer,
        Asked::Late => return Ok(true),
        Asked::Refused => return Ok(false),
    };
    let Ok(document) = answer.document() else {
        return Ok(false);
    };
    let Ok(read) = document.parse::<ProgressAnswer>() else {
        return Ok(false);
    };
    if let Some(seen) = watch.see(&read) {
        let preview = seen.preview.then(|| document.image("/current_image"));
        let preview = preview.and_then(Result::ok);
        job::report(&seen.progress, preview.as_ref());
    }
    Ok(true)
}

/// What came of asking for progress.
enum Asked {
    Answer(Answer),
    /// Nothing yet: another time.
    Late,
    /// This server, or what stands before it, does not tell.
    Refused,
}

fn ask_progress(path: &str) -> Result<Asked, Error> {
    let pending = match Request::get(UPSTREAM, path).start() {
        Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
        Err(_) => return Ok(Asked::Refused),
        Ok(pending) => pending,
    };
    match pending.wait(PROGRESS_WAIT_MS) {
        None | Some(Err(UpstreamError::Timeout)) => Ok(Asked::Late),
        Some(Err(error @ UpstreamError::Cancelled)) => Err(error.into()),
        Some(Err(_)) => Ok(Asked::Refused),
        Some(Ok(response)) => Ok(match Answer(response).success() {
            Ok(answer) => Asked::Answer(answer),
            Err(_) => Asked::Refused,
        }),
    }
}

/// The job's error, after the web UI was told to stop if it is our job that it draws.
///
/// Closing the request does not stop it, and an interrupt stops whatever runs, whoever asked for it.
fn stop(error: Error, watch: Option<&mut Watch>) -> Error {
    let wanted = matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout);
    if wanted && watch.is_some_and(draws_ours) {
        let told = Request::post(UPSTREAM, INTERRUPT).send();
        if !told.is_ok_and(|answer| answer.success().is_ok()) {
            log::write(log::Level::Warn, "the web UI could not be interrupted");
        }
    }
    error
}

/// Does the web UI draw our job? It may have begun since the last look.
fn draws_ours(watch: &mut Watch) -> bool {
    if !watch.ours_runs() {
        let answer = Request::get(UPSTREAM, PROGRESS_WITHOUT_IMAGE).send();
        let now = answer.ok().and_then(|answer| answer.success().ok());
        if let Some(now) = now.and_then(|now| now.json().ok()) {
            watch.see(&now);
        }
    }
    watch.ours_runs()
}

fn collect(answer: &Answer, job: &Job, checkpoint: Option<&Checkpoint>) -> Result<Output, Error> {
    let document = answer.document()?;
    let mut made: Made = document.parse()?;
    if made.info_is_cut() {
        let text = document.json(MAX_INFO_BYTES)?;
        made = serde_json::from_str(&text).unwrap_or(made);
    }
    let info = made.info();
    if let Some(other) = checkpoint.and_then(|checkpoint| info.other_model(checkpoint)) {
        let message = format!("the web UI drew with {other:?} instead of the model it was told");
        log::write(log::Level::Warn, &message);
    }
    let mut pictures = Vec::new();
    for pointer in wire::pointers(made.images(), info.first_image(), job.count)? {
        let image: Image = document.image(&pointer)?;
        pictures.push(Picture::Held(image));
    }
    Ok(Output {
        details: info.details(pictures.len()),
        pictures,
        revised_prompt: None,
    })
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
            ("POST", INTERRUPT),
            ("GET", PROGRESS),
            ("GET", PROGRESS_WITHOUT_IMAGE),
            ("GET", MODELS),
            ("GET", PING),
        ] {
            let request = format!("{method} {path}");
            assert!(
                granted.iter().any(|prefix| request.starts_with(prefix)),
                "{request}"
            );
        }
    }
}
