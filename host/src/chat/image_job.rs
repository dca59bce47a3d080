//! Runs the job of a turn and stores its images.

use std::time::Duration;

use pinhole_sandbox::{Edit, JobContext};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::edit_sources::EditSources;
use super::history::is_temporary;
use super::outcome::{Outcome, TurnImages};
use super::prompt::Prompt;
use super::{Chat, Turn, progress};
use crate::files::NoRoom;
use crate::jobs::{self, CompletedJob, ImageOrigin, JobPlan, JobRequest, Operation};

/// Time after a stop in which an engine finds out whether its upstream can be stopped.
const STOP_TIME: Duration = Duration::from_secs(10);

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

/// Generates images. The warning is added to those of the job.
pub(super) async fn generate(
    chat: &Chat,
    turn: &Turn,
    prompt: Prompt,
    warning: Option<String>,
) -> Outcome {
    let context = new_context();
    let written_prompt = prompt.is_written_by_model.then(|| prompt.text.clone());
    let request = JobRequest {
        prompt: prompt.text,
        ..turn.image_options.clone()
    };
    let job = async {
        let plan = turn.plan(Operation::Generate)?;
        let job = chat.jobs.generate(&plan, request, &context);
        let completed = turn.upstream_work.wait_for(&plan, &context, job).await;
        completed.map(|mut completed| {
            completed.warnings.extend(warning);
            completed
        })
    };
    let run = run(
        chat,
        turn,
        &context,
        written_prompt.as_deref(),
        Box::pin(job),
    )
    .await;
    let images = run.map_err(Failure::for_user)?;
    Ok(TurnImages {
        written_prompt,
        ..images
    })
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
    let context = new_context();
    let request = JobRequest {
        prompt,
        ..turn.image_options.clone()
    };
    let edit = Edit {
        sources: sources.images,
        mask: None,
    };
    let job = async {
        let plan = plan?;
        let job = chat.jobs.edit(&plan, request, edit, &context);
        turn.upstream_work.wait_for(&plan, &context, job).await
    };
    let images = match run(chat, turn, &context, None, Box::pin(job)).await {
        Ok(images) => images,
        Err(Failure::Job(error))
            if let Some(edit_plan) = &replaceable
                && error.lacks_edit_setup(&edit_plan.binding.component.description) =>
        {
            edit_plan.set_edit_setup_missing(model).await;
            return EditResult::NotSetUp(not_set_up(&edit_plan.binding.name));
        }
        Err(failure) => return EditResult::Done(Err(failure.for_user())),
    };
    EditResult::Done(Ok(TurnImages {
        is_edit: true,
        ..images
    }))
}

fn not_set_up(engine: &str) -> String {
    format!("a new image instead of an edit: editing is not set up for {engine}")
}

fn new_context() -> JobContext {
    JobContext::new(uuid::Uuid::new_v4().to_string())
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
async fn run(
    chat: &Chat,
    turn: &Turn,
    context: &JobContext,
    written_prompt: Option<&str>,
    job: impl Future<Output = Result<CompletedJob, jobs::Error>>,
) -> Result<TurnImages, Failure> {
    let room = chat.files.require_room(&turn.user, 0).await;
    room.map_err(|error| Failure::Other(refusal(error)))?;
    let mut notice = StopNotice {
        chat,
        turn,
        works_on: &context.works_on,
        is_needed: true,
    };
    let result = progress::follow(&turn.events(&chat.events), context, job).await;
    notice.is_needed = false;
    let completed = result.map_err(Failure::Job)?;
    let origin = ImageOrigin {
        chat_id: turn.chat_id.as_deref(),
        message_id: &turn.message_id,
        prompt: written_prompt,
    };
    let files = completed
        .save(&chat.files, &chat.store, &turn.user, Some(origin))
        .await
        .map_err(|error| {
            let id = &context.job;
            tracing::error!(job = id, "cannot store the images of job {id}: {error:#}");
            Failure::Other("the image could not be stored".to_owned())
        })?;
    Ok(TurnImages {
        files,
        is_edit: false,
        written_prompt: None,
        revised_prompt: completed.revised_prompt,
        warnings: completed.warnings,
        seeds: completed.image_details.iter().map(|it| it.seed).collect(),
        cost: completed.cost,
    })
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
