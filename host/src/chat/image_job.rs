//! Runs the job of a turn and stores its images.

use pinhole_sandbox::{Edit, JobContext};

use super::edit_sources::EditSources;
use super::outcome::{Outcome, TurnImages};
use super::prompt::Prompt;
use super::{Chat, Turn, progress};
use crate::files::NoRoom;
use crate::jobs::{self, CompletedJob, ImageOrigin, JobPlan, JobRequest, Operation};

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
        let job = chat.jobs.generate(&plan, request, &context);
        turn.upstream_work.wait_for(&plan, &context, job).await
    };
    let images = run(chat, turn, &context, written_prompt.as_deref(), job).await?;
    Ok(TurnImages {
        written_prompt,
        ..images
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
    let job = async {
        let plan = plan?;
        let job = chat.jobs.edit(&plan, request, edit, &context);
        turn.upstream_work.wait_for(&plan, &context, job).await
    };
    Ok(TurnImages {
        is_edit: true,
        ..run(chat, turn, &context, None, job).await?
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
) -> Outcome {
    let room = chat.files.require_room(&turn.user, 0).await;
    room.map_err(refusal)?;
    let completed = progress::follow(&turn.events(&chat.events), context, job)
        .await
        // Jobs log their own failures.
        .map_err(|error| error.to_string())?;
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
            "the image could not be stored".to_owned()
        })?;
    Ok(TurnImages {
        files,
        is_edit: false,
        written_prompt: None,
        revised_prompt: completed.revised_prompt,
        warnings: completed.warnings,
    })
}
