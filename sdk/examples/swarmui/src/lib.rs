//! `swarmui`: SwarmUI. An example of an upstream with a WebSocket.
//!
//! A job opens a session, then a WebSocket, and sends its request as the first message. SwarmUI sends progress with previews, and each
//! image as soon as it is done. If the job is cancelled, the engine tells SwarmUI to stop.
//!
//! Source: SwarmUI's API (<https://github.com/mcmonkeyprojects/SwarmUI/blob/master/docs/API.md>).

mod message;

use pinhole_sdk::parameters::merge_patch_fields;
use pinhole_sdk::upstream::{Document, Error as UpstreamError, Frame, Socket, connect};
use pinhole_sdk::{
    Abilities, Description, Engine, Error, ErrorKind, Job, MadeImage, Model, Output, Progress,
    Request, Setting, SettingKind, Settings, Upstream, Verification, job,
};
use serde_json::{Map, Value, json};

use message::{MadeMessage, Message, ProgressMessage, find_seed};

const UPSTREAM: &str = "api";
const BASE_URL: &str = "base-url";
const MODEL: &str = "model";

const MAX_COUNT: u32 = 8;
/// Time without a message after which the engine looks whether the job was cancelled.
const WAIT_MS: u32 = 30_000;
/// Length of an image's metadata in bytes.
const MAX_METADATA_BYTES: u32 = 100_000;

struct SwarmUi;

impl Engine for SwarmUi {
    fn describe() -> Description {
        Description {
            name: "swarmui".into(),
            title: "SwarmUI".into(),
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
            settings: vec![
                Setting::new(BASE_URL, SettingKind::Url, "Base URL", "URL of SwarmUI.")
                    .with_default("http://127.0.0.1:7801")
                    .with_variables(&["SWARMUI_BASE_URL"], &[]),
                Setting::new(
                    MODEL,
                    SettingKind::Text,
                    "Model",
                    "The model of a job that names none.",
                )
                .with_variables(&["SWARMUI_MODEL"], &[]),
            ],
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: BASE_URL.into(),
                // A WebSocket is a GET.
                requests: [
                    "POST /API/GetNewSession",
                    "POST /API/ListT2IParams",
                    "POST /API/InterruptAll",
                    "GET /API/GenerateText2ImageWS",
                    "GET /View/",
                ]
                .map(Into::into)
                .into(),
                ..Upstream::default()
            }],
            // SwarmUI has hundreds, which it checks itself.
            other_parameters: true,
            ..Description::default()
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let session = open_session()?;
        let request = generation(&job, &settings, &session)?;
        let socket = connect(UPSTREAM, "/API/GenerateText2ImageWS")?;
        let images = send_and_receive(&socket, &request, job.count);
        if let Err(error) = &images
            && error.kind == ErrorKind::Cancelled
        {
            interrupt(&session);
        }
        Ok(Output::new(images?))
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        let session = json!({"session_id": open_session()?});
        let list = post("/API/ListT2IParams", &session)?;
        let names = list.pointer("/models/Stable-Diffusion");
        let names = names.and_then(Value::as_array).into_iter().flatten();
        let names = names.filter_map(Value::as_str);
        Ok(names.map(|name| Model::new(name, name)).collect())
    }

    fn verify(_settings: Settings) -> Result<Verification, Error> {
        let session = post("/API/GetNewSession", &json!({}))?;
        let version = session.get("version").and_then(Value::as_str);
        Ok(Verification {
            server: version.map(|version| format!("SwarmUI {version}")),
            ..Verification::default()
        })
    }
}

pinhole_sdk::export!(SwarmUi);

fn post(path: &str, body: &Value) -> Result<Value, Error> {
    let response = Request::post(UPSTREAM, path).json(body)?.send()?;
    let json: Value = response.success()?.json()?;
    match message::find_error(&json) {
        Some(error) => Err(error),
        None => Ok(json),
    }
}

