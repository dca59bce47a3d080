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
use crate::store::FileRow;

/// Time after a stop in which an engine finds out whether its upstream can be stopped.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Generates images.
pub(super) async fn generate(chat: &Chat, turn: &Turn, prompt: Prompt) -> Outcome {
    let context = new_context();
    let written_prompt = prompt.is_written_by_model.then(|| prompt.text.clone());
    let request = JobRequest {
        prompt: prompt.text,
        ..turn.image_options.clone()
    };
    let job = async {
        let plan = turn.plan(Operation::Generate)?;
        chat.jobs.generate(&plan, request, &context).await
    };
    let files = run(chat, turn, &context, written_prompt.as_deref(), job).await?;
    Ok(TurnImages {
        files,
        is_edit: false,
        written_prompt,
    })
}

/// Edits images.
pub(super) async fn edit(
    chat: &Chat,
    turn: &Turn,
    plan: Result<JobPlan, jobs::Error>,
    prompt: String,
    sources: EditSources,
) -> Outcome {
    if let Some(reason) = sources.refusal {
        return Err(reason);
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
    let job = async { chat.jobs.edit(&plan?, request, edit, &context).await };
    Ok(TurnImages {
        files: run(chat, turn, &context, None, job).await?,
        is_edit: true,
        written_prompt: None,
    })
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
) -> Result<Vec<FileRow>, String> {
    let room = chat.files.require_room(&turn.user, 0).await;
    room.map_err(refusal)?;
    let mut notice = StopNotice {
        chat,
        turn,
        works_on: &context.works_on,
        is_needed: true,
    };
    let result = progress::follow(&turn.events(&chat.events), context, job).await;
    notice.is_needed = false;
    // Jobs log their own failures.
    let completed = result.map_err(|error| error.to_string())?;
    let origin = ImageOrigin {
        chat_id: turn.chat_id.as_deref(),
        message_id: &turn.message_id,
        prompt: written_prompt,
    };
    completed
        .save(&chat.files, &chat.store, &turn.user, Some(origin))
        .await
        .map_err(|error| {
            let id = &context.job;
            tracing::error!(job = id, "cannot store the images of job {id}: {error:#}");
            "the image could not be stored".to_owned()
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
        if !self.is_needed {
            return;
        }
        let (works_on, store) = (self.works_on.clone(), self.chat.store.clone());
        let events = self.turn.events(&self.chat.events);
        tokio::spawn(async move {
            if tokio::time::timeout(STOP_TIME, works_on.cancelled())
                .await
                .is_err()
            {
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
