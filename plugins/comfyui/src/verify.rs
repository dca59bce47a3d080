//! Whether the workflows can be used, and what they do with a job on this server.

use std::collections::BTreeSet;

use pinhole_sdk::{Error, ErrorKind, Explanation, Settings, Verification};
use serde_json::Value;

use crate::settings::EDIT;
use crate::wire::{self, object_info_path, request_json};
use crate::workflow::{Schemas, Workflow};

/// Maximum number of classes whose schemas are requested.
const MAX_CLASSES: usize = 16;
/// Maximum number of devices and of model files in a text.
const MAX_LISTED: usize = 5;
const CHECKPOINT_LOADER: &str = "CheckpointLoaderSimple";

/// Checks the settings, then requests the length of the queue, the shortest response that only ComfyUI
/// has.
pub(crate) fn verify(settings: &Settings) -> Result<Verification, Error> {
    Workflow::for_generation(settings)?;
    Workflow::for_edit(settings, false, None)?;
    let queue: Value = request_json(wire::PROMPT)?;
    if queue.get("exec_info").is_none() {
        return Err(Error::protocol(
            "the server at the base URL is not ComfyUI: check the URL",
        ));
    }
    Ok(Verification {
        server: describe_server(),
        problems: Vec::new(),
    })
}

/// Where the workflows place the values of a job, and what they do not do on this server.
pub(crate) fn explain(settings: &Settings) -> Result<Explanation, Error> {
    let mut generate = Workflow::for_generation(settings)?;
    let mut edit = Workflow::for_edit(settings, false, None)?;
    let mut problems = Vec::new();
    for workflow in [&mut generate, &mut edit] {
        workflow.apply_schemas(&request_schemas(workflow.unknown_classes())?)?;
        if !workflow.is_default {
            problems.extend(workflow.problems());
        }
    }
    let mut rows = generate.placements();
    match default_edit_problem(&edit)? {
        // Rows would say that edits are possible.
        Some(problem) => problems.push(problem),
        None => rows.extend(edit.placements()),
    }
    Ok(Explanation { rows, problems })
}

/// The schemas of these classes, as far as the server shows them.
pub(crate) fn request_schemas(classes: BTreeSet<String>) -> Result<Schemas, Error> {
    let mut schemas = Schemas::default();
    for class in classes.iter().take(MAX_CLASSES) {
        schemas.request(class)?;
    }
    Ok(schemas)
}

/// Why edits need more settings on this server: the default edit workflow needs a checkpoint.
fn default_edit_problem(edit: &Workflow) -> Result<Option<String>, Error> {
    if !edit.is_default {
        return Ok(None);
    }
    let choices = match request_json::<Value>(&object_info_path(CHECKPOINT_LOADER)) {
        Ok(schemas) => wire::parse_choices(&schemas, CHECKPOINT_LOADER, "ckpt_name"),
        Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) => {
            return Err(error);
        }
        Err(_) => return Ok(None),
    };
    let workflow = &EDIT.workflow;
    let listed: Vec<&str> = choices
        .iter()
        .map(String::as_str)
        .take(MAX_LISTED)
        .collect();
    Ok(Some(if choices.is_empty() {
        format!(
            "editing does not work: {workflow} is not set, and the server has no checkpoint for the \
             built-in edit workflow"
        )
    } else if choices.iter().any(|name| name == "model.safetensors") {
        return Ok(None);
    } else {
        format!(
            "editing needs a checkpoint: {workflow} is not set, so edits use a built-in Stable Diffusion \
             workflow with the model of the job, such as {}",
            listed.join(", ")
        )
    }))
}

/// The version and the devices of the server, if it shows them.
fn describe_server() -> Option<String> {
    let stats: Value = request_json(wire::SYSTEM_STATS).ok()?;
    let version = stats
        .pointer("/system/comfyui_version")
        .and_then(Value::as_str);
    let devices = stats.get("devices").and_then(Value::as_array);
    let devices = devices.into_iter().flatten().take(MAX_LISTED);
    let described = devices.filter_map(|device| {
        let name = device.get("name")?.as_str()?;
        let memory = device.get("vram_total").and_then(Value::as_u64);
        Some(match memory {
            Some(bytes) if bytes > 0 => format!("{name} ({} GiB)", (bytes + (1 << 29)) >> 30),
            _ => name.to_owned(),
        })
    });
    let parts: Vec<String> = std::iter::once(format!(
        "ComfyUI {}",
        version.unwrap_or("of unknown version")
    ))
    .chain(described)
    .collect();
    Some(parts.join(", "))
}
