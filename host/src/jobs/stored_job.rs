//! The images of a job that has ended, as its response needs them.

use anyhow::{Context, Result};
use pinhole_sandbox::contract::Cost;

use super::completed_job::{CompletedJob, ImageDetails};
use super::image_metadata::ImageMetadata;
use super::image_provenance::ImageProvenance;
use super::job_record::JobRecord;
use crate::files::Files;
use crate::files::lookup::load_file;
use crate::store::{FileRow, JobRow, User};

impl CompletedJob {
    /// Loads the images of a job that is done, for its user. `None` if one was deleted meanwhile.
    pub async fn load(
        files: &Files,
        user: &User,
        row: &JobRow,
    ) -> Result<Option<(Self, Vec<FileRow>)>> {
        let (mut images, mut image_details, mut file_rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut metadata = ImageMetadata::default();
        for id in JobRecord::new(row).file_ids() {
            let Some(file) = files.find(id, user).await? else {
                return Ok(None);
            };
            metadata =
                serde_json::from_str(&file.meta).context("cannot read what made an image")?;
            let image = load_file(files, user, id).await;
            images.push(image.with_context(|| format!("image {id}"))?);
            image_details.push(ImageDetails {
                seed: metadata.seed,
                flagged: metadata.flagged,
                details: metadata.image.clone(),
            });
            file_rows.push(file);
        }
        let completed = Self {
            job: row.id.clone(),
            binding: row.binding.clone(),
            engine: row.engine.clone(),
            engine_version: row.engine_version.clone(),
            digest: row.digest.clone(),
            images,
            image_details,
            revised_prompt: metadata.revised_prompt,
            details: metadata.details,
            usage: metadata.usage,
            cost: metadata.cost.map(Cost::from),
            engine_warnings: metadata.warnings.len(),
            warnings: metadata.warnings,
            provenance: ImageProvenance::default(),
        };
        Ok(Some((completed, file_rows)))
    }
}
