//! Removes a job from the server, whether it is queued or runs.

use pinhole_sdk::{Request, log};
use serde_json::{Value, json};

use crate::UPSTREAM;
use crate::wire::{self, request_json};

/// Cancels a job. Servers from 0.25 on do that in one request; older ones need requests to the queue
/// and to interrupt.
pub(crate) fn cancel_job(prompt_id: &str) {
    if request_cancel(prompt_id).is_none() {
        remove_job(prompt_id);
    }
}

/// Cancels a job whose id did not arrive. The job has the requested id unless the server ignores
/// requested ids; then the queue lists the jobs of our client.
pub(crate) fn cancel_unconfirmed_job(prompt_id: &str, client_id: &str) {
    if request_cancel(prompt_id) == Some(true) {
        return;
    }
    if let Ok(queue) = request_json::<Value>(wire::QUEUE) {
        for client_job in wire::client_jobs(&queue, client_id) {
            remove_job(client_job);
        }
    }
}

pub(crate) fn dequeue_job(prompt_id: &str) {
    post(wire::QUEUE, &json!({ "delete": [prompt_id] }));
}

/// Cancels a job in one request. Returns whether there was a job to cancel, or `None` if the server does
/// not support the request.
fn request_cancel(prompt_id: &str) -> Option<bool> {
    let response = Request::post(UPSTREAM, wire::cancel_path(prompt_id)).send();
    let body: Value = response.ok()?.success().ok()?.json().ok()?;
    body.get("cancelled")?.as_bool()
}

/// Removes the job from the queue, and interrupts it if it runs by then. Servers up to 0.3.56 interrupt
/// any running job, so this sends an interrupt only if ours runs.
fn remove_job(prompt_id: &str) {
    dequeue_job(prompt_id);
    let queue = request_json::<Value>(wire::QUEUE);
    if queue.is_ok_and(|queue| wire::is_running(&queue, prompt_id)) {
        post(wire::INTERRUPT, &json!({ "prompt_id": prompt_id }));
    }
}

/// Sends a request and only logs a failure, because the job has already ended for the client.
fn post(path: &str, body: &Value) {
    let response = Request::post(UPSTREAM, path)
        .json(body)
        .and_then(Request::send);
    if !response.is_ok_and(|response| response.success().is_ok()) {
        log::write(
            log::Level::Warn,
            &format!("ComfyUI did not accept POST {path}"),
        );
    }
}
