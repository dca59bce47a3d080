//! `comfyui`: images from a workflow that runs on a ComfyUI server.
//!
//! The operator brings the workflow and may say which of its nodes take the prompt, the size and
//! so on; where nothing is said, they are found. A job is written into the graph (`workflow`),
//! queued and followed to its end (`run`), and its images are fetched.

mod frames;
mod refusal;
mod run;
mod wire;
mod workflow;

use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, Job, Model, Output, Picture, Request,
    Setting, SettingKind, Settings, Upstream, job, log,
};
use serde_json::Value;

use workflow::Values;

const UPSTREAM: &str = "api";
/// Images in one batch; the memory they take on the graphics card grows with it.
const MAX_COUNT: u32 = 10;

struct ComfyUi;

impl Engine for ComfyUi {
    fn describe() -> Description {
        Description {
            name: "comfyui".into(),
            title: "ComfyUI".into(),
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
            upstreams: vec![describe_upstream()],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let mut graph = workflow::read(settings.text("workflow").as_deref())?;
        let places = workflow::places(&graph, &entries(&settings)?);
        let values = Values::of(&job, job::random())?;
        let written = workflow::write(&mut graph, places, &values)?;
        if let Some(left_out) = written.left_out(&values)? {
            log::write(log::Level::Info, &left_out);
        }
        let done = run::run(&graph, job.count)?;
        Ok(Output {
            pictures: done.images.into_iter().map(Picture::Held).collect(),
            revised_prompt: None,
            details: written.details(&values, &done.prompt_id),
        })
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let graph = workflow::read(settings.text("workflow").as_deref())?;
        let (class, input) = workflow::model_input(&graph, &entries(&settings)?);
        let answer = Request::get(UPSTREAM, wire::object_info(&class)).send()?;
        let schemas: Value = answer.success().map_err(refusal::refused)?.json()?;
        Ok(wire::models(&schemas, &class, &input))
    }

    /// Asks how long the queue is: the shortest of what only ComfyUI answers.
    fn verify(_settings: Settings) -> Result<(), Error> {
        let answer = Request::get(UPSTREAM, wire::PROMPT).send()?;
        let queue: Value = answer.success().map_err(refusal::refused)?.json()?;
        match queue.get("exec_info") {
            Some(_) => Ok(()),
            None => Err(Error::protocol(
                "what answers at this address is not ComfyUI",
            )),
        }
    }
}

pinhole_sdk::export!(ComfyUi);

fn entries(settings: &Settings) -> Result<Vec<workflow::Entry>, Error> {
    Ok(settings.json("nodes")?.unwrap_or_default())
}

fn describe_upstream() -> Upstream {
    let requests = [
        "POST /prompt",
        "GET /prompt",
        "GET /queue",
        "POST /queue",
        "POST /interrupt",
        "GET /history",
        "GET /view",
        "GET /object_info",
        "GET /system_stats",
        "GET /ws",
        "POST /upload/",
        "POST /api/jobs",
        "GET /api/jobs",
    ];
    Upstream {
        name: UPSTREAM.into(),
        base_url: "base-url".into(),
        credential: Credential::Bearer("api-key".into()),
        requests: requests.map(str::to_owned).into(),
    }
}

fn describe_settings() -> Vec<Setting> {
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
        Setting::new(
            "workflow",
            SettingKind::Document,
            "Workflow",
            "The graph to run, as JSON: export it with Save (API Format). \
             Empty means a plain Stable Diffusion 1.5 graph, for which a job names the checkpoint.",
        )
        .with_variables(&["COMFYUI_WORKFLOW"], &["IMAGES_EDIT_COMFYUI_WORKFLOW"]),
        Setting::new(
            "nodes",
            SettingKind::Document,
            "Nodes",
            "Which nodes take what, as a JSON list of {\"type\", \"node_ids\", \"key\"}. Types: model, prompt, \
             negative_prompt, width, height, n, steps, seed, or the name of a parameter that a job may set. \
             Without a type, \"value\" is written as it is. Empty means that the nodes are found by their class.",
        )
        .with_variables(
            &["COMFYUI_WORKFLOW_NODES"],
            &["IMAGES_EDIT_COMFYUI_WORKFLOW_NODES"],
        ),
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
}
