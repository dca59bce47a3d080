//! Images that cannot be stored at once: they wait in the spool, and another attempt stores them.

use super::spool::{SpooledFile, SpooledJob};
use super::{Files, SaveError, SavedFiles, file_entry};
use crate::store::{NewFile, Trouble};

/// Why images were not stored.
pub(super) enum StoreFailure {
    /// Another attempt may succeed.
    Temporary(anyhow::Error),
    Permanent(anyhow::Error),
    /// Another process has taken the job.
    Taken,
}

impl Files {
    /// True if the images of this job wait to be stored, and the end of the job with them.
    #[must_use]
    pub fn has_end_of(&self, job_id: &str) -> bool {
        self.spool.has_end_of(job_id)
    }

    /// True if the ends of jobs wait to be stored with their images.
    #[must_use]
    pub fn has_waiting_ends(&self) -> bool {
        self.spool.jobs().iter().any(|job| job.end.is_some())
    }

    /// Keeps images that could not be stored, if that may change. Otherwise removes their bytes.
    pub(super) async fn spool_or_remove(
        &self,
        job: SpooledJob,
        failure: StoreFailure,
    ) -> Result<SavedFiles, SaveError> {
        let error = match failure {
            StoreFailure::Temporary(error) => {
                let rows = job.files.iter().map(|file| file.row.clone()).collect();
                if self.spool.add(job.clone()) {
                    tracing::error!("cannot store images, will retry: {error:#}");
                    return Ok(SavedFiles {
                        rows,
                        is_waiting: true,
                    });
                }
                error.into()
            }
            StoreFailure::Permanent(error) => error.into(),
            StoreFailure::Taken => SaveError::Taken,
        };
        for file in &job.files {
            self.delete_bytes(&file.row.id).await;
        }
        Err(error)
    }

    /// Inserts the rows of a job's images, whose bytes are written. Succeeds if they exist: a connection may have broken
    /// after an earlier attempt was committed, and before the database said so.
    pub(super) async fn insert_job(&self, job: &SpooledJob) -> Result<(), StoreFailure> {
        match self.insert_new_job(job).await {
            Err(StoreFailure::Temporary(error)) => Err(StoreFailure::Temporary(error)),
            Err(_) if self.are_stored(job).await? => Ok(()),
            inserted => inserted,
        }
    }

    /// True if the rows of a job's images exist.
    async fn are_stored(&self, job: &SpooledJob) -> Result<bool, StoreFailure> {
        let ids = job.files.iter().map(|file| file.row.id.clone()).collect();
        let existing = self.store.existing_file_ids(&ids).await;
        let existing = existing.map_err(|error| StoreFailure::Temporary(error.into()))?;
        Ok(existing.len() == ids.len())
    }

    async fn insert_new_job(&self, job: &SpooledJob) -> Result<(), StoreFailure> {
        let new_file = |file: &SpooledFile| NewFile {
            entry: file_entry(&file.row),
            row: file.row.clone(),
            gallery: file.gallery.clone(),
        };
        let rows: Vec<_> = job.files.iter().map(new_file).collect();
        let link = job.message_link();
        let inserted = match &job.end {
            Some(end) => self.store.finish_job(end, &rows, link).await,
            None => self.store.insert_files(&rows, link).await.map(|()| true),
        };
        let is_inserted = inserted.map_err(|error| {
            let is_temporary = Trouble::of(&error).is_some();
            let error =
                anyhow::Error::from(error).context("cannot insert images into the database");
            if is_temporary {
                StoreFailure::Temporary(error)
            } else {
                StoreFailure::Permanent(error)
            }
        })?;
        if !is_inserted {
            return Err(StoreFailure::Taken);
        }
        Ok(())
    }

    /// Stores the images that wait in the spool, as far as it is possible now. Opens the files that
    /// images are written to when no further file can be opened.
    pub async fn store_spooled(&self) {
        let _storing = self.spool.start_storing().await;
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
                    self.discard_spooled(&job).await;
                }
                Err(StoreFailure::Taken) => {
                    tracing::warn!(
                        "images of the spool belong to a job that another process has taken"
                    );
                    self.discard_spooled(&job).await;
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
        // The process may have ended after the rows were inserted.
        if self.are_stored(job).await? {
            return Ok(());
        }
        self.insert_job(job).await
    }

    async fn discard_spooled(&self, job: &SpooledJob) {
        for file in &job.files {
            self.delete_bytes(&file.row.id).await;
        }
        self.forget_spooled(&job.id);
    }

    fn forget_spooled(&self, job_id: &str) {
        if let Err(error) = self.spool.remove(job_id) {
            tracing::error!("cannot remove a record of the spool: {error}");
        }
    }
}
