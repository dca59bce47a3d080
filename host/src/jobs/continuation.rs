//! What continues a job in another process, in addition to its request: how it was planned, and its images.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::{Edit, Limits};
use serde::{Deserialize, Serialize};

use super::job_record::RequestRecord;
use crate::files::{Files, JobImage};
use crate::store::{JobRow, User};

/// What is stored with a job so that another process can do it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    /// The lengths of the stored sources, in bytes.
    sources: Vec<usize>,
    /// The length of the stored mask.
    mask: Option<usize>,
    /// The model of the chat, which can decide the binding.
    pub(super) chat_model: Option<String>,
    /// A language model wrote the prompt.
    pub(super) has_written_prompt: bool,
    /// Added to the warnings of the job.
    pub(super) warning: Option<String>,
}

/// Why the images of a job cannot be used.
pub(super) enum LoadError {
    /// One is missing or broken.
    Missing,
    /// Another attempt may succeed.
    Temporary(anyhow::Error),
}

impl Continuation {
    /// The continuation of a chat's job.
    #[must_use]
    pub fn of_turn(
        chat_model: Option<String>,
        has_written_prompt: bool,
        warning: Option<String>,
    ) -> Self {
        Self {
            chat_model,
            has_written_prompt,
            warning,
            ..Self::default()
        }
    }

    /// What is stored with a job, if it can be done again.
    pub(super) fn of(row: &JobRow) -> Option<Self> {
        serde_json::from_str(row.continuation.as_deref()?).ok()
    }

    /// Stores the images of an edit until [`Self::delete_images`].
    pub(super) async fn put_images(
        &mut self,
        files: &Files,
        job_id: &str,
        edit: &Edit,
    ) -> std::io::Result<()> {
        for (index, source) in edit.sources.iter().enumerate() {
            self.sources.push(source.bytes().len());
            let which = JobImage::Source(index);
            files.put_job_image(job_id, which, source).await?;
        }
        if let Some(mask) = &edit.mask {
            self.mask = Some(mask.bytes().len());
            files.put_job_image(job_id, JobImage::Mask, mask).await?;
        }
        Ok(())
    }

    /// The stored images, counted in the user's share of memory. `None` if the job is no edit.
    pub(super) async fn load_edit(
        &self,
        files: &Files,
        job_id: &str,
        user: &User,
        request: &RequestRecord,
    ) -> Result<Option<Edit>, LoadError> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        let mut sources = Vec::with_capacity(self.sources.len());
        for (index, length) in self.sources.iter().enumerate() {
            let which = JobImage::Source(index);
            let image = load_image(files, job_id, user, which, *length).await?;
            sources.push(named(image, request.source_id(index)));
        }
        let mask = match self.mask {
            Some(length) => {
                let mask = load_image(files, job_id, user, JobImage::Mask, length).await?;
                Some(named(mask, request.mask_id()))
            }
            None => None,
        };
        Ok(Some(Edit { sources, mask }))
    }

    /// Removes the images of a job that has ended.
    pub(super) async fn delete_images(&self, files: &Files, job_id: &str) {
        for index in 0..self.sources.len() {
            files
                .delete_job_image(job_id, JobImage::Source(index))
                .await;
        }
        if self.mask.is_some() {
            files.delete_job_image(job_id, JobImage::Mask).await;
        }
    }
}

async fn load_image(
    files: &Files,
    job_id: &str,
    user: &User,
    which: JobImage,
    length: usize,
) -> Result<Image, LoadError> {
    let lease = files.memory_of(user).lease(length).await;
    let lease = lease.map_err(|full| LoadError::Temporary(full.into()))?;
    let bytes = files.job_image(job_id, which).await;
    let bytes = bytes.map_err(|error| LoadError::Temporary(error.into()))?;
    let bytes = bytes.ok_or(LoadError::Missing)?;
    let limits = Limits::job(Duration::ZERO).image;
    Image::from_upload(lease.attach(bytes), limits).map_err(|_| LoadError::Missing)
}

fn named(image: Image, file_id: Option<&str>) -> Image {
    match file_id {
        Some(id) => image.with_file_id(id),
        None => image,
    }
}
