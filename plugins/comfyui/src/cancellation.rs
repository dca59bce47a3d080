//! A job taken back from the server, wherever it is.

use pinhole_sdk::{Request, log};
use serde_json::{Value, json};

use crate::{UPSTREAM, ask, wire};

/// Takes a job back. Servers from 0.25 on do that in one step; older ones are told by queue and
/// interrupt.
pub(crate) fn withdraw(prompt_id: &str) {
    if cancel(prompt_id).is_none() {
        remove(prompt_id);
    }
}

/// The same for a job whose id was not waited for. It has the one that we wished for, unless the
/// server knows of no such wish: then its queue tells which jobs are of our client.
pub(crate) fn withdraw_unanswered(prompt_id: &str, client_id: &str) {
    if cancel(prompt_id) == Some(true) {
        return;
    }
    if let Ok(queue) = ask::<Value>(wire::QUEUE) {
        for prompt_id in wire::jobs_of(&queue, client_id) {
            remove(prompt_id);
        }
    }
}

/// Takes a job out of the queue.
pub(crate) fn dequeue(prompt_id: &str) {
    tell(wire::QUEUE, &json!({ "delete": [prompt_id] }));
}

/// Cancels a job in one step: was there something to cancel? `None` where the server has no such
/// step.
fn cancel(prompt_id: &str) -> Option<bool> {
    let answer = Request::post(UPSTREAM, wire::cancel(prompt_id)).send();
    let said: Value = answer.ok()?.success().ok()?.json().ok()?;
    said.get("cancelled")?.as_bool()
}

/// Takes the job out of the queue, and stops it where it runs by then. Servers up to 0.3.56
/// interrupt whatever runs, whosever id they are told, so only where that is ours.
fn remove(prompt_id: &str) {
    dequeue(prompt_id);
    let queue = ask::<Value>(wire::QUEUE);
    if queue.is_ok_and(|queue| wire::runs(&queue, prompt_id)) {
        tell(wire::INTERRUPT, &json!({ "prompt_id": prompt_id }));
    }
}

/// Sends a message whose failure changes nothing for the job, which has ended.
fn tell(path: &str, body: &Value) {
    let told = Request::post(UPSTREAM, path)
        .json(body)
        .and_then(Request::send);
    if !told.is_ok_and(|answer| answer.success().is_ok()) {
        log::write(log::Level::Warn, &format!("ComfyUI did not take {path}"));
    }
}
