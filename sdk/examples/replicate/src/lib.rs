//! `replicate`: the image models of Replicate. An example of an upstream that makes an image after its response.
//!
//! A job creates a prediction, then requests its state at the URL that the response names, until it has ended. It
//! reports the progress that the prediction's log shows, and cancels the prediction if the job is cancelled. If the
//! server stops in the middle of a job, the next attempt continues with the same prediction.
//!
//! Source: Replicate's HTTP API, predictions (<https://replicate.com/docs/reference/http>).

mod prediction;

use pinhole_sdk::parameters::merge_patch_fields;
use pinhole_sdk::upstream::Document;
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Image, Job, MadeImage, Model,
    Output, Progress, Request, Setting, SettingKind, Settings, Upstream, Verification,
    is_cancelled, job,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use prediction::{Prediction, Status, find_progress, find_seed};

const UPSTREAM: &str = "api";
const BASE_URL: &str = "base-url";
const TOKEN: &str = "api-token";
const MODEL: &str = "model";

/// Time between two requests of a prediction's state, at first and at most.
const POLL_MS: u32 = 500;
const MAX_POLL_MS: u32 = 3_000;
/// Images that one prediction may make.
const MAX_COUNT: u32 = 4;

struct Replicate;

impl Engine for Replicate {
    fn describe() -> Description {
        Description {
            name: "replicate".into(),
            title: "Replicate".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                progress: true,
                cancel: true,
                seed: true,
                max_count: MAX_COUNT,
                ..Abilities::default()
            },
            settings: declare_settings(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: BASE_URL.into(),
                credentials: vec![Credential::Bearer(TOKEN.into())],
                requests: [
                    "POST /models/*/*/predictions",
                    "GET /predictions/*",
                    "POST /predictions/*/cancel",
                    "GET /collections/text-to-image",
                    "GET /account",
                ]
                .map(Into::into)
                .into(),
                image_hosts: vec!["replicate.delivery".into(), "*.replicate.delivery".into()],
                ..Upstream::default()
            }],
            // Each model has inputs of its own, which Replicate checks.
            other_parameters: true,
            ..Description::default()
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let created = match job::remembered() {
            // Ordering it again would cost twice.
            Some(id) => Request::get(UPSTREAM, format!("/predictions/{id}")).send(),
            None => create(&job, &settings),
        }?;
        let document = wait_until_ended(created.success()?.document()?)?;
        let prediction: Prediction = document.parse()?;
        let seed = find_seed(&prediction.logs);
        let images = prediction.image_pointers().into_iter().map(|pointer| {
            let image = document.fetch_image(&pointer)?;
            Ok(MadeImage::from(image).with_seed(seed))
        });
        let images = images.collect::<Result<Vec<_>, Error>>()?;
        Ok(Output {
            details: json!({"model": prediction.model, "id": prediction.id}).to_string(),
            usage: Some(json!(prediction.metrics).to_string()),
            ..Output::new(images)
        })
    }

    /// The models that Replicate recommends. A job can name any other one.
    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        #[derive(Deserialize)]
        struct Collection {
            models: Vec<ListedModel>,
        }
        #[derive(Deserialize)]
        struct ListedModel {
            owner: String,
            name: String,
        }
        let response = Request::get(UPSTREAM, "/collections/text-to-image").send()?;
        let collection: Collection = response.success()?.json()?;
        let listed = collection.models.into_iter();
        let to_model = |it: ListedModel| Model::new(format!("{}/{}", it.owner, it.name), it.name);
        Ok(listed.map(to_model).collect())
    }

    fn verify(settings: Settings) -> Result<Verification, Error> {
        model_path(&settings.text(MODEL).unwrap_or_default())?;
        Request::get(UPSTREAM, "/account").send()?.success()?;
        Ok(Verification::default())
    }
}

pinhole_sdk::export!(Replicate);

fn declare_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            BASE_URL,
            SettingKind::Url,
            "Base URL",
            "URL of Replicate's API.",
        )
        .with_default("https://api.replicate.com/v1")
        .with_variables(&["REPLICATE_BASE_URL"], &[]),
        Setting::new(
            TOKEN,
            SettingKind::Secret,
            "API token",
            "Sent as a bearer token.",
        )
        .with_variables(&["REPLICATE_API_TOKEN"], &[]),
        Setting::new(
            MODEL,
            SettingKind::Text,
            "Model",
            "The model of a job that names none: its owner and its name.",
        )
        .with_default("black-forest-labs/flux-schnell")
        .with_variables(&["REPLICATE_MODEL"], &[]),
    ]
}

