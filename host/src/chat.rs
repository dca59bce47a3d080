//! Chat turns: from a chat request to an image, events and a completion. **Start reading here.**
//!
//! A turn runs at most one job and never fails because of it: a failure becomes an event for the client
//! and a context message for the language model.

mod background;
mod continued_turn;
pub mod conversation;
mod edit_choice;
mod edit_sources;
mod history;
mod image_job;
mod image_references;
mod inline_images;
mod intent;
mod message;
pub mod model;
mod outcome;
pub mod prompt;
mod response_storage;
mod status;
pub mod task;
mod upstream_work;

use std::sync::Arc;

use pinhole_egress as egress;
use pinhole_ground::memory::{MemoryFull, MemoryLease};
use serde_json::{Map, Value};

use crate::event::{EventTarget, Events, MessageEvents};
use crate::files::Files;
use crate::files::link::FileLinks;
use crate::jobs::{self, ActiveJobs, JobPlan, JobRequest, Jobs, Operation, Requester, Snapshot};
use crate::store::{Store, User};
use edit_sources::EditSources;
use image_job::EditResult;
use model::{Completion, Model, Models};
use outcome::Outcome;
use status::StatusReport;

pub use continued_turn::finish_turn;
pub use edit_choice::EditChoice;
pub use history::is_temporary;
pub use outcome::images_markdown;
pub use upstream_work::UpstreamWork;

/// Length of the reason for a failure, for the language model and the client, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// What a turn uses.
pub struct Chat {
    pub jobs: Arc<Jobs>,
    pub files: Files,
    pub store: Store,
    pub events: Events,
    pub active_jobs: ActiveJobs,
    /// The language models.
    pub models: Models,
}

/// A chat request.
pub struct Turn {
    pub user: User,
    /// The chat, if the client receives events.
    pub chat_id: Option<String>,
    /// The id of the message that contains the response.
    pub message_id: String,
    /// `features.image_generation`
    pub wants_image: bool,
    /// The settings and bindings of the whole turn.
    pub snapshot: Arc<Snapshot>,
    /// Decides which engines the turn may use.
    pub requester: Requester,
    /// The engine that the request names.
    pub engine: Option<String>,
    pub upstream_work: UpstreamWork,
    /// Makes the links to images, for a client without events.
    pub links: FileLinks,
    /// The image options of the request. The prompt comes from the conversation.
    pub image_options: JobRequest,
    /// What the request says about the images to edit.
    pub edit_choice: Arc<EditChoice>,
    /// The image job has a row.
    pub records_job: bool,
    /// The original request: an OpenAI chat completion with Open WebUI's additions.
    pub payload: Map<String, Value>,
    /// Counts the payload and its text for the language model.
    pub memory: MemoryLease,
}

/// The response to a chat request.
pub enum Reply {
    /// The language model's completion.
    Completion {
        completion: Box<Completion>,
        /// Markdown to show before it. Empty for clients that receive events.
        prefix: String,
        /// The turn ran a job, which an upstream may charge.
        ran_job: bool,
    },
    /// The text of a completion if no language model is configured.
    Text(String),
}

