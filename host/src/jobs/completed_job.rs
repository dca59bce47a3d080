//! The result of a job, and how it is stored.

use anyhow::Result;
use pinhole_images::Image;
use serde_json::{Value, json};

use crate::files::{Files, MessageLink};
use crate::store::{FileRow, Store, User};

/// The result of a job.
#[derive(Clone, Debug)]
pub struct CompletedJob {
    /// The job's name in logs.
    pub job: String,
    /// The binding that was used.
    pub binding: String,
    pub engine: String,
    /// The digest of the engine's component.
    pub digest: String,
    /// In the engine's order; at least one.
    pub images: Vec<Image>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// The engine's details: model, seeds, upstream ids. Null if they are invalid JSON.
    pub details: Value,
    /// What the user should know about the images, such as that one is missing.
    pub warnings: Vec<String>,
    /// How many of the warnings are the engine's own, which come first.
    pub engine_warnings: usize,
}

/// Where images come from: a message of a chat.
#[derive(Clone, Copy, Debug)]
pub struct ImageOrigin<'a> {
    pub chat_id: Option<&'a str>,
    pub message_id: &'a str,
    /// The prompt, if a language model wrote it.
    pub prompt: Option<&'a str>,
}

impl CompletedJob {
    /// What a person should know about the images: the warnings, and that the prompt was rewritten.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let rewritten = self.revised_prompt.as_ref();
        let rewritten = rewritten.map(|text| format!("the upstream rewrote the prompt: {text}"));
        self.warnings.iter().cloned().chain(rewritten).collect()
    }

    /// Stores all images, or none, for the user.
    ///
    /// If the origin is a message of a stored chat that the user may write to, the images are linked to it
    /// in the same transaction, and belong to the chat's owner.
    pub async fn save(
        &self,
        files: &Files,
        store: &Store,
        user: &User,
        origin: Option<ImageOrigin<'_>>,
    ) -> Result<Vec<FileRow>> {
        let metadata = self.metadata(origin);
        let link = origin.and_then(|origin| {
            Some(MessageLink {
                chat_id: origin.chat_id?,
                message_id: origin.message_id,
            })
        });
        let owner = match link {
            Some(link) => store.chat_owner(link.chat_id).await,
            None => Ok(None),
        };
        let (owner, link) = match owner {
            Ok(Some(owner)) if owner == user.id || user.role == "admin" => (owner, link),
            Ok(_) => (user.id.clone(), None),
            // The images must not be lost. Only a chat of the user is linked, once this is known.
            Err(error) => {
                tracing::error!("cannot read the owner of a chat: {error}");
                (user.id.clone(), link)
            }
        };
        files.save_all(&owner, &self.images, &metadata, link).await
    }

    /// What is stored with each image.
    fn metadata(&self, origin: Option<ImageOrigin<'_>>) -> Value {
        let mut metadata = json!({
            "job": self.job,
            "binding": self.binding,
            "engine": self.engine,
            "digest": self.digest,
            "details": self.details,
            "revised_prompt": self.revised_prompt,
            "warnings": self.warnings,
        });
        if let (Some(metadata), Some(origin)) = (metadata.as_object_mut(), origin) {
            metadata.insert("chat_id".to_owned(), origin.chat_id.into());
            metadata.insert("message_id".to_owned(), origin.message_id.into());
            if let Some(prompt) = origin.prompt {
                metadata.insert("prompt".to_owned(), prompt.into());
            }
        }
        metadata
    }
}
