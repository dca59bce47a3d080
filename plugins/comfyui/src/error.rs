//! Error responses of ComfyUI, and failures of a job.

mod execution;
mod validation;

use pinhole_sdk::upstream_text::{self, truncate};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use crate::settings::{API_KEY, EDIT, WorkflowKeys};
use crate::workflow::Workflow;

pub(crate) use execution::{execution_failed, interrupted, lost_job};
pub(crate) use validation::{check_node_errors, from_job_refusal};

/// Maximum length of the server's text in a message, in bytes.
const MAX_TEXT_BYTES: usize = 300;

/// The error for an error response to any request but a job.
pub(crate) fn from_refusal(refusal: Refusal) -> Error {
    let mut error = Error::new(refusal.kind(), short_line(&refusal.message()));
    error.retry_after_ms = refusal.retry_after_ms;
    match refusal.status {
        401 => error.with_field(API_KEY),
        403 if refusal.text.is_empty() => {
            error.message =
                "ComfyUI, or a proxy in front of it, denies access to this server".into();
            error
        }
        _ => error,
    }
}

/// If the default edit workflow lacks its checkpoint, the error says that editing is not set up: the host
/// may then generate an image, and an operator knows what to set.
pub(crate) fn explain_default_edit(mut error: Error, workflow: &Workflow) -> Error {
    let is_edit = workflow.keys.workflow.name == EDIT.workflow.name;
    let lacks_checkpoint = error.code.as_deref() == Some("value_not_in_list")
        && error.field.as_deref() == Some("ckpt_name");
    if !(is_edit && workflow.is_default && lacks_checkpoint) {
        return error;
    }
    error.kind = ErrorKind::Unsupported;
    error.field = Some(EDIT.workflow.name.to_owned());
    error.message = format!(
        "editing is not set up: the built-in edit workflow needs a Stable Diffusion checkpoint; set \
         IMAGES_EDIT_COMFYUI_WORKFLOW to a workflow that edits, or IMAGE_EDIT_MODEL to a checkpoint of \
         the server ({})",
        error.message
    );
    error
}

/// The error if a path does not exist that every ComfyUI has.
pub(crate) fn not_comfyui(status: u16, path: &str) -> Error {
    Error::protocol(format!(
        "the server at the base URL (COMFYUI_BASE_URL) is not ComfyUI: POST {path} returned status \
         {status}"
    ))
}

/// The error if the workflow's result needs a socket, and the server opens none.
pub(crate) fn no_socket(keys: &WorkflowKeys) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "the workflow in {} sends its image over a WebSocket, but ComfyUI cannot be reached by one: let \
             the proxy in front of ComfyUI pass WebSockets (path /ws), or save the image with a SaveImage node",
            keys.workflow
        ),
    )
}

fn text_at<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The first line, truncated. Advice for the server's operator or a traceback may follow it.
fn short_line(text: &str) -> String {
    truncate(upstream_text::first_line(text), MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_refusal_maps_status() {
        let error = |status: u16| from_refusal(Refusal::new(status, &[], "<html>".to_owned()));
        let login = error(401);
        assert_eq!(
            (login.kind, login.field.as_deref()),
            (ErrorKind::Unauthorized, Some("api-key"))
        );
        assert_eq!(error(502).kind, ErrorKind::Unavailable);
    }
}
