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
mod memory;
mod node_progress;
mod progress;
mod runs;
mod settings;
mod upload;
mod verify;
mod wire;
pub mod workflow;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Explanation, Image, Job, Model,
    Output, Settings, Upstream, Verification, job,
};
use serde_json::Value;

use wire::request_json;
use workflow::{JobImages, JobValues, Schemas, Workflow};

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
                strength: true,
                max_count: MAX_COUNT,
                max_sources: MAX_SOURCES,
            },
            settings: settings::declare(),
            upstreams: vec![describe_upstream()],
            parameters: Vec::new(),
            // The inputs of the workflow, which the engine checks.
            other_parameters: true,
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let mut workflow = Workflow::for_generation(&settings)?;
        workflow.apply_schemas(&verify::request_schemas(workflow.unknown_classes())?)?;
        let values = JobValues::from_job(&job, job::random())?;
        workflow.validate_parameters(&values)?;
        let warnings = workflow.own_images_note().into_iter().collect();
        runs::run_workflow(&workflow, &values, &job, warnings)
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let mask_size = mask.as_ref().map(Image::size);
        let mut workflow = Workflow::for_edit(&settings, job.size.is_some(), mask_size)?;
        workflow.apply_schemas(&verify::request_schemas(workflow.unknown_classes())?)?;
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
        let mut schemas = Schemas::default();
        let is_optional = |class: &str, input: &str| schemas.is_optional_on_server(class, input);
        let job_images = JobImages {
            sources: given,
            has_mask: uploaded_mask.is_some(),
        };
        warnings.extend(workflow.leave_out_unfilled(job_images, is_optional)?);
        warnings.extend(workflow.own_images_note());
        values.sources = upload::upload_images(sources.iter().take(loaded))?;
        values.mask = upload::upload_images(uploaded_mask.iter())?.pop();
        runs::run_workflow(&workflow, &values, &job, warnings)
    }

    /// The choices of the input that takes the model. If its node does not list them, the files in the
    /// folder that it reads.
    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let (class, input) = Workflow::for_models(&settings)?.model_input();
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
        let to_model = |name: String| Model::new(name.clone(), name);
        Ok(names.into_iter().map(to_model).collect())
    }

    fn verify(settings: Settings) -> Result<Verification, Error> {
        verify::verify(&settings)
    }

    fn explain(settings: Settings) -> Result<Explanation, Error> {
        verify::explain(&settings)
    }
}

pinhole_sdk::export!(ComfyUi);

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
        "GET /system_stats",
    ];
    Upstream {
        name: UPSTREAM.into(),
        base_url: settings::BASE_URL.into(),
        credentials: vec![Credential::Bearer(settings::API_KEY.into())],
        requests: requests.map(str::to_owned).into(),
        ..Upstream::default()
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
            ("GET", wire::SYSTEM_STATS.to_owned()),
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
