//! The images that a turn may edit: those of the newest messages that contain any.

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
    /// Newest message first, and in each message's order.
    pub(super) images: Vec<Image>,
    /// The newest message contains images: the user wants these to be edited.
    pub(super) are_of_newest_message: bool,
    /// Why no image can be used, if the newest message contains images.
    pub(super) refusal: Option<String>,
}

impl EditSources {
    /// Loads the images, at most as many as the engine accepts. Skips images that cannot be loaded.
    ///
    /// Source: Open WebUI `utils/middleware.py`, `get_images_from_messages`: two messages, newest first.
    pub(super) async fn load(
        chat: &Chat,
        turn: &Turn,
        plan: &Result<JobPlan, Error>,
        messages: &[Message<'_>],
    ) -> Self {
        let mut sources = Self::default();
        let max_sources = max_sources(plan);
        if max_sources == 0 {
            return sources;
        }
        let newest = messages.iter().rposition(|message| message.is_from_user);
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
                        let reason = refusal(&error);
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

/// The reason for the user. Logs failures of the server.
fn refusal(error: &LookupError) -> String {
    if let LookupError::Internal(error) = error {
        tracing::error!("cannot read an image to edit: {error:#}");
    }
    format!("the image to edit {error}")
}
