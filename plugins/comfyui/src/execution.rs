//! Runs one job on the server: queues it, waits for its end and downloads its images.

mod download;
mod job_socket;
mod listener;
mod polling;

use pinhole_sdk::{Error, ErrorKind, Image, Request, log};
use serde_json::Value;

use crate::memory::{self, RunIds};
use crate::progress::{JobTracker, SOCKET_CLASS};
use crate::settings::WorkflowKeys;
use crate::wire::{self, OutputFiles, QueuedJob};
use crate::workflow::{Graph, JobValues, Workflow, class, image_outputs, repeated_outputs};
use crate::{MAX_COUNT, UPSTREAM, cancellation, error};

use job_socket::JobSocket;
use listener::{Listener, SocketOutcome};
use polling::Presence;

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

/// One run of a graph on the server.
struct FinishedRun {
    prompt_id: String,
    files: OutputFiles,
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
pub(crate) fn run(workflow: &Workflow, values: &JobValues, part: Part) -> Result<JobResult, Error> {
    let (mut graph, keys) = (workflow.fill(values), workflow.keys);
    let run = run_graph(workflow, &graph, part)?;
    let (result, lost) = download::collect_images(run, keys)?;
    let Some(nodes) = lost else {
        return Ok(result);
    };
    log::write(
        log::Level::Warn,
        "images are lost: running the workflow again",
    );
    renew_outputs(&mut graph, &nodes);
    let second_run = run_graph(workflow, &graph, part)?;
    let (mut second, still_lost) = download::collect_images(second_run, keys)?;
    if still_lost.is_some() {
        if second.images.is_empty() {
            return Err(Error::protocol(download::IMAGE_GONE));
        }
        let warning = format!("an image is missing: {}", download::IMAGE_GONE);
        second.warnings.push(warning);
    }
    Ok(second)
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
fn run_graph(workflow: &Workflow, graph: &Graph, part: Part) -> Result<FinishedRun, Error> {
    let keys = workflow.keys;
    let new_run = RunIds {
        prompt_id: wire::random_id(),
        client_id: wire::random_id(),
    };
    let (run, is_resumed) = memory::next_run(new_run);
    let RunIds {
        prompt_id: requested_id,
        client_id,
    } = run;
    // Before the job is queued: a job without work ends before its response arrives.
    let mut socket = JobSocket::open(client_id.clone())?;
    let sends_over_socket = sends_over_socket(graph);
    if sends_over_socket && !socket.await_greeting()? {
        return Err(error::no_socket(keys));
    }
    let presence = if is_resumed {
        polling::find(&requested_id)?
    } else {
        Presence::Absent
    };
    if presence != Presence::Absent {
        // Its end is not sent again.
        let open_socket = (presence == Presence::Queued).then_some(socket);
        return finish_run(graph, part, open_socket, requested_id, Vec::new());
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
    if prompt_id != requested_id {
        memory::set_prompt_id(&prompt_id);
    }
    finish_run(graph, part, Some(socket), prompt_id, warnings)
}

/// Waits for the end of a run that is queued. Without a socket, it has ended.
fn finish_run(
    graph: &Graph,
    part: Part,
    socket: Option<JobSocket>,
    prompt_id: String,
    warnings: Vec<String>,
) -> Result<FinishedRun, Error> {
    let tracker = JobTracker::new(graph, &prompt_id, part);
    let wait = || {
        let outcome = match socket {
            Some(socket) => Listener::new(socket, tracker, &prompt_id).listen()?,
            None => SocketOutcome {
                lost_socket: true,
                ..SocketOutcome::default()
            },
        };
        Ok((polling::wait_for_history(&prompt_id)?, outcome))
    };
    let (entry, outcome) = wait().inspect_err(|error| {
        if is_abandoned(error) {
            cancellation::cancel_job(&prompt_id);
        }
    })?;
    Ok(FinishedRun {
        files: entry.into_files(&repeated_outputs(graph))?,
        sent_images: outcome.images,
        lost_socket: outcome.lost_socket,
        sends_over_socket: sends_over_socket(graph),
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