fn open_session() -> Result<String, Error> {
    let session = post("/API/GetNewSession", &json!({}))?;
    let id = session.get("session_id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Error::protocol("SwarmUI returned no session"))?;
    Ok(id.to_owned())
}

/// Tells SwarmUI to stop. The job's error does not change if SwarmUI cannot be reached.
fn interrupt(session: &str) {
    let body = json!({"session_id": session, "other_sessions": false});
    post("/API/InterruptAll", &body).ok();
}

/// The message that requests the images. The caller's parameters follow the job's own fields.
fn generation(job: &Job, settings: &Settings, session: &str) -> Result<Value, Error> {
    let model = job.model.clone().or_else(|| settings.text(MODEL));
    let model = model.ok_or_else(|| {
        let message = "no model is chosen: name one in the request, or set SWARMUI_MODEL";
        Error::invalid(MODEL, message)
    })?;
    let mut request = Map::from_iter([
        ("session_id".to_owned(), json!(session)),
        ("images".to_owned(), json!(job.count)),
        ("prompt".to_owned(), json!(job.prompt)),
        ("model".to_owned(), json!(model)),
        // The images are in the messages, and not stored on SwarmUI's disk.
        ("donotsave".to_owned(), json!(true)),
    ]);
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    set(
        "negativeprompt",
        job.negative_prompt.as_ref().map(|it| json!(it)),
    );
    set("width", job.size.map(|size| json!(size.width)));
    set("height", job.size.map(|size| json!(size.height)));
    set("steps", job.steps.map(|steps| json!(steps)));
    set("seed", job.seed.map(|seed| json!(seed)));
    let reserved: Vec<&str> = request.keys().map(String::as_str).collect();
    let parameters = job.parse_parameters(&reserved)?;
    merge_patch_fields(&mut request, parameters);
    Ok(Value::Object(request))
}

/// Sends the request and reads messages until all images are there, or SwarmUI closes the socket.
fn send_and_receive(socket: &Socket, request: &Value, count: u32) -> Result<Vec<MadeImage>, Error> {
    socket.send(&request.to_string())?;
    let mut images = Vec::new();
    while images.len() < count as usize {
        let document = match socket.receive(WAIT_MS) {
            Ok(Some(Frame::Text(document))) => document,
            Ok(_) => continue,
            // SwarmUI closes the socket when it has sent everything, which may be less.
            Err(UpstreamError::Connect(_)) if !images.is_empty() => break,
            Err(error) => return Err(error.into()),
        };
        match Message::from_json(&document.parse()?)? {
            Message::Progress(progress) => report(&document, &progress, images.len(), count),
            Message::Image(made) => images.push(take_image(&document, &made)?),
            Message::Other => {}
        }
    }
    Ok(images)
}

fn report(document: &Document, message: &ProgressMessage, done: usize, count: u32) {
    let progress = Progress {
        fraction: Some((done as f32 + message.overall_percent) / count as f32),
        queue_position: None,
        note: None,
    };
    // A preview that cannot be read is not worth an error.
    let preview = message.preview.as_ref();
    let preview = preview.and_then(|_| document.image("/gen_progress/preview").ok());
    job::report(&progress, preview.as_ref());
}

fn take_image(document: &Document, message: &MadeMessage) -> Result<MadeImage, Error> {
    // Some settings of SwarmUI store the image all the same, and send its path.
    let image = if message.image.starts_with("data:") {
        document.image("/image/image")?
    } else {
        document.fetch_image("/image/image")?
    };
    let metadata = document.text("/image/metadata", MAX_METADATA_BYTES);
    let seed = metadata.ok().and_then(|metadata| find_seed(&metadata));
    Ok(MadeImage::from(image).with_seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            prompt: "a fox".into(),
            model: Some("sdxl".into()),
            seed: Some(7),
            ..Job::default()
        }
    }

    #[test]
    fn generation_has_what_the_job_sets() {
        let job = Job {
            parameters: r#"{"cfgscale": 4}"#.into(),
            ..job()
        };
        let expected = json!({
            "session_id": "s1", "images": 1, "prompt": "a fox", "model": "sdxl", "donotsave": true, "seed": 7, "cfgscale": 4,
        });
        let found = generation(&job, &Settings::default(), "s1").unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn generation_refuses_parameters_that_replace_its_own() {
        for name in ["session_id", "images", "donotsave", "seed"] {
            let job = Job {
                parameters: json!({name: 1}).to_string(),
                ..job()
            };
            let error = generation(&job, &Settings::default(), "s1").unwrap_err();
            assert_eq!(error.field.as_deref(), Some(name));
        }
    }

    #[test]
    fn generation_needs_a_model() {
        let job = Job {
            model: None,
            ..job()
        };
        let error = generation(&job, &Settings::default(), "s1").unwrap_err();
        assert_eq!(error.field.as_deref(), Some(MODEL));
    }
}
