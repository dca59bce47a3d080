//! What ComfyUI says when it refuses a job or fails at it, as errors.

use std::collections::BTreeSet;

use pinhole_sdk::words::{self, cut};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::{Map, Value};

use crate::workflow::keys::Keys;
use crate::workflow::{Graph, image_outputs, in_order};

/// Shown of a text of the server, in bytes.
const MAX_SHOWN: usize = 300;
/// Files that are named to choose from.
const MAX_CHOICES: usize = 10;
/// Nodes of which a note is made.
const MAX_NOTES: usize = 10;
/// Inputs that name a model file; those of text encoders are numbered as well.
const MODEL_INPUTS: [&str; 7] = [
    "ckpt_name",
    "unet_name",
    "vae_name",
    "lora_name",
    "clip_name",
    "control_net_name",
    "model_name",
];

/// The error for a refusal of anything but a job.
pub(crate) fn refused(refusal: Refusal) -> Error {
    let mut error = Error::new(refusal.kind(), first_line(&refusal.message()));
    error.retry_after_ms = refusal.retry_after_ms;
    match refusal.status {
        401 => error.with_field("api-key"),
        403 if refusal.text.is_empty() => {
            error.message =
                "ComfyUI, or a proxy in front of it, does not let this server in".into();
            error
        }
        _ => error,
    }
}

/// The error for the refusal of a job whose workflow is in the settings of these keys.
pub(crate) fn rejected(refusal: Refusal, keys: &Keys) -> Error {
    let said = refusal.json.as_ref().and_then(|json| json.get("error"));
    match (refusal.status, said) {
        (400, Some(said)) => {
            let nodes = refusal
                .json
                .as_ref()
                .and_then(|json| json.get("node_errors"));
            rejected_graph(said, nodes.unwrap_or(&Value::Null), keys)
        }
        (500, None) => {
            let workflow = &keys.workflow;
            let message = format!(
                "ComfyUI cannot read the workflow in {workflow}: export it anew with Save (API Format)"
            );
            Error::invalid(workflow.name, message)
        }
        (status @ (404 | 405 | 501), _) => not_comfyui(status, "/prompt"),
        _ => refused(refusal),
    }
}

/// The error where a path that every ComfyUI has is not there.
pub(crate) fn not_comfyui(status: u16, path: &str) -> Error {
    Error::protocol(format!(
        "what answers at the base URL (COMFYUI_BASE_URL) is not ComfyUI: it has no {path} to post \
         to (status {status})"
    ))
}

fn rejected_graph(said: &Value, node_errors: &Value, keys: &Keys) -> Error {
    let workflow = keys.workflow.name;
    let (kind, message) = (text(said, "/type"), text(said, "/message"));
    let error = match (kind, missing_class(said)) {
        ("missing_node_type", class) => missing_node(
            class.unwrap_or_else(|| text(said, "/extra_info/node_title")),
            workflow,
        ),
        ("invalid_prompt", Some(class)) => missing_node(class, workflow),
        ("invalid_prompt", None) if message.contains("class_type") => {
            Error::new(ErrorKind::NotFound, first_line(message)).with_field(workflow)
        }
        _ => {
            if let Some(error) = errors_of_nodes(node_errors, keys).into_iter().next() {
                return error;
            }
            let details = match text(said, "/details") {
                "" if kind == "prompt_outputs_failed_validation" => {
                    "it says no more, but its log may; look for nodes that are linked in a circle"
                }
                details => details,
            };
            let both = format!("{message}: {details}");
            Error::invalid(
                workflow,
                first_line(if details.is_empty() { message } else { &both }),
            )
        }
    };
    error.with_code(first_line(kind))
}

/// The class that the server does not have. Up to version 0.11.1 it stands only in the message.
fn missing_class(said: &Value) -> Option<&str> {
    let class = said
        .pointer("/extra_info/class_type")
        .and_then(Value::as_str);
    class.or_else(|| {
        let (before, _) = text(said, "/message").split_once(" does not exist")?;
        Some(before.rsplit_once("node ")?.1)
    })
}

fn missing_node(class: &str, workflow: &str) -> Error {
    let message = format!(
        "the server has no node {:?}: install the custom node that brings it",
        first_line(class)
    );
    Error::new(ErrorKind::NotFound, message).with_field(workflow)
}