/// Why a turn has no response. A failed image is not such a reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no language model is configured: set OPENAI_API_BASE_URL, or request an image with features.image_generation"
    )]
    NoModel,
    #[error("Model not found")]
    UnknownModel,
    /// The chat belongs to another user.
    #[error("We could not find what you're looking for :/")]
    UnknownChat,
    #[error("the language model cannot be reached")]
    ModelUnavailable {
        source: egress::Error,
        /// The turn ran a job, or the language model may have received the request.
        may_be_charged: bool,
    },
    /// The messages of the chat do not fit into memory.
    #[error("{0}")]
    MemoryFull(MemoryFull),
    #[error("cannot read the chat from the database")]
    Store(#[source] sqlx::Error),
    /// The turn's job was stopped, or another process continues it.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Runs a turn: first the image, then the language model, whose context mentions the image.
pub async fn run(chat: &Chat, mut turn: Turn) -> Result<Reply, Error> {
    let model_id = turn.model_id();
    let model = find_model(chat, model_id.as_deref()).await?;
    let history = history::load(&chat.store, &mut turn).await?;
    let mut outcome = None;
    if turn.wants_image {
        let messages = history.messages(&turn.payload);
        let edit_plan = turn.plan(Operation::Edit);
        let sources = EditSources::load(chat, &turn, &edit_plan, &messages).await;
        // A disabled operation emits no events.
        if turn.snapshot.settings.enabled || sources.request_edit() {
            let report = StatusReport::new(chat, &turn, history.is_stored());
            let unused = sources.unused.clone();
            let image = async {
                let prompt = history::image_prompt(&messages)?;
                let mut warning = None;
                if intent::is_edit(chat, &turn, model, &sources).await {
                    let text = prompt.clone();
                    match image_job::edit(chat, &turn, edit_plan, text, sources).await {
                        EditResult::Done(edited) => return edited,
                        EditResult::NotSetUp(instead) => warning = Some(instead),
                    }
                }
                let prompt = prompt::write(chat, &turn, model, prompt).await;
                let mut images = image_job::generate(chat, &turn, prompt, warning).await?;
                images.warnings.extend(unused);
                Ok(images)
            };
            outcome = Some(report.run(Box::pin(image)).await);
        }
    }
    let is_unfinished = chat.jobs.is_stopped() || turn.upstream_work.is_released();
    if matches!(outcome, Some(Err(_))) && is_unfinished {
        return Err(Error::ShuttingDown);
    }
    if let Some(outcome) = &outcome {
        message::add_context(&mut turn.payload, &outcome::context(outcome));
    }
    if model.is_some() {
        inline_images::inline(&chat.files, &mut turn).await;
    }
    reply(turn, model, outcome).await
}

/// Checks whether a turn can start, for callers that do not wait for its response.
pub async fn check(chat: &Chat, turn: &Turn) -> Result<(), Error> {
    let model_id = turn.model_id();
    let model = find_model(chat, model_id.as_deref()).await?;
    history::stored_chat_id(&chat.store, turn).await?;
    if model.is_none() && !turn.wants_image {
        return Err(Error::NoModel);
    }
    Ok(())
}

impl Turn {
    /// The chat is not stored, nor are its texts.
    fn is_temporary(&self) -> bool {
        self.chat_id.as_deref().is_some_and(history::is_temporary)
    }

    fn model_id(&self) -> Option<String> {
        self.payload
            .get("model")
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    /// Does the client list the messages of the responses, as Open WebUI's client does since release 0.12? It
    /// then waits for `chat:active`.
    fn names_responses(&self) -> bool {
        self.payload.get("message_ids").is_some_and(Value::is_array)
    }

    fn plan(&self, operation: Operation) -> Result<JobPlan, jobs::Error> {
        JobPlan::new(
            self.snapshot.clone(),
            operation,
            self.engine.as_deref(),
            self.image_options.model.as_deref(),
            self.requester.clone(),
        )
    }

    /// The events of the turn's message.
    fn events(&self, events: &Events) -> MessageEvents {
        events.for_message(EventTarget {
            user_id: self.user.id.clone(),
            chat_id: self.chat_id.clone(),
            message_id: self.message_id.clone(),
        })
    }
}

/// The language model of a request. `None` if no model server is configured.
async fn find_model<'a>(chat: &'a Chat, id: Option<&'a str>) -> Result<Option<Model<'a>>, Error> {
    let model = chat.models.find(id).await;
    if model.is_none() && !chat.models.is_empty() {
        return Err(Error::UnknownModel);
    }
    Ok(model)
}

async fn reply(
    turn: Turn,
    model: Option<Model<'_>>,
    outcome: Option<Outcome>,
) -> Result<Reply, Error> {
    let ran_job = outcome.is_some();
    // A client with a chat receives the images as events.
    let prefix = match &outcome {
        Some(Ok(images)) if turn.chat_id.is_none() => {
            format!("{}\n\n", images.to_markdown(&turn.links))
        }
        _ => String::new(),
    };
    let Some(model) = model else {
        let outcome = outcome.ok_or(Error::NoModel)?;
        return Ok(Reply::Text(format!("{prefix}{}", outcome::text(&outcome))));
    };
    let Turn {
        payload,
        memory,
        user,
        ..
    } = turn;
    let sent = model::complete(model, &user.id, payload).await;
    drop(memory);
    let completion = sent.map_err(|source| {
        let was_sent = !matches!(
            source,
            egress::Error::Connect(_) | egress::Error::Denied { .. }
        );
        Error::ModelUnavailable {
            source,
            may_be_charged: ran_job || was_sent,
        }
    })?;
    Ok(Reply::Completion {
        completion: Box::new(completion),
        prefix,
        ran_job,
    })
}
