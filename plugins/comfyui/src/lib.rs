//! `comfyui`: an image engine for a workflow that runs on a ComfyUI server.
//!
//! The operator sets the workflow, and may map the values of a job (prompt, size and so on) to its
//! nodes; otherwise the nodes are detected. `workflow` writes a job into the graph, `upload` sends its
//! images to the server, `execution` queues the graph, follows it and downloads the images, and
//! `cancellation` removes an abandoned job from the server.

mod cancellation;
mod error;
mod execution;
mod frame;
mod node_progress;
mod progress;
mod settings;
mod upload;
mod wire;
pub mod workflow;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Image, Job, Model, Output,
    Settings, Upstream, Verification, job,
};
use serde_json::Value;

use wire::request_json;
use workflow::{JobValues, Workflow};

const UPSTREAM: &str = "api";
/// Maximum number of images in a job. They form one batch, whose graphics memory grows with it.
const MAX_COUNT: u32 = 10;
/// Maximum number of source images of an edit.
const MAX_SOURCES: u32 = 16;

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
            settings: settings::declare(),
            upstreams: vec![describe_upstream()],
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let workflow = Workflow::for_generation(&settings)?;
        let values = JobValues::from_job(&job, job::random())?;
        workflow.validate_parameters(&values)?;
        run_workflow(&workflow, &values, job.count, Vec::new())
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let mask_size = mask.as_ref().map(Image::size);
        let mut workflow = Workflow::for_edit(&settings, job.size.is_some(), mask_size)?;
        let mut values = JobValues::from_job(&job, job::random())?;
        workflow.validate_parameters(&values)?;
        let uploaded_mask = match mask {
            Some(mask) if workflow.add_mask_input()? => Some(to_white_mask(&mask)?),
            other => other,
        };
        let mut warnings = Vec::new();
        let (given, loaded) = (sources.len(), workflow.source_count());
        if given > loaded {
            warnings.push(format!(
                "used {loaded} of {given} source images: the workflow loads no more"
            ));
        }
        warnings.extend(workflow.crop_note(&sources));
        values.sources = upload::upload_images(sources.iter().take(loaded))?;
        values.mask = upload::upload_images(uploaded_mask.iter())?.pop();
        run_workflow(&workflow, &values, job.count, warnings)
    }

    /// The choices of the input that takes the model. If its node does not list them, the files in the
    /// folder that it reads.
    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let (class, input) = Workflow::for_generation(&settings)?.model_input();
        let schemas: Result<Value, Error> = request_json(&wire::object_info_path(&class));
        let choices = match &schemas {
            Ok(schemas) => wire::parse_choices(schemas, &class, &input),
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.clone()),
        };
        let names = match wire::model_folder(&input) {
            Some(folder) if choices.is_empty() => {
                request_json(&format!("/models/{}", percent_encode(folder)))?
            }
            _ => choices,
        };
        let to_model = |name: String| Model {
            id: name.clone(),
            name,
        };
        Ok(names.into_iter().map(to_model).collect())
    }

    /// Requests the length of the queue, the shortest response that only ComfyUI has.
    fn verify(settings: Settings) -> Result<Verification, Error> {
        Workflow::for_generation(&settings)?;
        Workflow::for_edit(&settings, false, None)?;
        let queue: Value = request_json(wire::PROMPT)?;
        if queue.get("exec_info").is_none() {
            return Err(Error::protocol(
                "the server at the base URL is not ComfyUI: check the URL",
            ));
        }
        Ok(Verification::default())
    }
}

pinhole_sdk::export!(ComfyUi);

/// Runs the workflow with a job's values, and returns its images with `warnings` for the user.
fn run_workflow(
    workflow: &Workflow,
    values: &JobValues,
    count: u32,
    mut warnings: Vec<String>,
) -> Result<Output, Error> {
    warnings.extend(workflow.unused_values_note(values));
    if let Some((requested, size)) = values.rounded_size {
        warnings.push(format!(
            "generated at {size} instead of {requested}: sides are multiples of 8"
        ));
    }
    let result = execution::run(workflow, values)
        .map_err(|error| add_missing_image(error, workflow, values))?;
    warnings.extend(result.warnings);
    let (received, requested) = (result.images.len(), count as usize);
    if received < requested {
        warnings.push(format!("{received} of {requested} images received"));
    }
    Ok(Output {
        images: result.images,
        revised_prompt: None,
        details: workflow.details(values, &result.prompt_id),
        warnings,
    })
}

/// Adds to the error for a missing file which image the job does not have: a loader without an image
/// names a file that only the workflow's author knows.
fn add_missing_image(mut error: Error, workflow: &Workflow, values: &JobValues) -> Error {
    if error.code.as_deref() == Some("custom_validation_failed")
        && let Some(missing) = workflow.missing_image(values)
    {
        error.message = format!("{}; {missing}", error.message);
    }
    error
}

fn to_white_mask(mask: &Image) -> Result<Image, Error> {
    mask.white_mask()
        .map_err(|why| Error::invalid("mask", format!("cannot use the mask: {why}")))
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
        base_url: settings::BASE_URL.into(),
        credential: Credential::Bearer(settings::API_KEY.into()),
        requests: requests.map(str::to_owned).into(),
        also: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_covers_every_request() {
        let granted = describe_upstream().requests;
        for (method, path) in [
            ("POST", wire::PROMPT.to_owned()),
            ("GET", wire::PROMPT.to_owned()),
            ("GET", wire::QUEUE.to_owned()),
            ("POST", wire::QUEUE.to_owned()),
            ("POST", wire::INTERRUPT.to_owned()),
            ("POST", upload::PATH.to_owned()),
            ("GET", wire::history_path("x")),
            ("GET", wire::object_info_path("x")),
            ("GET", wire::socket_path("x")),
            ("POST", wire::cancel_path("x")),
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