/// The first error of each node that has one, in the order of nodes.
fn errors_of_nodes(node_errors: &Value, keys: &Keys) -> Vec<Error> {
    let Some(nodes) = node_errors.as_object() else {
        return Vec::new();
    };
    let error = |id: &str| {
        let node = nodes.get(id)?;
        let error = node.pointer("/errors/0")?;
        let place = format!("{} (node {})", text(node, "/class_type"), first_line(id));
        Some(input_error(&place, error, keys))
    };
    in_order(nodes.keys())
        .into_iter()
        .filter_map(error)
        .collect()
}

fn input_error(place: &str, error: &Value, keys: &Keys) -> Error {
    let (kind, input) = (text(error, "/type"), text(error, "/extra_info/input_name"));
    let field = if input.is_empty() {
        keys.workflow.name
    } else {
        input
    };
    let model = input.starts_with("clip_name") || MODEL_INPUTS.contains(&input);
    let found = if kind == "value_not_in_list" && model {
        let name = text(error, "/extra_info/received_value");
        let message = format!(
            "{place}: the server has no {:?} for {input}: {}",
            first_line(name),
            choice(error, input)
        );
        Error::new(ErrorKind::NotFound, message)
    } else {
        let (message, details) = (text(error, "/message"), text(error, "/details"));
        Error::new(
            ErrorKind::Invalid,
            first_line(&format!("{place}: {message}: {details}")),
        )
    };
    found
        .with_field(first_line(field))
        .with_code(first_line(kind))
}

