//! Runs one job on the server: queues it, waits for its end and downloads its images.

mod download;
mod job_socket;
mod listener;
mod polling;

use pinhole_sdk::{Error, ErrorKind, Image, Request, log};
use serde_json::Value;

use crate::progress::{JobTracker, SOCKET_CLASS};
use crate::settings::WorkflowKeys;
use crate::wire::{self, HistoryEntry, QueuedJob};
use crate::workflow::{Graph, JobValues, Workflow, class, image_outputs};
use crate::{MAX_COUNT, UPSTREAM, cancellation, error};

use job_socket::JobSocket;
use listener::Listener;

/// Maximum number of images of a job.
const MAX_IMAGES: usize = MAX_COUNT as usize;

/// The result of a job.
pub(crate) struct JobResult {
    pub(crate) prompt_id: String,
    pub(crate) images: Vec<Image>,
    /// Notes for the user.
    pub(crate) warnings: Vec<String>,
}

/// One run of a graph on the server.
struct FinishedRun {
    prompt_id: String,
    entry: HistoryEntry,
    /// Images that the job sent over the socket.
    sent_images: Vec<Image>,
    /// The socket broke, so images that the job sent may be missing.
    lost_socket: bool,
    /// The graph's result arrives over the socket only.
    sends_over_socket: bool,
    warnings: Vec<String>,
}

/// Runs a workflow with these values. Returns at least one image, and more than the job requests if the
/// workflow creates more: the server has already generated them.
///
/// Runs it once more if its images are lost: the server repeats only what it has not cached.
pub(crate) fn run(workflow: &Workflow, values: &JobValues) -> Result<JobResult, Error> {
    let (mut graph, keys) = (workflow.fill(values), workflow.keys);
    let mut finish = |graph: &Graph| {
        let mut run = run_graph(workflow, graph)?;
        let prompt_id = std::mem::take(&mut run.prompt_id);
        let mut warnings = std::mem::take(&mut run.warnings);
        let collected = download::collect_images(run, keys, &mut warnings)?;
        Ok((prompt_id, collected, warnings))
    };
    let (mut prompt_id, mut collected, mut warnings) = finish(&graph)?;
    if let Some(nodes) = &collected.lost {
        log::write(
            log::Level::Warn,
            "the images are lost: running the workflow again",
        );
        renew_outputs(&mut graph, nodes);
        (prompt_id, collected, warnings) = finish(&graph)?;
        if collected.lost.is_some() {
            let message = "ComfyUI generated an image but no longer has it";
            if collected.images.is_empty() {
                return Err(Error::protocol(message));
            }
            warnings.push(format!("an image is missing: {message}"));
        }
    }
    Ok(JobResult {
        prompt_id,
        images: collected.images,
        warnings,
    })
}

/// Lets the server run these nodes again, although it has their outputs of an earlier job: an input that the
/// node does not know counts in the comparison of both, and changes nothing else.
fn renew_outputs(graph: &mut Graph, nodes: &[String]) {
    for node in nodes {
        let inputs = graph.get_mut(node).and_then(|node| node.get_mut("inputs"));
        if let Some(inputs) = inputs.and_then(Value::as_object_mut) {
            inputs.insert("pinhole_run".into(), Value::String(wire::random_id()));
        }
    }
}

/// Queues a graph and waits for its end.
fn run_graph(workflow: &Workflow, graph: &Graph) -> Result<FinishedRun, Error> {
    let keys = workflow.keys;
    let client_id = wire::random_id();
    let requested_id = wire::random_id();
    // Before the job is queued: a job without work ends before its response arrives.
    let mut socket = JobSocket::open(client_id.clone())?;
    let sends_over_socket = sends_over_socket(graph);
    if sends_over_socket && !socket.await_greeting()? {
        return Err(error::no_socket(keys));
    }
    let body = wire::job_body(
        graph,
        &client_id,
        &requested_id,
        workflow.preview_method.as_deref(),
    );
    let QueuedJob {
        prompt_id,
        node_errors,
    } = queue_job(&body, keys).inspect_err(|error| {
        if is_abandoned(error) {
            cancellation::cancel_unconfirmed_job(&requested_id, &client_id);
        }
    })?;
    let warnings = error::check_node_errors(graph, &node_errors, keys)
        .inspect_err(|_| cancellation::dequeue_job(&prompt_id))?;
    let tracker = JobTracker::new(graph, &prompt_id);
    let wait = || {
        let heard = Listener::new(socket, tracker, &prompt_id).listen()?;
        Ok((polling::wait_for_history(&prompt_id)?, heard))
    };
    let (entry, heard) = wait().inspect_err(|error| {
        if is_abandoned(error) {
            cancellation::cancel_job(&prompt_id);
        }
    })?;
    Ok(FinishedRun {
        entry,
        sent_images: heard.images,
        lost_socket: heard.lost_socket,
        sends_over_socket,
        warnings,
        prompt_id,
    })
}

/// Whether the result of the graph arrives over the socket only: no node saves it on the server.
fn sends_over_socket(graph: &Graph) -> bool {
    let outputs = image_outputs(graph);
    let is_socket = |id: &&str| class(graph, id) == Some(SOCKET_CLASS);
    !outputs.is_empty() && outputs.iter().all(is_socket)
}

/// Whether the job ended only on our side. An error with a code comes from the server.
fn is_abandoned(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) && error.code.is_none()
}

fn queue_job(body: &Value, keys: &WorkflowKeys) -> Result<QueuedJob, Error> {
    let response = Request::post(UPSTREAM, wire::PROMPT).json(body)?.send()?;
    let success = response
        .success()
        .map_err(|refusal| error::from_job_refusal(refusal, keys))?;
    QueuedJob::parse(success.json()?)
}
