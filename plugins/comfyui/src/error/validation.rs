//! Refusals of a job: ComfyUI validates the graph before it runs it.

use std::collections::BTreeSet;

use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::{Map, Value};

use super::{from_refusal, not_comfyui, short_line, text_at};
use crate::settings::WorkflowKeys;
use crate::workflow::{Graph, image_outputs, sort_ids};

/// Maximum number of files in a message.
const MAX_CHOICES: usize = 10;
/// Maximum number of warnings about invalid nodes.
const MAX_NOTES: usize = 10;
/// Inputs that name a model file. Those of text encoders also have numbers.
const MODEL_INPUTS: [&str; 7] = [
    "ckpt_name",
    "unet_name",
    "vae_name",
    "lora_name",
    "clip_name",
    "control_net_name",
    "model_name",
];

/// The error for the refusal of a job whose workflow is in the settings `keys`.
pub(crate) fn from_job_refusal(refusal: Refusal, keys: &WorkflowKeys) -> Error {
    let body = refusal.json.as_ref();
    let error = body.and_then(|body| body.get("error"));
    match (refusal.status, error) {
        (400, Some(error)) => {
            let node_errors = body.and_then(|body| body.get("node_errors"));
            invalid_graph(error, node_errors.unwrap_or(&Value::Null), keys)
        }
        (500, None) => {
            let workflow = &keys.workflow;
            let message = format!(
                "ComfyUI cannot read the workflow in {workflow}: export it again with Save (API Format)"
            );
            Error::invalid(workflow.name, message)
        }
        (status @ (404 | 405 | 501), _) => not_comfyui(status, "/prompt"),
        _ => from_refusal(refusal),
    }
}

fn invalid_graph(error: &Value, node_errors: &Value, keys: &WorkflowKeys) -> Error {
    let workflow = keys.workflow.name;
    let error_type = text_at(error, "/type");
    let message = text_at(error, "/message");
    let found = match (error_type, missing_class(error)) {
        ("missing_node_type", class) => {
            let title = || text_at(error, "/extra_info/node_title");
            missing_node(class.unwrap_or_else(title), workflow)
        }
        ("invalid_prompt", Some(class)) => missing_node(class, workflow),
        ("invalid_prompt", None) if message.contains("class_type") => {
            Error::new(ErrorKind::NotFound, short_line(message)).with_field(workflow)
        }
        _ => {
            let first = parse_node_errors(node_errors, keys).into_iter().next();
            if let Some(node_error) = first {
                return node_error;
            }
            let details = match text_at(error, "/details") {
                "" if error_type == "prompt_outputs_failed_validation" => {
                    "ComfyUI gave no details: see its log, and look for nodes that are linked in a circle"
                }
                details => details,
            };
            let text = if details.is_empty() {
                short_line(message)
            } else {
                short_line(&format!("{message}: {details}"))
            };
            Error::invalid(workflow, text)
        }
    };
    found.with_code(short_line(error_type))
}

/// The class that the server does not have. Up to version 0.11.1 only the message contains it.
fn missing_class(error: &Value) -> Option<&str> {
    let class = error
        .pointer("/extra_info/class_type")
        .and_then(Value::as_str);
    class.or_else(|| {
        let (before, _) = text_at(error, "/message").split_once(" does not exist")?;
        Some(before.rsplit_once("node ")?.1)
    })
}

fn missing_node(class: &str, workflow: &str) -> Error {
    let message = format!(
        "ComfyUI has no node {:?}: install the custom node that provides it",
        short_line(class)
    );
    Error::new(ErrorKind::NotFound, message).with_field(workflow)
}

/// The first error of each invalid node, in the order of nodes.
fn parse_node_errors(node_errors: &Value, keys: &WorkflowKeys) -> Vec<Error> {
    let Some(nodes) = node_errors.as_object() else {
        return Vec::new();
    };
    let first_error = |id: &str| {
        let node = nodes.get(id)?;
        let error = node.pointer("/errors/0")?;
        let class = text_at(node, "/class_type");
        let node_name = format!("{class} (node {})", short_line(id));
        Some(invalid_input(&node_name, error, keys))
    };
    sort_ids(nodes.keys().map(String::as_str))
        .into_iter()
        .filter_map(first_error)
        .collect()
}

