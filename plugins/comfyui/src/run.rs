//! One job on the server: queued, followed to its end, its images fetched; or withdrawn.

use pinhole_sdk::request::connect;
use pinhole_sdk::upstream::{Error as UpstreamError, Frame, Message, Socket};
use pinhole_sdk::{Error, ErrorKind, Image, Progress, Request, job, log};
use serde_json::{Map, Value, json};

use crate::UPSTREAM;
use crate::frames::{self, HEAD_BYTES, Head, Heard, Shown, Watch};
use crate::refusal;
use crate::wire::{self, File, Finished, Queued};
use crate::workflow::Graph;

/// How long the socket may be silent before the history is looked at, in milliseconds.
const RECEIVE_MS: u32 = 10_000;
/// How long to wait between two looks at the history, at first and at most, in milliseconds.
const POLL_MS: (u32, u32) = (500, 2_000);
/// After so many looks in a row that find the job nowhere, it is gone. One may fall between queue
/// and history.
const MAX_ABSENT: u32 = 2;
/// So many looks in a row may fail: a server that is started anew takes a moment.
const MAX_FAILED: u32 = 5;

/// What a job gave.
pub(crate) struct Done {
    pub(crate) prompt_id: String,
    pub(crate) images: Vec<Image>,
}

/// Runs the graph. At most `count` images come back, and at least one.
pub(crate) fn run(graph: &Graph, count: u32) -> Result<Done, Error> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let client_id = wire::client_id([job::random(), job::random()]);
    // Before the job is queued: a job that needs no work is over before its answer is here.
    let socket = open(&client_id)?;
    let prompt_id = queue(graph, &client_id).inspect_err(|error| {
        if is_ours(error) {
            withdraw_unnamed(&client_id);
        }
    })?;
    let (finished, sent) = follow(graph, socket, &prompt_id, count).inspect_err(|error| {
        if is_ours(error) {
            withdraw(&prompt_id);
        }
    })?;
    let images = collect(finished, sent, count)?;
    Ok(Done { prompt_id, images })
}

/// Did the job end on our side only? A code would be the server's.
fn is_ours(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) && error.code.is_none()
}

/// The socket; `None` where there is none to be had, as behind some proxies.
fn open(client_id: &str) -> Result<Option<Socket>, Error> {
    let socket = connect(UPSTREAM, &wire::socket(client_id));
    let greeted = socket.and_then(|socket| {
        socket.send(&wire::greeting())?;
        Ok(socket)
    });
    match greeted {
        Ok(socket) => Ok(Some(socket)),
        Err(UpstreamError::Cancelled) => Err(UpstreamError::Cancelled.into()),
        Err(error) => {
            let message = format!("no socket, so no progress: {}", Error::from(error).message);
            log::write(log::Level::Warn, &message);
            Ok(None)
        }
    }
}

/// Queues the graph and gives the job's id.
fn queue(graph: &Graph, client_id: &str) -> Result<String, Error> {
    let body = wire::job(graph, client_id);
    let answer = Request::post(UPSTREAM, wire::PROMPT).json(&body)?.send()?;
    let queued = Queued::read(answer.success().map_err(refusal::rejected)?.json()?)?;
    match refusal::spoilt(graph, &queued.node_errors) {
        None => Ok(queued.prompt_id),
        Some(error) => {
            dequeue(&queued.prompt_id);
            Err(error)
        }
    }
}

/// Waits for the job's end. With it come the images that were sent over the socket.
fn follow(
    graph: &Graph,
    socket: Option<Socket>,
    prompt_id: &str,
    count: usize,
) -> Result<(Finished, Vec<Image>), Error> {
    let sent = match socket {
        Some(socket) => listen(&socket, &mut Watch::new(graph, prompt_id), prompt_id, count)?,
        None => Vec::new(),
    };
    Ok((finish(prompt_id)?, sent))
}

/// Hears the job to its end, or as long as the socket lives, and gives the images sent over it.
fn listen(
    socket: &Socket,
    watch: &mut Watch,
    prompt_id: &str,
    count: usize,
) -> Result<Vec<Image>, Error> {
    let mut sent = Vec::new();
    loop {
        match socket.receive(RECEIVE_MS) {
            // A long step is silent too, but so is a socket that a proxy took and leads nowhere.
            Ok(None) => {
                if let Ok(Found::Finished(_) | Found::Nowhere) = find(prompt_id) {
                    return Ok(sent);
                }
            }
            Ok(Some(Frame::Binary(message))) => match look(&message, watch) {
                Some((Shown::Preview, image)) => job::report(&watch.progress(), Some(&image)),
                Some((Shown::Final, image)) if sent.len() < count => sent.push(image),
                _ => {}
            },
            Ok(Some(Frame::Text(document))) => {
                let Ok(frame) = document.parse::<frames::Frame>() else {
                    continue;
                };
                match watch.hear(&frame) {
                    Heard::Nothing => {}
                    Heard::News => job::report(&watch.progress(), None),
                    Heard::Done => return Ok(sent),
                    Heard::Failed(error) => return Err(error),
                }
            }
            Err(error @ (UpstreamError::Cancelled | UpstreamError::Timeout)) => {
                return Err(error.into());
            }
            Err(error) => {
                let message = format!("the socket broke: {}", Error::from(error).message);
                log::write(log::Level::Warn, &message);
                return Ok(sent);
            }
        }
    }
}