/// Creates a prediction. Also if the job is cancelled meanwhile, so that the prediction can be cancelled too.
fn create(job: &Job, settings: &Settings) -> Result<pinhole_sdk::Response, Error> {
    let model = job.model.clone().or_else(|| settings.text(MODEL));
    let path = model_path(&model.unwrap_or_default())?;
    Request::post(UPSTREAM, path)
        .header("prefer", "respond-async")
        .json(&json!({"input": input(job)?}))?
        .send_to_end()
}

/// The path that creates a prediction of this model.
fn model_path(model: &str) -> Result<String, Error> {
    let is_name = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_allowed)
    };
    match model.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => {
            Ok(format!("/models/{owner}/{name}/predictions"))
        }
        _ => Err(Error::invalid(
            MODEL,
            "the model must be an owner and a name, such as black-forest-labs/flux-schnell",
        )),
    }
}

/// The input of the model. Fields that the job does not set are left out.
fn input(job: &Job) -> Result<Map<String, Value>, Error> {
    let mut input = Map::new();
    let mut set = |name: &str, value: Value| input.insert(name.to_owned(), value);
    set("prompt", json!(job.prompt));
    if job.count > 1 {
        set("num_outputs", json!(job.count));
    }
    if let Some(size) = job.size {
        set("width", json!(size.width));
        set("height", json!(size.height));
    }
    if let Some(seed) = job.seed {
        set("seed", json!(seed));
    }
    let parameters = job.parse_parameters(&["prompt", "num_outputs", "seed"])?;
    merge_patch_fields(&mut input, parameters);
    Ok(input)
}

/// Requests the state of a prediction until it has ended.
fn wait_until_ended(mut document: Document) -> Result<Document, Error> {
    let mut poll_ms = POLL_MS;
    let mut is_first = true;
    loop {
        let prediction: Prediction = document.parse()?;
        if std::mem::take(&mut is_first) {
            // A text of this length is never refused.
            job::remember(&prediction.id).ok();
        }
        match prediction.status {
            Status::Succeeded => return Ok(document),
            Status::Failed => return Err(prediction.failure()),
            Status::Canceled => {
                let message = "the prediction was cancelled at Replicate";
                return Err(Error::new(ErrorKind::Upstream, message));
            }
            Status::Starting | Status::Processing => {}
        }
        let progress = Progress {
            fraction: find_progress(&prediction.logs),
            queue_position: None,
            note: Some(prediction.status.note().into()),
        };
        job::report(&progress, None::<&Image>);
        // The job may have been cancelled while the prediction was created.
        if is_cancelled() || !job::sleep(poll_ms) {
            return Err(cancel(&document));
        }
        document = match document.get_url("/urls/get") {
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(cancel(&document)),
            response => response?.success()?.document()?,
        };
        poll_ms = (poll_ms + poll_ms / 2).min(MAX_POLL_MS);
    }
}

/// Cancels the prediction of this document. Returns the error of the job, which does not change if Replicate cannot be
/// reached.
fn cancel(document: &Document) -> Error {
    document.post_url("/urls/cancel").ok();
    Error::new(ErrorKind::Cancelled, "the job was cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_path_accepts_owner_and_name_only() {
        let path = "/models/black-forest-labs/flux-1.1-pro/predictions";
        let found = model_path("black-forest-labs/flux-1.1-pro").unwrap();
        assert_eq!(found, path);
        for model in ["", "flux", "/flux", "a/", "a/b/c", "a/..", "a/b?x", "a b/c"] {
            assert_eq!(
                model_path(model).unwrap_err().field.as_deref(),
                Some(MODEL),
                "{model}"
            );
        }
    }

    #[test]
    fn input_holds_what_the_job_sets() {
        let job = Job {
            prompt: "a fox".into(),
            seed: Some(7),
            parameters: r#"{"aspect_ratio": "16:9"}"#.into(),
            ..Job::default()
        };
        let expected = json!({"prompt": "a fox", "seed": 7, "aspect_ratio": "16:9"});
        assert_eq!(Value::Object(input(&job).unwrap()), expected);
    }
}
