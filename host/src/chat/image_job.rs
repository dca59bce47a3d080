//! Runs the job of a turn and stores its images.

use std::time::Duration;

use pinhole_sandbox::{Edit, JobContext};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::edit_sources::EditSources;
use super::history::is_temporary;
use super::outcome::{Outcome, TurnImages};
use super::prompt::Prompt;
use super::{Chat, Turn};
use crate::files::{NoRoom, SaveError};
use crate::jobs::{
    self, AcceptError, CompletedJob, Continuation, Followed, ImageOrigin, JobPlan, JobRequest,
    JobRun, NewJob, NewJobOrigin, Operation, ProgressEvents, RequestRecord,
};

/// Time after a stop in which an engine finds out whether its upstream can be stopped.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Why a turn has no image here.
const RELEASED: &str = "another process continues the image";

/// The result of an attempt to edit.
pub(super) enum EditResult {
    Done(Outcome),
    /// The engine lacks settings for editing, and no image of the newest message was to be edited: a new
    /// image is generated, with this warning.
    NotSetUp(String),
}

/// Why a job has no stored images.
enum Failure {
    Job(jobs::Error),
    /// For the user.
    Other(String),
}

impl Failure {
    fn for_user(self) -> String {
        match self {
            // Jobs log their own failures.
            Self::Job(error) => error.to_string(),
            Self::Other(reason) => reason,
        }
    }
}

/// The job of a turn, before it is checked.
struct TurnJob {
    operation: Operation,
    plan: Result<JobPlan, jobs::Error>,
    request: JobRequest,
    edit: Option<Edit>,
    /// The prompt, if a language model wrote it.
    written_prompt: Option<String>,
    /// Added to those of the job.
    warning: Option<String>,
}

/// Generates images. The warning is added to those of the job.
pub(super) async fn generate(
    chat: &Chat,
    turn: &Turn,
    prompt: Prompt,
    warning: Option<String>,
) -> Outcome {
    let written_prompt = prompt.is_written_by_model.then(|| prompt.text.clone());
    let job = TurnJob {
        operation: Operation::Generate,
        plan: turn.plan(Operation::Generate),
        request: JobRequest {
            prompt: prompt.text,
            ..turn.image_options.clone()
        },
        edit: None,
        written_prompt,
        warning,
    };
    run(chat, turn, job).await.map_err(Failure::for_user)
}

/// Edits images, unless the engine lacks settings for it and a new image will do.
pub(super) async fn edit(
    chat: &Chat,
    turn: &Turn,
    plan: Result<JobPlan, jobs::Error>,
    prompt: String,
    sources: EditSources,
) -> EditResult {
    if let Some(reason) = sources.refusal {
        return EditResult::Done(Err(reason));
    }
    let may_generate = turn.snapshot.settings.enabled && !sources.are_of_newest_message;
    let replaceable = match &plan {
        Ok(plan) if may_generate => Some(plan.clone()),
        _ => None,
    };
    let model = turn.image_options.model.as_deref();
    if let Some(edit_plan) = &replaceable
        && chat.jobs.lacks_edit_setup(edit_plan, model).await
    {
        return EditResult::NotSetUp(not_set_up(&edit_plan.binding.name));
    }
    let job = TurnJob {
        operation: Operation::Edit,
        plan,
        request: JobRequest {
            prompt,
            ..turn.image_options.clone()
        },
        edit: Some(Edit {
            sources: sources.images,
            mask: sources.mask,
        }),
        written_prompt: None,
        warning: None,
    };
    match run(chat, turn, job).await {
        Ok(images) => EditResult::Done(Ok(images)),
        Err(Failure::Job(error))
            if let Some(edit_plan) = &replaceable
                && error.lacks_edit_setup(&edit_plan.binding.component.description) =>
        {
            edit_plan.set_edit_setup_missing(model).await;
            EditResult::NotSetUp(not_set_up(&edit_plan.binding.name))
        }
        Err(failure) => EditResult::Done(Err(failure.for_user())),
    }
}

fn not_set_up(engine: &str) -> String {
    format!("a new image instead of an edit: editing is not set up for {engine}")
}

/// Why no job is started, for the user.
fn refusal(error: NoRoom) -> String {
    if let NoRoom::Internal(error) = &error {
        tracing::error!("cannot start a job: {error:#}");
        return "the server cannot store images".to_owned();
    }
    error.to_string()
}

