//! `comfyui`: images from a workflow that runs on a ComfyUI server.
//!
//! The operator brings the workflow and may say which of its nodes take the prompt, the size and
//! so on; where nothing is said, they are found. A job is written into the graph (`workflow`), its
//! pictures are brought to the server (`upload`), the graph is queued and followed to its end
//! (`run`) and its images are fetched. A job that is not wanted any more is taken back (`stop`).

mod frames;
mod refusal;
mod run;
mod stop;
mod upload;
mod wire;
mod workflow;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Image, Job, Model, Output,
    Picture, Request, Setting, SettingKind, Settings, Upstream, job,
};
use serde_json::Value;

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub use workflow::fuzz;
use workflow::{BY_SERVER, Plan, Values, keys};

const UPSTREAM: &str = "api";
/// Images in one batch; the memory they take on the graphics card grows with it.
const MAX_COUNT: u32 = 10;
/// Source pictures of an edit.
const MAX_SOURCES: u32 = 16;

/// What `preview-method` may be.
const PREVIEW_METHODS: [&str; 5] = [BY_SERVER, "none", "auto", "latent2rgb", "taesd"];

struct ComfyUi;

impl Engine for ComfyUi {
    fn describe() -> Description {
        Description {
            name: "comfyui".into(),
            title: "ComfyUI".into(),
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
                max_sources: MAX_SOURCES,
            },
            settings: describe_settings(),
            upstreams: vec![describe_upstream()],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let plan = Plan::generate(&settings)?;
        let values = Values::of(&job, job::random())?;
        plan.check(&values)?;
        make(&plan, &values, job.count, Vec::new())
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let masked = mask.as_ref().map(Image::size);
        let mut plan = Plan::edit(&settings, job.size.is_some(), masked)?;
        let mut values = Values::of(&job, job::random())?;
        plan.check(&values)?;
        let mask = match mask {
            Some(mask) if plan.place_mask()? => Some(white(&mask)?),
            mask => mask,
        };
        let mut notes = Vec::new();
        let (came, taken) = (sources.len(), plan.sources());
        if came > taken {
            notes.push(format!(
                "{taken} of {came} pictures were used: the workflow loads no more"
            ));
        }
        if let Some(note) = plan.crops(&sources) {
            notes.push(note);
        }
        values.sources = upload::send(sources.iter().take(taken))?;
        values.mask = upload::send(mask.iter())?.pop();
        make(&plan, &values, job.count, notes)
    }

    /// The choices of the input that takes the model; where its node does not tell them, the files
    /// in the folder that it reads.
    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let (class, input) = Plan::generate(&settings)?.model_input();
        let schemas: Result<Value, Error> = ask(&wire::object_info(&class));
        let found = match &schemas {
            Ok(schemas) => wire::models(schemas, &class, &input),
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.clone()),
        };
        match wire::model_folder(&input) {
            Some(folder) if found.is_empty() => {
                let files: Vec<String> = ask(&format!("/models/{}", percent_encode(folder)))?;
                Ok(files.into_iter().map(wire::model).collect())
            }
            _ => Ok(found),
        }
    }

    /// Asks how long the queue is: the shortest of what only ComfyUI answers.
    fn verify(settings: Settings) -> Result<(), Error> {
        Plan::generate(&settings)?;
        Plan::edit(&settings, false, None)?;
        let queue: Value = ask(wire::PROMPT)?;
        match queue.get("exec_info") {
            Some(_) => Ok(()),
            None => Err(Error::protocol(
                "what answers at this address is not ComfyUI",
            )),
        }
    }
}

pinhole_sdk::export!(ComfyUi);

/// Runs the workflow with a job's values and gives its images, with notes for a person.
fn make(plan: &Plan, values: &Values, count: u32, mut notes: Vec<String>) -> Result<Output, Error> {
    notes.extend(plan.left_out(values));
    if let Some((asked, size)) = values.rounded {
        notes.push(format!(
            "{asked} was asked for, and {size} written: sides are multiples of 8"
        ));
    }
    let done = run::run(plan, values).map_err(|error| with_missing(error, plan, values))?;
    notes.extend(done.notes);
    let (came, asked) = (done.images.len(), count as usize);
    if came < asked {
        notes.push(format!("{came} of {asked} images came"));
    }
    Ok(Output {
        pictures: done.images.into_iter().map(Picture::Held).collect(),
        revised_prompt: None,
        details: plan.details(values, &done.prompt_id, &notes),
    })
}

/// A loader that was left as it was names a file that only the workflow's author knows: what the job
/// did not bring is said besides.
fn with_missing(mut error: Error, plan: &Plan, values: &Values) -> Error {
    let unread = error.code.as_deref() == Some("custom_validation_failed");
    if let Some(missing) = plan.missing(values).filter(|_| unread) {
        error.message = format!("{}; {missing}", error.message);
    }
    error
}

