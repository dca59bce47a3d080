//! Images that cannot be stored at once: they wait in the spool, and another attempt stores them.

use anyhow::Result;

use super::spool::{SpooledFile, SpooledJob};
use super::{Files, file_entry};
use crate::store::{FileRow, NewFile, Trouble};

/// Why images were not stored.
pub(super) enum StoreFailure {
    /// Another attempt may succeed.
    Temporary(anyhow::Error),
    Permanent(anyhow::Error),
}

impl Files {
    /// Keeps images that could not be stored, if that may change. Otherwise removes their bytes.
    pub(super) async fn spool_or_remove(
        &self,
        job: SpooledJob,
        failure: StoreFailure,
    ) -> Result<Vec<FileRow>> {
        let error = match failure {
            StoreFailure::Temporary(error) => {
                let rows = job.files.iter().map(|file| file.row.clone()).collect();
                if self.spool.add(job.clone()) {
                    tracing::error!("cannot store images, will retry: {error:#}");
                    return Ok(rows);
                }
                error
            }
            StoreFailure::Permanent(error) => error,
        };
        for file in &job.files {
            self.delete_bytes(&file.row.id).await;
        }
        Err(error)
    }

    /// Inserts the rows of a job's images, whose bytes are written.
    pub(super) async fn insert_job(&self, job: &SpooledJob) -> Result<(), StoreFailure> {
        let new_file = |file: &SpooledFile| NewFile {
            entry: file_entry(&file.row),
            row: file.row.clone(),
            gallery: file.gallery.clone(),
        };
        let rows: Vec<_> = job.files.iter().map(new_file).collect();
        let inserted = self.store.insert_files(&rows, job.message_link()).await;
        inserted.map_err(|error| {
            let is_temporary = Trouble::of(&error).is_some();
            let error =
                anyhow::Error::from(error).context("cannot insert images into the database");
            if is_temporary {
                StoreFailure::Temporary(error)
            } else {
                StoreFailure::Permanent(error)
            }
        })
    }

    /// Stores the images that wait in the spool, as far as it is possible now. Opens the files that
    /// images are written to when no further file can be opened.
    pub async fn store_spooled(&self) {
        self.spool.open_spares().ok();
        for mut job in self.spool.jobs() {
            match self.store_spooled_job(&mut job).await {
                Ok(()) => {
                    tracing::info!("stored {} image(s) of the spool", job.files.len());
                    self.forget_spooled(&job.id);
                }
                Err(StoreFailure::Temporary(error)) => {
                    tracing::debug!("images wait in the spool: {error:#}");
                    self.spool.update(job);
                }
                Err(StoreFailure::Permanent(error)) => {
                    tracing::error!("images of the spool are lost: {error:#}");
                    for file in &job.files {
                        self.delete_bytes(&file.row.id).await;
                    }
                    self.forget_spooled(&job.id);
                }
            }
        }
    }

    async fn store_spooled_job(&self, job: &mut SpooledJob) -> Result<(), StoreFailure> {
        for file in &mut job.files {
            if let Some(bytes) = &file.bytes {
                file.row.hash = self
                    .create(&file.row.id, bytes.clone())
                    .await
                    .map_err(StoreFailure::Temporary)?;
                file.bytes = None;
            }
        }
        let ids = job.files.iter().map(|file| file.row.id.clone()).collect();
        let existing = self.store.existing_file_ids(&ids).await;
        let existing = existing.map_err(|error| StoreFailure::Temporary(error.into()))?;
        // The process ended after the rows were inserted.
        if existing.len() == ids.len() {
            return Ok(());
        }
        self.insert_job(job).await
    }

    fn forget_spooled(&self, job_id: &str) {
        if let Err(error) = self.spool.remove(job_id) {
            tracing::error!("cannot remove a record of the spool: {error}");
        }
    }
}
