//! The images that a turn may edit: those that the request names, else those of the newest messages that contain any.

use pinhole_images::Image;

use super::history::Message;
use super::{Chat, Turn};
use crate::files::MAX_SOURCES;
use crate::files::lookup::{ImageReference, LookupError};
use crate::jobs::{Error, JobPlan, MAX_SOURCE_BYTES};

/// Messages whose images are used.
const MAX_MESSAGES: usize = 2;

/// The images that a turn may edit.
#[derive(Debug, Default)]
pub(super) struct EditSources {
    /// As the request names them; else newest message first, and in each message's order.
    pub(super) images: Vec<Image>,
    pub(super) mask: Option<Image>,
    /// The request says that the turn edits.
    pub(super) is_edit_required: bool,
    /// The newest message contains images: the user wants these to be edited.
    pub(super) are_of_newest_message: bool,
    /// Why no image can be used, if the newest message contains images.
    pub(super) refusal: Option<String>,
    /// A warning if the newest message contains images, and the engine cannot edit them.
    pub(super) unused: Option<String>,
}

impl EditSources {
    /// Loads the images that the request names, or those of the conversation.
    pub(super) async fn load(
        chat: &Chat,
        turn: &Turn,
        plan: &Result<JobPlan, Error>,
        messages: &[Message<'_>],
    ) -> Self {
        let choice = &turn.edit_choice;
        if choice.forbids_edit() {
            return Self::default();
        }
        let mut sources = if choice.sources.is_empty() {
            Self::of_conversation(chat, turn, plan, messages).await
        } else {
            Self::of_request(chat, turn).await
        };
        if !choice.requires_edit() {
            return sources;
        }
        sources.is_edit_required = true;
        // The edit is what the user wants.
        sources.are_of_newest_message = true;
        sources.unused = None;
        if sources.images.is_empty() && sources.refusal.is_none() {
            sources.refusal = Some(no_source(plan));
        }
        if let Some(mask) = &choice.mask {
            sources.load_mask(chat, turn, mask).await;
        }
        sources
    }

    /// Loads the images that the request names: all of them, or the edit is refused.
    async fn of_request(chat: &Chat, turn: &Turn) -> Self {
        let mut sources = Self::default();
        for name in &turn.edit_choice.sources {
            if sources.bytes() > MAX_SOURCE_BYTES {
                // The job refuses this number of bytes.
                break;
            }
            let reference = ImageReference::parse(name);
            match reference.load(&chat.files, &turn.user).await {
                Ok(image) => sources.images.push(image),
                Err(error) => {
                    sources.refusal = Some(refusal("image to edit", &error));
                    break;
                }
            }
        }
        sources
    }

    async fn load_mask(&mut self, chat: &Chat, turn: &Turn, name: &str) {
        let reference = ImageReference::parse(name);
        match reference.load(&chat.files, &turn.user).await {
            Ok(mask) => self.mask = Some(mask),
            Err(error) => {
                self.refusal = self.refusal.take().or(Some(refusal("mask", &error)));
            }
        }
    }

    /// Loads the images of the conversation, at most as many as the engine accepts. Skips images that cannot be
    /// loaded.
    ///
    /// Source: Open WebUI `utils/middleware.py`, `get_images_from_messages`: two messages, newest first.
    async fn of_conversation(
        chat: &Chat,
        turn: &Turn,
        plan: &Result<JobPlan, Error>,
        messages: &[Message<'_>],
    ) -> Self {
        let mut sources = Self::default();
        let max_sources = max_sources(plan);
        let newest = messages.iter().rposition(|message| message.is_from_user);
        if max_sources == 0 {
            let newest = newest.and_then(|index| messages.get(index));
            // If editing is disabled, the result is that of Open WebUI.
            if let Ok(plan) = plan
                && newest.is_some_and(|message| !message.images.is_empty())
            {
                let name = &plan.binding.name;
                sources.unused = Some(format!(
                    "the images of the message were not used: engine {name} cannot edit"
                ));
            }
            return sources;
        }
        let with_images = messages
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, message)| !message.images.is_empty());
        for (index, message) in with_images.take(MAX_MESSAGES) {
            sources.are_of_newest_message |= Some(index) == newest;
            for reference in &message.images {
                if sources.images.len() >= max_sources || sources.bytes() > MAX_SOURCE_BYTES {
                    break;
                }
                let reference = ImageReference::parse(reference);
                match reference.load(&chat.files, &turn.user).await {
                    Ok(image) => sources.add(image),
                    Err(error) => {
                        let reason = refusal("image to edit", &error);
                        if Some(index) == newest {
                            sources.refusal = Some(reason);
                        }
                    }
                }
            }
        }
        if !sources.images.is_empty() {
            sources.refusal = None;
        }
        sources
    }

    /// True if the conversation contains images to edit, even if none can be used.
    pub(super) fn request_edit(&self) -> bool {
        !self.images.is_empty() || self.refusal.is_some()
    }

    /// Adds an image once, even if a message contains it as a file and in its content.
    fn add(&mut self, image: Image) {
        let mut known = self.images.iter();
        if !known.any(|known| known.bytes() == image.bytes()) {
            self.images.push(image);
        }
    }

    fn bytes(&self) -> usize {
        self.images.iter().map(|image| image.bytes().len()).sum()
    }
}

/// How many images the engine accepts. 0 if editing is disabled or the engine cannot edit. If the plan
/// failed, the job reports the reason.
fn max_sources(plan: &Result<JobPlan, Error>) -> usize {
    let plan = match plan {
        Ok(plan) => plan,
        Err(Error::Disabled(_)) => return 0,
        Err(_) => return MAX_SOURCES,
    };
    let abilities = &plan.binding.component.description.abilities;
    if !abilities.edit {
        return 0;
    }
    usize::try_from(abilities.max_sources)
        .unwrap_or(MAX_SOURCES)
        .min(MAX_SOURCES)
}

/// Why an edit that the request wants has no image, for the user.
fn no_source(plan: &Result<JobPlan, Error>) -> String {
    match plan {
        Err(error) => error.to_string(),
        Ok(plan) if !plan.binding.component.description.abilities.edit => {
            let name = &plan.binding.name;
            format!("engine {name} cannot edit images: choose another engine")
        }
        Ok(_) => "there is no image to edit: attach one, or name it in image_generation.sources"
            .to_owned(),
    }
}

/// The reason for the user. Logs failures of the server.
fn refusal(what: &str, error: &LookupError) -> String {
    if let LookupError::Internal(error) = error {
        tracing::error!("cannot read the {what}: {error:#}");
    }
    format!("the {what} {error}")
}