/// Judges a job that was taken although nodes are wrong: the error when that leaves no image of it,
/// else a note for each node.
pub(crate) fn judged(
    graph: &Graph,
    node_errors: &Value,
    keys: &Keys,
) -> Result<Vec<String>, Error> {
    let errors = errors_of_nodes(node_errors, keys);
    let broken: BTreeSet<&str> = node_errors
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(|node| node.get("dependent_outputs")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let spoilt = image_outputs(graph).is_subset(&broken);
    let notes = errors.into_iter().map(|error| match spoilt {
        true => Err(error),
        false => Ok(format!("left out: {}", error.message)),
    });
    notes.take(MAX_NOTES).collect()
}

/// What to do about a file that is not there: the server lists what it has where that is short.
fn choice(error: &Value, input: &str) -> String {
    let config = |pointer| error.pointer(pointer).and_then(Value::as_array);
    let has = config("/extra_info/input_config/0")
        .or_else(|| config("/extra_info/input_config/1/options"));
    let has: Vec<&str> = has
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // These take the job's model.
    let model = match input {
        "ckpt_name" | "unet_name" | "model_name" => " as the model",
        _ => "",
    };
    match has.len() {
        0 => format!("name one that it has{model}, or put it there"),
        1..=MAX_CHOICES => first_line(&format!("name one that it has{model}: {}", has.join(", "))),
        many => format!("name one of the {many} that it has{model}"),
    }
}

/// Is it a picture that was cut off?
fn unreadable(said: &str) -> bool {
    said.contains("Truncated File Read") || said.contains("image file is truncated")
}

/// The error for a job that failed while it ran, from the data of an `execution_error`.
///
/// The traceback and the inputs there hold paths and prompts: neither is read.
pub(crate) fn failed(data: &Value) -> Error {
    let (kind, said) = (
        text(data, "/exception_type"),
        text(data, "/exception_message"),
    );
    let node = match text(data, "/node_type") {
        "" => "ComfyUI".to_owned(),
        class => first_line(class),
    };
    let error = if out_of_memory(kind, said) {
        let message = format!("{node} ran out of memory: ask for a smaller size or fewer images");
        Error::new(ErrorKind::OutOfMemory, message)
    } else if kind.ends_with("UnidentifiedImageError") || unreadable(said) {
        Error::invalid(
            "image",
            format!("{node} cannot read a picture that the workflow loads"),
        )
    } else {
        let line = first_line(said);
        let what = if line.is_empty() {
            "failed without saying why"
        } else {
            &line
        };
        Error::new(ErrorKind::Upstream, format!("{node}: {what}"))
    };
    match kind {
        "" => error,
        kind => error.with_code(first_line(kind)),
    }
}

fn out_of_memory(kind: &str, said: &str) -> bool {
    let words = [
        "out of memory",
        "can't allocate memory",
        "Allocation on device",
    ];
    kind.ends_with("OutOfMemoryError") || words.iter().any(|words| said.contains(words))
}

/// The error for a job that somebody stopped on the server. Its code tells it from our own stopping.
pub(crate) fn interrupted() -> Error {
    let message = "the job was stopped on the ComfyUI server";
    Error::new(ErrorKind::Cancelled, message).with_code("execution_interrupted")
}

/// The error for a job that is neither in the queue nor in the history.
pub(crate) fn forgotten() -> Error {
    let message = "ComfyUI no longer has the job: it was removed, or the server was started anew";
    Error::new(ErrorKind::Upstream, message)
}

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Up to the first line break: what follows is advice to the server's operator or a traceback.
fn first_line(text: &str) -> String {
    cut(words::first_line(text), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::upstream::Header;
    use serde_json::json;

    use super::*;
    use crate::workflow::keys::GENERATE;

    fn refusal(status: u16, body: &str) -> Refusal {
        let no_headers: [Header; 0] = [];
        Refusal::new(status, &no_headers, body.to_owned())
    }

    /// The refusal of a job recorded under this label.
    #[track_caller]
    fn check(label: &str, kind: ErrorKind, field: &str, message: &str) {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/refusals.json")).unwrap();
        let found = recorded
            .iter()
            .find(|refusal| refusal["label"] == label)
            .unwrap();
        let status = u16::try_from(found["status"].as_u64().unwrap()).unwrap();
        let error = rejected(refusal(status, found["body"].as_str().unwrap()), GENERATE);
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
    fn missing_nodes_and_models_are_not_found() {
        use ErrorKind::NotFound;
        check(
            "missing node class",
            NotFound,
            "workflow",
            r#"the server has no node "NotInstalledNode": install the custom node that brings it"#,
        );
        check(
            "no class_type",
            NotFound,
            "workflow",
            r#"the server has no node "canvas": install the custom node that brings it"#,
        );
        check(
            "checkpoint not installed: value_not_in_list",
            NotFound,
            "ckpt_name",
            r#"CheckpointLoaderSimple (node 4): the server has no "v1-5-pruned-emaonly.safetensors" for ckpt_name: name one that it has as the model: random-sd15-tiny.safetensors, random-sd15.safetensors"#,
        );
    }

    #[test]
    fn older_servers_name_a_missing_node_in_the_message() {
        let body = r#"{"error": {"type": "invalid_prompt", "details": "Node ID '#4'", "extra_info": {},
            "message": "Cannot execute because node NotInstalledNode does not exist."}, "node_errors": {}}"#;
        let error = rejected(refusal(400, body), GENERATE);
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(
            error.message.contains("\"NotInstalledNode\""),
            "{}",
            error.message
        );
        let body = r#"{"error": {"type": "invalid_prompt", "extra_info": {},
            "message": "Cannot execute because a node is missing the class_type property."}, "node_errors": {}}"#;
        assert_eq!(
            rejected(refusal(400, body), GENERATE).kind,
            ErrorKind::NotFound
        );
    }

    #[test]
    fn other_refusals_name_the_input() {
        use ErrorKind::{Forbidden, Invalid};
        let read = "ComfyUI cannot read the workflow in setting workflow (COMFYUI_WORKFLOW): \
                    export it anew with Save (API Format)";
        for (label, kind, field, message) in [
            (
                "required_input_missing",
                Invalid,
                "width",
                "EmptyImage (node 4): Required input is missing: width",
            ),
            (
                "value_smaller_than_min",
                Invalid,
                "width",
                "EmptyImage (node 4): Value 0 smaller than min of 1: width",
            ),
            (
                "value_bigger_than_max and smaller_than_min at once",
                Invalid,
                "width",
                "EmptyImage (node 4): Value 20000 bigger than max of 16384: width",
            ),
            (
                "unknown sampler: value_not_in_list (list longer than 20)",
                Invalid,
                "sampler_name",
                "KSampler (node 3): Value not in list: sampler_name: 'Euler a' not in (list of length 44)",
            ),
            (
                "EmptyLatentImage width below 16",
                Invalid,
                "width",
                "EmptyLatentImage (node 5): Value 10 smaller than min of 16: width",
            ),
            (
                "LoadImage missing file: custom_validation_failed",
                Invalid,
                "image",
                "LoadImage (node 1): Custom validation failed for node: image - Invalid image file: does-not-exist.png",
            ),
            (
                "link to a node that is not in the graph",
                Invalid,
                "workflow",
                "SaveImage (node 5): Exception when validating node: '99'",
            ),
            (
                "dependency cycle",
                Invalid,
                "workflow",
                "ImageInvert (node 2): Dependency cycle detected: 3 (ImageScale) -> 2 (ImageInvert) -> 3 (ImageScale)",
            ),
            (
                "prompt_no_outputs",
                Invalid,
                "workflow",
                "Prompt has no outputs",
            ),
            (
                "no prompt key",
                Invalid,
                "workflow",
                "No prompt provided: No prompt provided",
            ),
            ("malformed JSON: 500 text/plain", Invalid, "workflow", read),
            (
                "UI-format (not API-format) workflow sent by mistake: 500 text/plain",
                Invalid,
                "workflow",
                read,
            ),
            (
                "Origin header not matching Host: 403 empty body",
                Forbidden,
                "",
                "ComfyUI, or a proxy in front of it, does not let this server in",
            ),
        ] {
            check(label, kind, field, message);
        }
    }

    #[test]
    fn codes_are_the_servers() {
        let body = r#"{"error": {"type": "prompt_no_outputs", "message": "m", "details": ""}}"#;
        assert_eq!(
            rejected(refusal(400, body), GENERATE).code.as_deref(),
            Some("prompt_no_outputs")
        );
        let body =
            r#"{"error": {}, "node_errors": {"4": {"errors": [{"type": "bad_linked_input"}]}}}"#;
        assert_eq!(
            rejected(refusal(400, body), GENERATE).code.as_deref(),
            Some("bad_linked_input")
        );
    }

    #[test]
    fn odd_refusals_do_no_harm() {
        for body in [
            "",
            "[]",
            r#"{"error": 3}"#,
            r#"{"error": {}, "node_errors": [1]}"#,
            r#"{"error": {}, "node_errors": {"": {}}}"#,
        ] {
            assert_eq!(
                rejected(refusal(400, body), GENERATE).kind,
                ErrorKind::Invalid,
                "{body}"
            );
        }
        let login = refused(refusal(401, "<html>"));
        assert_eq!(
            (login.kind, login.field.as_deref()),
            (ErrorKind::Unauthorized, Some("api-key"))
        );
        assert_eq!(refused(refusal(502, "<html>")).kind, ErrorKind::Unavailable);
        // A 500 that has a JSON body comes from something else than ComfyUI.
        assert_eq!(
            rejected(refusal(500, r#"{"error": "down"}"#), GENERATE).kind,
            ErrorKind::Upstream
        );
    }

    #[test]
    fn a_job_is_spoilt_when_no_image_is_left_of_it() {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/partial.json")).unwrap();
        let judged = |index: usize| {
            let graph = recorded[index]["graph"].as_object().unwrap();
            judged(graph, &recorded[index]["answer"]["node_errors"], GENERATE)
        };
        let error = judged(0).unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some("width"))
        );
        let notes = judged(1).unwrap();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("left out: "), "{notes:?}");
    }

    #[test]
    fn a_failure_says_the_node_and_one_line() {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/frames-errors.json")).unwrap();
        let errors: Vec<Error> = recorded
            .iter()
            .take(3)
            .map(|frame| failed(&frame["data"]))
            .collect();
        let seen: Vec<_> = errors
            .iter()
            .map(|error| (error.kind, error.message.as_str(), error.code.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (
                    ErrorKind::Invalid,
                    "LoadImage cannot read a picture that the workflow loads",
                    Some("PIL.UnidentifiedImageError")
                ),
                (
                    ErrorKind::OutOfMemory,
                    "EmptyImage ran out of memory: ask for a smaller size or fewer images",
                    Some("RuntimeError")
                ),
                (
                    ErrorKind::Upstream,
                    "CheckpointLoaderSimple: Error while deserializing header: header too large",
                    Some("safetensors._safetensors_rust.SafetensorError")
                ),
            ]
        );
    }

    #[test]
    fn failures_of_graphics_cards() {
        for (kind, said, expected) in [
            (
                "torch.OutOfMemoryError",
                "Allocation on device \nThis error means you ran out of memory on your GPU.",
                ErrorKind::OutOfMemory,
            ),
            ("torch.cuda.OutOfMemoryError", "", ErrorKind::OutOfMemory),
            (
                "RuntimeError",
                "CUDA error: out of memory",
                ErrorKind::OutOfMemory,
            ),
            ("ExecutionBlocked", "no\nTraceback", ErrorKind::Upstream),
        ] {
            let error = failed(
                &json!({"node_type": "KSampler", "exception_type": kind, "exception_message": said}),
            );
            assert_eq!(error.kind, expected, "{kind}");
            assert!(!error.message.contains('\n'));
        }
        assert_eq!(
            failed(&Value::Null).message,
            "ComfyUI: failed without saying why"
        );
    }
}