/// Runs a job, emits its progress, and stores its images with the turn's message.
async fn run(chat: &Chat, turn: &Turn, mut job: TurnJob) -> Result<TurnImages, Failure> {
    let room = chat.files.require_image_room(&turn.user, 0).await;
    room.map_err(|error| Failure::Other(refusal(error)))?;
    let plan = std::mem::replace(&mut job.plan, Err(jobs::Error::Starting));
    let plan = plan.map_err(Failure::Job)?;
    let edit = match job.edit.take() {
        Some(edit) => Some(chat.jobs.prepare_sources(&plan, edit).await),
        None => None,
    };
    let edit = edit.transpose().map_err(Failure::Job)?;
    let mut record = None;
    if turn.records_job {
        chat.jobs
            .check(&plan, &job.request, edit.as_ref())
            .map_err(Failure::Job)?;
        record = Some(start_record(chat, turn, &plan, &job, edit.as_ref()).await?);
    }
    if let Some(run) = &record {
        turn.upstream_work.set_job(run.released());
    }
    let context = match &record {
        Some(run) => run.context.clone(),
        None => JobContext::new(uuid::Uuid::new_v4().to_string()),
    };
    let mut notice = StopNotice {
        chat,
        turn,
        works_on: &context.works_on,
        is_needed: true,
    };
    let call = chat.jobs.run(&plan, job.request.clone(), edit, &context);
    let call = Box::pin(turn.upstream_work.wait_for(&plan, &context, call));
    let followed = match &mut record {
        Some(run) => run.follow(call).await,
        None => {
            let progress = ProgressEvents {
                events: &turn.events(&chat.events),
                context: &context,
                job_id: None,
                decoder: chat.jobs.decoder(),
            };
            Followed::Done(progress.follow(call).await)
        }
    };
    let result = match followed {
        Followed::Done(result) => result,
        Followed::Stopped => {
            if let Some(run) = record {
                run.cancel().await;
            }
            return Err(Failure::Other(stopped(turn)));
        }
        Followed::Released => {
            notice.is_needed = false;
            return Err(Failure::Other(RELEASED.to_owned()));
        }
    };
    notice.is_needed = false;
    match result {
        Ok(completed) => save(chat, turn, record, completed, job).await,
        Err(error) => {
            if let Some(run) = record {
                run.fail(&error).await;
            }
            Err(Failure::Job(error))
        }
    }
}

/// Adds the row of a job.
async fn start_record(
    chat: &Chat,
    turn: &Turn,
    plan: &JobPlan,
    job: &TurnJob,
    edit: Option<&Edit>,
) -> Result<JobRun, Failure> {
    let chat_id = turn.chat_id.as_deref();
    let record = RequestRecord::new(&job.request, turn.engine.as_deref(), edit);
    let new = NewJob {
        user: &turn.user,
        origin: NewJobOrigin::Chat {
            chat_id,
            message_id: &turn.message_id,
        },
        plan,
        operation: job.operation,
        request: if turn.is_temporary() {
            None
        } else {
            record.to_json().ok()
        },
        edit,
        continuation: Continuation::of_turn(
            turn.requester.chat_model.clone(),
            job.written_prompt.is_some(),
            job.warning.clone(),
        ),
        idempotency: None,
    };
    chat.active_jobs.add(new).await.map_err(|error| {
        if let AcceptError::Store(error) = error {
            tracing::error!("cannot store the job of a chat: {error}");
            return Failure::Other("the server's database cannot be reached: send it again".into());
        }
        Failure::Other(error.to_string())
    })
}

/// Stores the images of a job with the turn's message.
async fn save(
    chat: &Chat,
    turn: &Turn,
    record: Option<JobRun>,
    mut completed: CompletedJob,
    job: TurnJob,
) -> Result<TurnImages, Failure> {
    completed.warnings.extend(job.warning);
    let revised_prompt = completed.revised_prompt.clone();
    let mut origin = ImageOrigin {
        chat_id: turn.chat_id.as_deref(),
        message_id: &turn.message_id,
        prompt: job.written_prompt.as_deref(),
    };
    if turn.is_temporary() {
        completed.remove_prompts();
        origin.prompt = None;
    }
    let saved = match record {
        Some(run) => {
            let saved = run.save(&completed, &turn.user, Some(origin)).await;
            saved.map(|ended| ended.files).map_err(|(error, _)| error)
        }
        None => {
            let saved = completed.save(&chat.files, &chat.store, &turn.user, Some(origin));
            saved.await.map_err(|error| {
                let id = &completed.job;
                tracing::error!(job = id, "cannot store the images of job {id}: {error:#}");
                SaveError::Other(error)
            })
        }
    };
    let files = saved.map_err(|error| {
        let reason = match error {
            SaveError::Taken => RELEASED,
            SaveError::Other(_) => "the image could not be stored",
        };
        Failure::Other(reason.to_owned())
    })?;
    Ok(TurnImages {
        files,
        is_edit: job.operation == Operation::Edit,
        written_prompt: job.written_prompt,
        revised_prompt,
        warnings: completed.warnings,
        seeds: completed.image_details.iter().map(|it| it.seed).collect(),
        cost: completed.cost,
    })
}

/// What the user of a turn reads whose image was stopped, but not its text.
fn stopped(turn: &Turn) -> String {
    if turn.upstream_work.may_continue() {
        return "it was stopped; the upstream may still finish it, and charge for it".to_owned();
    }
    "it was stopped".to_owned()
}

/// Reports to the user of a turn that is stopped before its image arrived if the upstream works on.
struct StopNotice<'a> {
    chat: &'a Chat,
    turn: &'a Turn,
    works_on: &'a CancellationToken,
    is_needed: bool,
}

impl Drop for StopNotice<'_> {
    fn drop(&mut self) {
        // If the engine can stop no upstream, the end of the turn says so.
        if !self.is_needed || self.turn.upstream_work.may_continue() {
            return;
        }
        let (works_on, store) = (self.works_on.clone(), self.chat.store.clone());
        let events = self.turn.events(&self.chat.events);
        tokio::spawn(async move {
            let timeout = tokio::time::timeout(STOP_TIME, works_on.cancelled());
            if timeout.await.is_err() {
                return;
            }
            let status = json!({
                "description": "The image server cannot be stopped: the next image waits until it has finished this one",
                "done": true,
            });
            let target = &events.target;
            let stored_chat = target.chat_id.as_deref().filter(|id| !is_temporary(id));
            if let Some(chat_id) = stored_chat
                && let Err(error) = store.add_status(chat_id, &target.message_id, &status).await
            {
                tracing::error!("cannot store a status of chat {chat_id}: {error}");
            }
            events.emit("status", status);
        });
    }
}
