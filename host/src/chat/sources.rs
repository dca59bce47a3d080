//! The pictures that a turn may change: those of the newest messages that have any.

use super::{Chat, Turn};
use super::history::Message;
use pinhole_images::Image;
use crate::jobs::{Error, JobPlan, MAX_SOURCE_BYTES};
use crate::files::lookup::{ImageReference, LookupError, MAX_SOURCES};

/// Messages whose pictures count.
const MAX_MESSAGES: usize = 2;

/// What a turn may change.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Those of the newest message first; within a message in its order.
    pub(super) images: Vec<Image>,
    /// Why there are none, where the person brought some with this very message.
    pub(super) refused: Option<String>,
}

impl Sources {
    /// Is there anything that asks for an edit?
    pub(super) fn are_there(&self) -> bool {
        !self.images.is_empty() || self.refused.is_some()
    }
}

/// Reads the pictures, where editing is on and done by an engine that can.
///
/// What cannot be read is passed over, and there are no more than the engine takes.
///
/// Source: Open WebUI `utils/middleware.py`, `get_images_from_messages`: two messages, newest first.
pub(super) async fn load(
    chat: &Chat,
    plan: &Result<JobPlan, Error>,
    turn: &Turn,
    messages: &[Message<'_>],
) -> Sources {
    let mut sources = Sources::default();
    let most = most(plan);
    if most == 0 {
        return sources;
    }
    let newest = messages.iter().rposition(|message| message.is_users);
    let with_pictures = messages.iter().enumerate().rev();
    let with_pictures = with_pictures.filter(|(_, message)| !message.pictures.is_empty());
    for (at, message) in with_pictures.take(MAX_MESSAGES) {
        for name in &message.pictures {
            if sources.images.len() >= most || bytes(&sources.images) > MAX_SOURCE_BYTES {
                break;
            }
            match ImageReference::parse(name).load(&chat.files, &turn.user).await {
                Ok(image) => sources.add(image),
                Err(unusable) if Some(at) == newest => sources.refused = Some(told(unusable)),
                Err(unusable) => drop(told(unusable)),
            }
        }
    }
    if !sources.images.is_empty() {
        sources.refused = None;
    }
    sources
}

impl Sources {
    /// A picture that a message has as a file and in its content is one.
    fn add(&mut self, image: Image) {
        if !self
            .images
            .iter()
            .any(|known| known.bytes() == image.bytes())
        {
            self.images.push(image);
        }
    }
}

/// How many pictures the engine that edits takes; none where editing is off, or is nothing that it
/// can. One that is not there is not known not to: its job will say so.
fn most(plan: &Result<JobPlan, Error>) -> usize {
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

fn bytes(images: &[Image]) -> usize {
    images.iter().map(|image| image.bytes().len()).sum()
}

/// The reason for a person; our own failures are for the log.
fn told(unusable: LookupError) -> String {
    if let LookupError::Internal(error) = &unusable {
        tracing::error!("a picture to change cannot be read: {error:#}");
    }
    format!("the picture to change {unusable}")
}
