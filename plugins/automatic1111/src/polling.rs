//! Sends a job, polls its progress, and interrupts it when it is abandoned.
//!
//! The web UI responds when the images are ready. Until then, the engine polls the web UI's only
//! progress resource, which describes the job that currently runs.

use pinhole_sdk::upstream::{Document, Error as UpstreamError, Pending};
use pinhole_sdk::{Error, ErrorKind, Request, Response, job, log};

use crate::progress::{JobTracker, ProgressResponse};
use crate::{UPSTREAM, error};

pub(crate) const INTERRUPT: &str = "/sdapi/v1/interrupt";
pub(crate) const PROGRESS: &str = "/sdapi/v1/progress?skip_current_image=false";
pub(crate) const PROGRESS_WITHOUT_IMAGE: &str = "/sdapi/v1/progress?skip_current_image=true";

/// Time between two polls.
const POLL_INTERVAL_MS: u32 = 500;
/// Time for which a pending poll delays the images.
const POLL_WAIT_MS: u32 = 100;
/// Number of waits after which a poll has failed: about three seconds.
const MAX_POLL_WAITS: u32 = 5;
/// Time for which a job waits for the poll before it. A busy web UI may be slow.
const FIRST_POLL_WAIT_MS: u32 = 2_000;
/// Number of consecutive failed polls after which polling stops.
const MAX_FAILED_POLLS: u32 = 5;

/// Starts a poll before a job is sent, to identify an earlier job. Does not wait.
pub(crate) fn poll_before_job() -> Poll {
    Poll::start(PROGRESS_WITHOUT_IMAGE)
}

/// The response to a job.
pub(crate) struct Generation {
    pub(crate) response: Response,
    /// Another client interrupted the job: its images may be unfinished.
    pub(crate) interrupted: bool,
}

/// Sends the job and waits for its images. Reports progress to the host meanwhile.
pub(crate) fn generate(request: Request<'_>, first_poll: Poll) -> Result<Generation, Error> {
    let mut poller = Poller::new(first_poll)?;
    let pending = request.start()?;
    wait_for_response(&pending, &mut poller)
        .inspect_err(|error| interrupt_if_abandoned(error, &mut poller.tracker))
}

fn wait_for_response(pending: &Pending, poller: &mut Poller) -> Result<Generation, Error> {
    loop {
        if let Some(result) = pending.wait(POLL_INTERVAL_MS) {
            let response = Response(result?).success().map_err(error::from_refusal)?;
            return Ok(Generation {
                response,
                interrupted: poller.tracker.was_interrupted(),
            });
        }
        poller.poll()?;
    }
}

/// Polls the progress of one job.
struct Poller {
    tracker: JobTracker,
    pending: Option<Poll>,
    failed: u32,
}

impl Poller {
    /// Fails only if the job is cancelled.
    fn new(mut first_poll: Poll) -> Result<Self, Error> {
        let (response, failed) = match first_poll.wait(FIRST_POLL_WAIT_MS)? {
            PollState::Done(response, _) => (Some(response), 0),
            PollState::Pending | PollState::Failed => (None, 1),
            PollState::Unsupported => (None, MAX_FAILED_POLLS),
        };
        Ok(Self {
            tracker: JobTracker::new(response.as_ref()),
            pending: None,
            failed,
        })
    }

    /// Starts a poll, or waits briefly for the pending one, and reports its result to the host.
    ///
    /// Fails only if the job is cancelled.
    fn poll(&mut self) -> Result<(), Error> {
        if self.failed >= MAX_FAILED_POLLS {
            return Ok(());
        }
        let pending = self.pending.take();
        let mut poll = pending.unwrap_or_else(|| Poll::start(PROGRESS));
        match poll.wait(POLL_WAIT_MS)? {
            PollState::Done(response, document) => {
                self.failed = 0;
                if let Some(update) = self.tracker.update(&response) {
                    let preview = update
                        .has_preview
                        .then(|| document.image("/current_image").ok())
                        .flatten();
                    job::report(&update.progress, preview.as_ref());
                }
            }
            PollState::Pending if poll.waits < MAX_POLL_WAITS => self.pending = Some(poll),
            PollState::Pending | PollState::Failed | PollState::Unsupported => self.failed += 1,
        }
        Ok(())
    }
}

/// One request for the progress.
pub(crate) struct Poll {
    pending: Result<Pending, Error>,
    waits: u32,
}

/// The state of a poll after a wait.
enum PollState {
    Done(ProgressResponse, Document),
    Pending,
    Failed,
    /// The server, or a proxy in front of it, has no progress resource.
    Unsupported,
}

impl Poll {
    fn start(path: &str) -> Self {
        Self {
            pending: Request::get(UPSTREAM, path).start(),
            waits: 0,
        }
    }

    /// Fails only if the job is cancelled.
    fn wait(&mut self, ms: u32) -> Result<PollState, Error> {
        self.waits += 1;
        let pending = match &self.pending {
            Ok(pending) => pending,
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error.clone()),
            Err(_) => return Ok(PollState::Failed),
        };
        let response = match pending.wait(ms) {
            None => return Ok(PollState::Pending),
            Some(Err(error @ UpstreamError::Cancelled)) => return Err(error.into()),
            Some(Err(_)) => return Ok(PollState::Failed),
            Some(Ok(response)) => response,
        };
        Ok(match response.status() {
            200..=299 => parse_progress(&Response(response)).unwrap_or(PollState::Failed),
            404 | 405 => PollState::Unsupported,
            _ => PollState::Failed,
        })
    }
}

fn parse_progress(response: &Response) -> Result<PollState, Error> {
    let document = response.document()?;
    Ok(PollState::Done(document.parse()?, document))
}

/// Interrupts the web UI after an error that means that the job's response is no longer awaited (also
/// when a gateway in between gave up), if the web UI runs our job.
///
/// The web UI continues when the request is closed. An interrupt stops the running job, even that of
/// another client.
fn interrupt_if_abandoned(error: &Error, tracker: &mut JobTracker) {
    use ErrorKind::{Cancelled, Timeout, Unavailable};
    let is_abandoned = matches!(error.kind, Cancelled | Timeout | Unavailable);
    if !is_abandoned || !is_our_job_running(tracker) {
        return;
    }
    let response = Request::post(UPSTREAM, INTERRUPT).send();
    if !response.is_ok_and(|response| response.success().is_ok()) {
        log::write(log::Level::Warn, "cannot interrupt the web UI");
    }
}

/// Whether the web UI runs our job. Polls once more if it did not at the last poll.
fn is_our_job_running(tracker: &mut JobTracker) -> bool {
    if !tracker.is_running() {
        let progress = Request::get(UPSTREAM, PROGRESS_WITHOUT_IMAGE)
            .send()
            .and_then(|response| response.success()?.json());
        if let Ok(progress) = progress {
            tracker.update(&progress);
        }
    }
    tracker.is_running()
}
