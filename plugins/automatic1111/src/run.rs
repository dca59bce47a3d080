//! A job on its way: sent, watched, and stopped when it is not wanted any more.
//!
//! The web UI answers when the images are made. Meanwhile its one progress answer, which is about
//! whatever it draws at the moment, is looked at.

use pinhole_sdk::upstream::{Document, Error as UpstreamError, Pending};
use pinhole_sdk::{Answer, Error, ErrorKind, Request, job, log};

use crate::progress::{ProgressAnswer, Watch};
use crate::{UPSTREAM, refused};

pub(crate) const INTERRUPT: &str = "/sdapi/v1/interrupt";
pub(crate) const PROGRESS: &str = "/sdapi/v1/progress?skip_current_image=false";
pub(crate) const PROGRESS_WITHOUT_IMAGE: &str = "/sdapi/v1/progress?skip_current_image=true";

/// Between two looks, in milliseconds.
const BETWEEN_LOOKS_MS: u32 = 500;
/// How long the images wait for a look that is under way, in milliseconds.
const LOOK_WAIT_MS: u32 = 100;
/// After so many waits a look has failed: about three seconds.
const MAX_LOOK_WAITS: u32 = 5;
/// How long a job waits for the look before it, in milliseconds: a busy web UI may be slow.
const FIRST_LOOK_WAIT_MS: u32 = 2_000;
/// After so many failed looks in a row no more are taken.
const MAX_FAILED_LOOKS: u32 = 5;

/// Looks at what runs before a job is sent, so that it can be told from the job. Does not wait.
pub(crate) fn look_before() -> Look {
    Look::start(PROGRESS_WITHOUT_IMAGE)
}

/// What a job came to.
pub(crate) struct Drawn {
    pub(crate) answer: Answer,
    /// Somebody was seen to stop it: its pictures may be unfinished.
    pub(crate) interrupted: bool,
}

/// Sends the job and waits for its images, telling the host how far it is.
pub(crate) fn draw(request: Request<'_>, before: Look) -> Result<Drawn, Error> {
    let mut watching = Watching::new(before)?;
    let pending = request.start()?;
    loop {
        match pending.wait(BETWEEN_LOOKS_MS) {
            Some(Ok(response)) => {
                let answer = Answer(response).success().map_err(refused);
                return Ok(Drawn {
                    answer: answer.map_err(|error| stop(error, &mut watching.watch))?,
                    interrupted: watching.watch.was_interrupted(),
                });
            }
            Some(Err(error)) => return Err(stop(error.into(), &mut watching.watch)),
            None => {}
        }
        if let Err(error) = watching.look() {
            return Err(stop(error, &mut watching.watch));
        }
    }
}

/// The looks at a job.
struct Watching {
    watch: Watch,
    under_way: Option<Look>,
    failed: u32,
}

impl Watching {
    /// Fails only when the job was cancelled.
    fn new(mut before: Look) -> Result<Self, Error> {
        let (answer, failed) = match before.wait(FIRST_LOOK_WAIT_MS)? {
            Shown::Answer(answer, _) => (Some(answer), 0),
            Shown::NotYet | Shown::Failed => (None, 1),
            Shown::Missing => (None, MAX_FAILED_LOOKS),
        };
        Ok(Self {
            watch: Watch::new(answer.as_ref()),
            under_way: None,
            failed,
        })
    }

    /// Begins a look, or waits a little for the one under way, and tells the host what it shows.
    /// Fails only when the job was cancelled.
    fn look(&mut self) -> Result<(), Error> {
        if self.failed >= MAX_FAILED_LOOKS {
            return Ok(());
        }
        let under_way = self.under_way.take();
        let mut look = under_way.unwrap_or_else(|| Look::start(PROGRESS));
        match look.wait(LOOK_WAIT_MS)? {
            Shown::Answer(answer, document) => {
                self.failed = 0;
                if let Some(seen) = self.watch.see(&answer) {
                    let preview = seen.preview.then(|| document.image("/current_image"));
                    let preview = preview.and_then(Result::ok);
                    job::report(&seen.progress, preview.as_ref());
                }
            }
            Shown::NotYet if look.waits < MAX_LOOK_WAITS => self.under_way = Some(look),
            Shown::NotYet | Shown::Failed | Shown::Missing => self.failed += 1,
        }
        Ok(())
    }
}

/// A question for the progress.
pub(crate) struct Look {
    pending: Result<Pending, Error>,
    waits: u32,
}

/// What came of it.
enum Shown {
    Answer(ProgressAnswer, Document),
    NotYet,
    Failed,
    /// This server, or what stands before it, does not tell.
    Missing,
}

impl Look {
    fn start(path: &str) -> Self {
        Self {
            pending: Request::get(UPSTREAM, path).start(),
            waits: 0,
        }
    }

    /// Fails only when the job was cancelled.
    fn wait(&mut self, ms: u32) -> Result<Shown, Error> {
        self.waits += 1;
        let pending = match &self.pending {
            Ok(pending) => pending,
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error.clone()),
            Err(_) => return Ok(Shown::Failed),
        };
        let response = match pending.wait(ms) {
            None => return Ok(Shown::NotYet),
            Some(Err(error @ UpstreamError::Cancelled)) => return Err(error.into()),
            Some(Err(_)) => return Ok(Shown::Failed),
            Some(Ok(response)) => response,
        };
        Ok(match response.status() {
            200..=299 => read(Answer(response)).unwrap_or(Shown::Failed),
            404 | 405 => Shown::Missing,
            _ => Shown::Failed,
        })
    }
}

fn read(answer: Answer) -> Result<Shown, Error> {
    let document = answer.document()?;
    Ok(Shown::Answer(document.parse()?, document))
}

/// The job's error, after the web UI was told to stop if it is our job that it draws: nobody waits
/// for it any more, be it that a gateway in between gave up.
///
/// Closing the request does not stop it, and an interrupt stops whatever runs, whoever asked for it.
fn stop(error: Error, watch: &mut Watch) -> Error {
    use ErrorKind::{Cancelled, Timeout, Unavailable};
    let unwanted = matches!(error.kind, Cancelled | Timeout | Unavailable);
    if unwanted && draws_ours(watch) {
        let told = Request::post(UPSTREAM, INTERRUPT).send();
        if !told.is_ok_and(|answer| answer.success().is_ok()) {
            log::write(log::Level::Warn, "the web UI could not be interrupted");
        }
    }
    error
}

/// Does the web UI draw our job? It may have begun since the last look.
fn draws_ours(watch: &mut Watch) -> bool {
    if !watch.ours_runs() {
        let answer = Request::get(UPSTREAM, PROGRESS_WITHOUT_IMAGE).send();
        let now = answer.ok().and_then(|answer| answer.success().ok());
        if let Some(now) = now.and_then(|now| now.json().ok()) {
            watch.see(&now);
        }
    }
    watch.ours_runs()
}