/// The picture in a binary frame, if it is of our job.
fn look(message: &Message, watch: &Watch) -> Option<(Shown, Image)> {
    let head = u64::from(HEAD_BYTES);
    let (shown, offset) = match Head::read(&message.read(0, HEAD_BYTES))? {
        Head::Bare { png } => (watch.bare(png)?, head),
        Head::Described { length } => {
            let metadata = message.read(head, length);
            (watch.described(&metadata)?, head + u64::from(length))
        }
    };
    Some((shown, message.image_from(offset).ok()?))
}

/// Waits until the history has the job. Where the socket said that it is over, that is at once.
fn finish(prompt_id: &str) -> Result<Finished, Error> {
    let (mut wait_ms, longest_ms) = POLL_MS;
    let (mut absent, mut failed) = (0, 0);
    loop {
        match find(prompt_id) {
            Ok(Found::Finished(finished)) => return Ok(finished),
            Ok(Found::Queued(position)) => {
                (absent, failed) = (0, 0);
                report_position(position);
            }
            Ok(Found::Nowhere) => absent += 1,
            Err(error) if is_final(&error) || failed >= MAX_FAILED => return Err(error),
            Err(_) => failed += 1,
        }
        if absent >= MAX_ABSENT {
            return Err(refusal::forgotten());
        }
        if !job::sleep(wait_ms) {
            return Err(UpstreamError::Cancelled.into());
        }
        wait_ms = (wait_ms + wait_ms / 2).min(longest_ms);
    }
}

enum Found {
    Finished(Finished),
    /// So many jobs are in front of it; it runs when there are none.
    Queued(u32),
    Nowhere,
}

fn find(prompt_id: &str) -> Result<Found, Error> {
    let history: Map<String, Value> = get(&wire::history(prompt_id))?;
    if let Some(finished) = Finished::read(history, prompt_id)? {
        return Ok(Found::Finished(finished));
    }
    let queue: Value = get(wire::QUEUE)?;
    Ok(wire::position(&queue, prompt_id).map_or(Found::Nowhere, Found::Queued))
}

fn get<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, Error> {
    let answer = Request::get(UPSTREAM, path).send()?;
    answer.success().map_err(refusal::refused)?.json()
}

/// Would another look fail the same way?
fn is_final(error: &Error) -> bool {
    !matches!(
        error.kind,
        ErrorKind::Unavailable | ErrorKind::Upstream | ErrorKind::RateLimited
    )
}

fn report_position(position: u32) {
    let progress = Progress {
        fraction: None,
        queue_position: (position > 0).then_some(position),
        note: (position == 0).then(|| "running".to_owned()),
    };
    job::report(&progress, None);
}

/// The images that the workflow keeps, else those it sent over the socket, else those it previews.
fn collect(finished: Finished, sent: Vec<Image>, count: usize) -> Result<Vec<Image>, Error> {
    let files = finished.files()?;
    let images = if !files.kept.is_empty() {
        fetch(&files.kept, count)?
    } else if !sent.is_empty() {
        sent
    } else {
        fetch(&files.previewed, count)?
    };
    if images.is_empty() {
        let message =
            "the workflow ran to its end without an image: does it have a SaveImage node?";
        return Err(Error::protocol(message));
    }
    Ok(images)
}

fn fetch(files: &[File], count: usize) -> Result<Vec<Image>, Error> {
    let fetch = |file: &File| {
        let answer = Request::get(UPSTREAM, file.path()).send()?;
        match answer.success() {
            Ok(answer) => answer.image(),
            Err(said) if said.status == 404 => Err(Error::protocol(
                "ComfyUI made an image but no longer has it",
            )),
            Err(said) => Err(refusal::refused(said)),
        }
    };
    files.iter().take(count).map(fetch).collect()
}

/// Takes the job back, wherever it is. Servers from 0.25 on do that in one step; with older ones
/// it may begin to run between being sought in the queue and among the running, so both are told.
/// Those up to 0.3.56 interrupt whatever runs, so not where that is another's job.
fn withdraw(prompt_id: &str) {
    let cancelled = Request::post(UPSTREAM, wire::cancel(prompt_id)).send();
    if cancelled.is_ok_and(|answer| answer.success().is_ok()) {
        return;
    }
    dequeue(prompt_id);
    let queue = get::<Value>(wire::QUEUE);
    if !queue.is_ok_and(|queue| wire::another_runs(&queue, prompt_id)) {
        tell(wire::INTERRUPT, &json!({ "prompt_id": prompt_id }));
    }
}

/// The same for a job whose id was not waited for: the queue tells jobs by their client, too.
fn withdraw_unnamed(client_id: &str) {
    if let Ok(queue) = get::<Value>(wire::QUEUE) {
        for prompt_id in wire::jobs_of(&queue, client_id) {
            withdraw(prompt_id);
        }
    }
}

fn dequeue(prompt_id: &str) {
    tell(wire::QUEUE, &json!({ "delete": [prompt_id] }));
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
