//! The result of a job, and how it is stored.

use pinhole_images::Image;
use pinhole_sandbox::contract::Cost;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::image_metadata::ImageMetadata;
use super::image_provenance::ImageProvenance;
use crate::files::{Files, ImageRecord, MessageLink, SaveError, SavedFiles};
use crate::store::{FileRow, JobRow, Store, User};

/// The result of a job.
#[derive(Clone, Debug)]
pub struct CompletedJob {
    /// The job's name in logs.
    pub job: String,
    /// The binding that was used.
    pub binding: String,
    pub engine: String,
    pub engine_version: String,
    /// The digest of the engine's component.
    pub digest: String,
    /// In the engine's order; at least one.
    pub images: Vec<Image>,
    /// One for each image, in the same order.
    pub image_details: Vec<ImageDetails>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// The engine's details: model, upstream ids. Null if they are invalid JSON.
    pub details: Value,
    /// What the upstream counted, such as tokens.
    pub usage: Option<Value>,
    /// What the upstream charges.
    pub cost: Option<Cost>,
    /// What the user should know about the images, such as that one is missing.
    pub warnings: Vec<String>,
    /// How many of the warnings are the engine's own, which come first.
    pub engine_warnings: usize,
    /// The request, and what else is stored with the images.
    pub provenance: ImageProvenance,
}

/// What an engine says about one image.
#[derive(Clone, Debug, Default)]
pub struct ImageDetails {
    /// Makes the same image again.
    pub seed: Option<u64>,
    /// The upstream's safety system marked it.
    pub flagged: bool,
    /// Null if there is nothing else to say.
    pub details: Value,
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

    /// Removes what the user wrote, and what the upstream made of it.
    pub(crate) fn remove_prompts(&mut self) {
        self.provenance.request.remove_texts();
        self.revised_prompt = None;
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
    ) -> anyhow::Result<Vec<FileRow>> {
        let saved = self.save_with_end(files, store, user, origin, |_| None);
        Ok(saved.await?.rows)
    }

    /// Stores all images, or none, as [`Self::save`]. `end_of` makes the row of the job's end, which is written in the
    /// same transaction.
    pub(super) async fn save_with_end(
        &self,
        files: &Files,
        store: &Store,
        user: &User,
        origin: Option<ImageOrigin<'_>>,
        end_of: impl FnOnce(&[FileRow]) -> Option<JobRow>,
    ) -> Result<SavedFiles, SaveError> {
        let records: Vec<ImageRecord> = (0..self.images.len())
            .map(|index| ImageMetadata::new(self, index, origin).into_record())
            .collect();
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
        files
            .save_job(&owner, &self.images, &records, link, end_of)
            .await
    }
}

/// What an upstream charges, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CostEntry {
    amount: f64,
    /// A currency such as `USD`, or the upstream's own unit.
    unit: String,
}

impl From<CostEntry> for Cost {
    fn from(entry: CostEntry) -> Self {
        Self {
            amount: entry.amount,
            unit: entry.unit,
        }
    }
}

impl From<&Cost> for CostEntry {
    fn from(cost: &Cost) -> Self {
        Self {
            amount: cost.amount,
            unit: cost.unit.clone(),
        }
    }
}
