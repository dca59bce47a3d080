//! One job on the server: queued, followed to its end, its images fetched.

use pinhole_sdk::request::connect;
use pinhole_sdk::upstream::{Error as UpstreamError, Frame, Message, Socket};
use pinhole_sdk::{Error, ErrorKind, Image, Progress, Request, job, log};
use serde_json::{Map, Value};

use crate::frames::{self, HEAD_BYTES, Head, Heard, Shown, Watch};
use crate::wire::{self, File, Finished, Queued};
use crate::workflow::keys::Keys;
use crate::workflow::{Graph, Plan, Values};
use crate::{MAX_COUNT, UPSTREAM, ask, refusal, stop};

/// Images that come back, at most.
const MOST: usize = MAX_COUNT as usize;
/// How long a socket may be silent that has said nothing yet, in milliseconds: one that a proxy took
/// and leads nowhere. ComfyUI greets at once.
const GREET_MS: u32 = 5_000;
/// How long any other may be silent before the history is looked at, in milliseconds. Loading a
/// model is silent, too, but so is a connection that was lost on its way.
const SILENT_MS: u32 = 60_000;
/// After so many frames in a row that say nothing of our job, the history is looked at: others' jobs
/// may keep the socket from ever being silent.
const MAX_STRANGE: u32 = 1200;
/// A change of the queue counts as so many of them: it is rarer than a step.
const STATUS_WEIGHT: u32 = 100;
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
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// Runs a plan with these values. At least one image comes back, and more than the job's count where
/// the workflow makes more: they are made and paid.
pub(crate) fn run(plan: &Plan, values: &Values) -> Result<Done, Error> {
    let (graph, keys) = (&plan.written(values), plan.keys);
    let client_id = wire::uuid([job::random(), job::random()]);
    let wished_id = wire::uuid([job::random(), job::random()]);
    // Before the job is queued: a job that needs no work is over before its answer is here.
    let socket = open(&client_id)?;
    let body = wire::job(
        graph,
        &client_id,
        &wished_id,
        plan.preview_method.as_deref(),
    );
    let Queued {
        prompt_id,
        node_errors,
    } = queue(&body, keys).inspect_err(|error| {
        if is_ours(error) {
            stop::withdraw_unanswered(&wished_id, &client_id);
        }
    })?;
    let mut notes =
        refusal::judged(graph, &node_errors, keys).inspect_err(|_| stop::dequeue(&prompt_id))?;
    let (finished, sent) = follow(graph, socket, &prompt_id).inspect_err(|error| {
        if is_ours(error) {
            stop::withdraw(&prompt_id);
        }
    })?;
    let images = collect(finished, sent, keys, &mut notes)?;
    Ok(Done {
        prompt_id,
        images,
        notes,
    })
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
        Err(_) => {
            let message = "no WebSocket, so no progress: the server is asked instead";
            log::write(log::Level::Warn, message);
            Ok(None)
        }
    }
}

/// Queues a job, unless the server refuses it.
fn queue(body: &Value, keys: &Keys) -> Result<Queued, Error> {
    let answer = Request::post(UPSTREAM, wire::PROMPT).json(body)?.send()?;
    let taken = answer.success();
    let taken = taken.map_err(|said| refusal::rejected(said, keys))?;
    Queued::read(taken.json()?)
}

/// Waits for the job's end. With it come the images that were sent over the socket.
fn follow(
    graph: &Graph,
    socket: Option<Socket>,
    prompt_id: &str,
) -> Result<(Finished, Vec<Image>), Error> {
    let sent = match socket {
        Some(socket) => listen(&socket, &mut Watch::new(graph, prompt_id), prompt_id)?,
        None => Vec::new(),
    };
    Ok((finish(prompt_id)?, sent))
}

/// Hears the job to its end, or as long as the socket lives, and gives the images sent over it.
fn listen(socket: &Socket, watch: &mut Watch, prompt_id: &str) -> Result<Vec<Image>, Error> {
    let mut sent = Vec::new();
    let mut silent_ms = GREET_MS;
    // Frames that are not of our job, since the last one that was.
    let mut strange = 0;
    loop {
        let heard = socket.receive(silent_ms);
        if matches!(heard, Ok(None)) && silent_ms == GREET_MS {
            return Ok(sent);
        }
        silent_ms = SILENT_MS;
        match heard {
            Ok(None) => {
                if let Ok(Found::Finished(_) | Found::Nowhere) = find(prompt_id) {
                    return Ok(sent);
                }
            }
            Ok(Some(Frame::Binary(message))) => match look(&message, watch) {
                Some((Shown::Preview, image)) => {
                    strange = 0;
                    job::report(&watch.progress(), Some(&image));
                }
                Some((Shown::Final, image)) if sent.len() < MOST => sent.push(image),
                _ => {}
            },
            Ok(Some(Frame::Text(document))) => {
                let kind = document.text("/type", frames::MAX_KIND_BYTES);
                let kind = kind.unwrap_or_default();
                let told = frames::is_told(&kind);
                let frame = told
                    .then(|| document.parse::<frames::Frame>().ok())
                    .flatten();
                match frame.map_or(Heard::Nothing, |frame| watch.hear(&frame)) {
                    Heard::News => {
                        strange = 0;
                        job::report(&watch.progress(), None);
                    }
                    Heard::Nothing => strange += 1,
                    Heard::Done => return Ok(sent),
                    Heard::Failed(error) => return Err(error),
                }
                if kind == "status" {
                    strange += STATUS_WEIGHT;
                }
                // Others are heard of and ours is not: somebody may have taken it away.
                if strange >= MAX_STRANGE {
                    strange = 0;
                    if let Ok(Found::Finished(_) | Found::Nowhere) = find(prompt_id) {
                        return Ok(sent);
                    }
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
    let history: Map<String, Value> = ask(&wire::history(prompt_id))?;
    if let Some(finished) = Finished::read(history, prompt_id)? {
        return Ok(Found::Finished(finished));
    }
    let queue: Value = ask(wire::QUEUE)?;
    Ok(wire::position(&queue, prompt_id).map_or(Found::Nowhere, Found::Queued))
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
fn collect(
    finished: Finished,
    sent: Vec<Image>,
    keys: &Keys,
    notes: &mut Vec<String>,
) -> Result<Vec<Image>, Error> {
    let files = finished.files()?;
    let images = if !files.kept.is_empty() {
        fetch(&files.kept, notes)?
    } else if !sent.is_empty() {
        sent
    } else {
        fetch(&files.previewed, notes)?
    };
    if images.is_empty() {
        let workflow = &keys.workflow;
        let message = format!(
            "the workflow ran to its end without an image: add a SaveImage node to it in {workflow}"
        );
        return Err(Error::protocol(message));
    }
    Ok(images)
}

/// The pictures that can be had; an error only where none can.
fn fetch(files: &[File], notes: &mut Vec<String>) -> Result<Vec<Image>, Error> {
    if let Some(more) = files.len().checked_sub(MOST).filter(|more| *more > 0) {
        notes.push(format!("{more} images beyond {MOST} were left out"));
    }
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
    let (mut images, mut first) = (Vec::new(), None);
    for file in files.iter().take(MOST) {
        match fetch(file) {
            Ok(image) => images.push(image),
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => {
                notes.push(format!("a picture is left out: {}", error.message));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}