fn white(mask: &Image) -> Result<Image, Error> {
    mask.white_mask()
        .map_err(|why| Error::invalid("mask", format!("the mask cannot be used: {why}")))
}

/// The JSON at a path of the server.
fn ask<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, Error> {
    let answer = Request::get(UPSTREAM, path).send()?;
    answer.success().map_err(refusal::refused)?.json()
}

fn describe_upstream() -> Upstream {
    let requests = [
        "GET /ws",
        "POST /prompt",
        "GET /prompt",
        "GET /queue",
        "POST /queue",
        "POST /interrupt",
        "POST /api/jobs",
        "GET /history",
        "GET /view",
        "POST /upload/image",
        "GET /object_info",
        "GET /models",
    ];
    Upstream {
        name: UPSTREAM.into(),
        base_url: "base-url".into(),
        credential: Credential::Bearer("api-key".into()),
        requests: requests.map(str::to_owned).into(),
    }
}

fn describe_settings() -> Vec<Setting> {
    let (generate, edit) = (keys::GENERATE, keys::EDIT);
    let document = |key: &str, title, description| {
        Setting::new(key, SettingKind::Document, title, description)
    };
    vec![
        Setting::new(
            "base-url",
            SettingKind::Url,
            "Base URL",
            "Where ComfyUI runs, such as http://127.0.0.1:8188.",
        )
        .with_variables(&["COMFYUI_BASE_URL"], &["IMAGES_EDIT_COMFYUI_BASE_URL"]),
        Setting::new(
            "api-key",
            SettingKind::Secret,
            "API key",
            "For a proxy in front of ComfyUI that asks for a bearer token. ComfyUI itself asks for none.",
        )
        .with_variables(&["COMFYUI_API_KEY"], &["IMAGES_EDIT_COMFYUI_API_KEY"]),
        document(
            generate.workflow.name,
            "Workflow",
            "The graph to run, as JSON: export it with Save (API Format). \
             Empty means a plain Stable Diffusion 1.5 graph, for which a job names the checkpoint.",
        )
        .with_variables(&[generate.workflow.variable], &[]),
        document(
            generate.nodes.name,
            "Nodes",
            "Which nodes take what, as a JSON list of {\"type\", \"node_ids\", \"key\"}. Types: model, prompt, \
             negative_prompt, width, height, n, steps, seed, or the name of a parameter that a job may set. \
             Without a type, \"value\" is written as it is. Empty means that the nodes are found by their class.",
        )
        .with_variables(&[generate.nodes.variable], &[]),
        document(
            edit.workflow.name,
            "Workflow for edits",
            "The graph that changes pictures, as JSON: export it with Save (API Format). \
             Empty means a plain Stable Diffusion 1.5 graph, for which a job names the checkpoint. \
             The pictures stay in the server's folder input/pinhole: ComfyUI has no request that deletes them.",
        )
        .with_variables(&[], &[edit.workflow.variable]),
        document(
            edit.nodes.name,
            "Nodes for edits",
            "As for the other workflow, with two more types: image, whose first node takes the first picture and so on, \
             and mask. Empty means that the nodes are found by their class.",
        )
        .with_variables(&[], &[edit.nodes.variable]),
        Setting::new(
            "preview-method",
            SettingKind::Choice(PREVIEW_METHODS.map(str::to_owned).into()),
            "Preview method",
            "How ComfyUI makes previews while it draws. server is what it was started with, which is none \
             unless somebody chose another. An older ComfyUI ignores the rest.",
        )
        .with_default(BY_SERVER),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_among_those_described() {
        let granted = describe_upstream().requests;
        for (method, path) in [
            ("POST", wire::PROMPT.to_owned()),
            ("GET", wire::PROMPT.to_owned()),
            ("GET", wire::QUEUE.to_owned()),
            ("POST", wire::QUEUE.to_owned()),
            ("POST", wire::INTERRUPT.to_owned()),
            ("POST", upload::PATH.to_owned()),
            ("GET", wire::history("x")),
            ("GET", wire::object_info("x")),
            ("GET", wire::socket("x")),
            ("POST", wire::cancel("x")),
        ] {
            let request = format!("{method} {path}");
            let covers = |prefix: &String| {
                let rest = request.strip_prefix(prefix.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            };
            assert!(granted.iter().any(covers), "{request}");
        }
    }

    #[test]
    fn workflows_of_edits_are_not_those_of_generating() {
        for setting in describe_settings() {
            let sides = [setting.generate_variables, setting.edit_variables];
            let both = sides.iter().all(|side| !side.is_empty());
            let shared = ["base-url", "api-key"].contains(&setting.key.as_str());
            assert_eq!(both, shared, "{}", setting.key);
        }
    }
}
