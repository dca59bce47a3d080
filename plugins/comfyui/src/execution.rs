//! Runs one job on the server: queues it, waits for its end and downloads its images.

mod download;
mod listener;
mod polling;

use pinhole_sdk::upstream::{Error as UpstreamError, Socket, connect};
use pinhole_sdk::{Error, ErrorKind, Image, Request, log};
use serde_json::Value;

use crate::progress::JobTracker;
use crate::settings::WorkflowKeys;
use crate::wire::{self, HistoryEntry, QueuedJob};
use crate::workflow::{Graph, JobValues, Workflow, repeated_outputs};
use crate::{MAX_COUNT, UPSTREAM, cancellation, error};

use listener::Listener;

/// Maximum number of images of a job.
pub(crate) const MAX_IMAGES: usize = MAX_COUNT as usize;

/// Which of the runs of a job this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

/// The result of a job.
pub(crate) struct JobResult {
    pub(crate) prompt_id: String,
    pub(crate) images: Vec<Image>,
    /// Notes for the user.
    pub(crate) warnings: Vec<String>,
}

/// Runs a workflow with these values. Returns at least one image, and more than the job requests if the
/// workflow creates more: the server has already generated them.
pub(crate) fn run(workflow: &Workflow, values: &JobValues, part: Part) -> Result<JobResult, Error> {
    let (graph, keys) = (&workflow.fill(values), workflow.keys);
    let client_id = wire::random_id();
    let requested_id = wire::random_id();
    // Before the job is queued: a job without work ends before its response arrives.
    let socket = open_socket(&client_id)?;
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
    let mut warnings = error::check_node_errors(graph, &node_errors, keys)
        .inspect_err(|_| cancellation::dequeue_job(&prompt_id))?;
    let (entry, sent_images) =
        wait_for_end(graph, socket, &prompt_id, part).inspect_err(|error| {
            if is_abandoned(error) {
                cancellation::cancel_job(&prompt_id);
            }
        })?;
    let repeated = repeated_outputs(graph);
    let files = entry.into_files(&repeated)?;
    let images = download::collect_images(files, sent_images, keys, &mut warnings)?;
    Ok(JobResult {
        prompt_id,
        images,
        warnings,
    })
}

/// Whether the job ended only on our side. An error with a code comes from the server.
fn is_abandoned(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) && error.code.is_none()
}

/// Opens the socket; `None` if that fails, as with some proxies.
fn open_socket(client_id: &str) -> Result<Option<Socket>, Error> {
    let socket = connect(UPSTREAM, &wire::socket_path(client_id)).and_then(|socket| {
        socket.send(&wire::feature_flags())?;
        Ok(socket)
    });
    match socket {
        Ok(socket) => Ok(Some(socket)),
        Err(UpstreamError::Cancelled) => Err(UpstreamError::Cancelled.into()),
        Err(_) => {
            let message = "no WebSocket, so no progress: polling the history instead";
            log::write(log::Level::Warn, message);
            Ok(None)
        }
    }
}

fn queue_job(body: &Value, keys: &WorkflowKeys) -> Result<QueuedJob, Error> {
    let response = Request::post(UPSTREAM, wire::PROMPT).json(body)?.send()?;
    let success = response
        .success()
        .map_err(|refusal| error::from_job_refusal(refusal, keys))?;
    QueuedJob::parse(success.json()?)
}

/// Waits for the job's end. Returns its entry in the history, and the images that it sent over the
/// socket.
fn wait_for_end(
    graph: &Graph,
    socket: Option<Socket>,
    prompt_id: &str,
    part: Part,
) -> Result<(HistoryEntry, Vec<Image>), Error> {
    let sent_images = match socket {
        Some(socket) => {
            let tracker = JobTracker::new(graph, prompt_id, part);
            Listener::new(&socket, tracker, prompt_id).listen()?
        }
        None => Vec::new(),
    };
    Ok((polling::wait_for_history(prompt_id)?, sent_images))
}