fn invalid_input(node_name: &str, error: &Value, keys: &WorkflowKeys) -> Error {
    let error_type = text_at(error, "/type");
    let input = text_at(error, "/extra_info/input_name");
    let field = if input.is_empty() {
        keys.workflow.name
    } else {
        input
    };
    let names_model = input.starts_with("clip_name") || MODEL_INPUTS.contains(&input);
    let found = if error_type == "value_not_in_list" && names_model {
        let message = format!(
            "{node_name}: ComfyUI has no {:?} for {input}: {}",
            short_line(text_at(error, "/extra_info/received_value")),
            choice_hint(error, input)
        );
        Error::new(ErrorKind::NotFound, message)
    } else {
        let message = text_at(error, "/message");
        let details = text_at(error, "/details");
        Error::new(
            ErrorKind::Invalid,
            short_line(&format!("{node_name}: {message}: {details}")),
        )
    };
    found
        .with_field(short_line(field))
        .with_code(short_line(error_type))
}

/// Checks the errors of a job that was queued although some nodes are invalid. Fails if no image can
/// result from it; otherwise returns a note for each invalid node.
pub(crate) fn check_node_errors(
    graph: &Graph,
    node_errors: &Value,
    keys: &WorkflowKeys,
) -> Result<Vec<String>, Error> {
    let errors = parse_node_errors(node_errors, keys);
    let invalid_outputs: BTreeSet<&str> = node_errors
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(|node| node.get("dependent_outputs")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let has_no_image = image_outputs(graph).is_subset(&invalid_outputs);
    let mut warnings = Vec::new();
    for error in errors.into_iter().take(MAX_NOTES) {
        if has_no_image {
            return Err(error);
        }
        warnings.push(format!("skipped: {}", error.message));
    }
    Ok(warnings)
}

/// The remedy for a missing file, with the available files if they are few.
fn choice_hint(error: &Value, input: &str) -> String {
    let config = |pointer| error.pointer(pointer).and_then(Value::as_array);
    let choices = config("/extra_info/input_config/0")
        .or_else(|| config("/extra_info/input_config/1/options"));
    let names: Vec<&str> = choices
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // These inputs take the job's model.
    let role = match input {
        "ckpt_name" | "unet_name" | "model_name" => " as the model",
        _ => "",
    };
    match names.len() {
        0 => format!("choose an available file{role}, or add this file"),
        1..=MAX_CHOICES => short_line(&format!(
            "choose an available file{role}: {}",
            names.join(", ")
        )),
        many => format!("choose one of the {many} available files{role}"),
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::testing;

    use super::*;
    use crate::settings::GENERATE;

    fn job_error(status: u16, body: &str) -> Error {
        from_job_refusal(Refusal::new(status, &[], body.to_owned()), GENERATE)
    }

    /// Checks the error for the recorded refusal of this label.
    #[track_caller]
    fn check(label: &str, kind: ErrorKind, field: &str, message: &str) {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../../testdata/refusals.json")).unwrap();
        let found = recorded
            .iter()
            .find(|recorded| recorded["label"] == label)
            .unwrap();
        let error = from_job_refusal(testing::recorded_refusal(found), GENERATE);
        assert_eq!(
            (
                error.kind,
                error.field.unwrap_or_default().as_str(),
                error.message.as_str()
            ),
            (kind, field, message),
            "{label}"
        );
    }

    #[test]
    fn missing_node_or_model_is_not_found() {
        use ErrorKind::NotFound;
        check(
            "missing node class",
            NotFound,
            "workflow",
            r#"ComfyUI has no node "NotInstalledNode": install the custom node that provides it"#,
        );
        check(
            "no class_type",
            NotFound,
            "workflow",
            r#"ComfyUI has no node "canvas": install the custom node that provides it"#,
        );
        check(
            "checkpoint not installed: value_not_in_list",
            NotFound,
            "ckpt_name",
            r#"CheckpointLoaderSimple (node 4): ComfyUI has no "v1-5-pruned-emaonly.safetensors" for ckpt_name: choose an available file as the model: random-sd15-tiny.safetensors, random-sd15.safetensors"#,
        );
    }

    #[test]
    fn missing_node_of_older_server_is_in_message() {
        let body = r#"{"error": {"type": "invalid_prompt", "details": "Node ID '#4'", "extra_info": {},
            "message": "Cannot execute because node NotInstalledNode does not exist."}, "node_errors": {}}"#;
        let error = job_error(400, body);
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(
            error.message.contains("\"NotInstalledNode\""),
            "{}",
            error.message
        );
        let without_class = r#"{"error": {"type": "invalid_prompt", "extra_info": {},
            "message": "Cannot execute because a node is missing the class_type property."}, "node_errors": {}}"#;
        assert_eq!(job_error(400, without_class).kind, ErrorKind::NotFound);
    }

    #[test]
    fn invalid_input_is_the_field() {
        for (label, field, message) in [
            (
                "required_input_missing",
                "width",
                "EmptyImage (node 4): Required input is missing: width",
            ),
            (
                "value_smaller_than_min",
                "width",
                "EmptyImage (node 4): Value 0 smaller than min of 1: width",
            ),
            (
                "value_bigger_than_max and smaller_than_min at once",
                "width",
                "EmptyImage (node 4): Value 20000 bigger than max of 16384: width",
            ),
            (
                "unknown sampler: value_not_in_list (list longer than 20)",
                "sampler_name",
                "KSampler (node 3): Value not in list: sampler_name: 'Euler a' not in (list of length 44)",
            ),
            (
                "EmptyLatentImage width below 16",
                "width",
                "EmptyLatentImage (node 5): Value 10 smaller than min of 16: width",
            ),
            (
                "LoadImage missing file: custom_validation_failed",
                "image",
                "LoadImage (node 1): Custom validation failed for node: image - Invalid image file: does-not-exist.png",
            ),
        ] {
            check(label, ErrorKind::Invalid, field, message);
        }
    }

    #[test]
    fn invalid_graph_blames_workflow_setting() {
        let unreadable = "ComfyUI cannot read the workflow in setting workflow (COMFYUI_WORKFLOW): \
                          export it again with Save (API Format)";
        for (label, message) in [
            (
                "link to a node that is not in the graph",
                "SaveImage (node 5): Exception when validating node: '99'",
            ),
            (
                "dependency cycle",
                "ImageInvert (node 2): Dependency cycle detected: 3 (ImageScale) -> 2 (ImageInvert) -> 3 (ImageScale)",
            ),
            ("prompt_no_outputs", "Prompt has no outputs"),
            ("no prompt key", "No prompt provided: No prompt provided"),
            ("malformed JSON: 500 text/plain", unreadable),
            (
                "UI-format (not API-format) workflow sent by mistake: 500 text/plain",
                unreadable,
            ),
        ] {
            check(label, ErrorKind::Invalid, "workflow", message);
        }
    }

    #[test]
    fn empty_forbidden_response_blames_proxy() {
        check(
            "Origin header not matching Host: 403 empty body",
            ErrorKind::Forbidden,
            "",
            "ComfyUI, or a proxy in front of it, denies access to this server",
        );
    }

    #[test]
    fn code_is_the_servers_error_type() {
        let no_outputs =
            r#"{"error": {"type": "prompt_no_outputs", "message": "m", "details": ""}}"#;
        assert_eq!(
            job_error(400, no_outputs).code.as_deref(),
            Some("prompt_no_outputs")
        );
        let invalid_node =
            r#"{"error": {}, "node_errors": {"4": {"errors": [{"type": "bad_linked_input"}]}}}"#;
        assert_eq!(
            job_error(400, invalid_node).code.as_deref(),
            Some("bad_linked_input")
        );
    }

    #[test]
    fn unexpected_refusal_is_tolerated() {
        for body in [
            "",
            "[]",
            r#"{"error": 3}"#,
            r#"{"error": {}, "node_errors": [1]}"#,
            r#"{"error": {}, "node_errors": {"": {}}}"#,
        ] {
            assert_eq!(job_error(400, body).kind, ErrorKind::Invalid, "{body}");
        }
        // ComfyUI does not send a JSON body with status 500.
        assert_eq!(
            job_error(500, r#"{"error": "down"}"#).kind,
            ErrorKind::Upstream
        );
    }

    #[test]
    fn check_node_errors_fails_without_image() {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../../testdata/partial.json")).unwrap();
        let check_recorded = |index: usize| {
            let graph = recorded[index]["graph"].as_object().unwrap();
            check_node_errors(graph, &recorded[index]["response"]["node_errors"], GENERATE)
        };
        let error = check_recorded(0).unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some("width"))
        );
        let warnings = check_recorded(1).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("skipped: "), "{warnings:?}");
    }
}
