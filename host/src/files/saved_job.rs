//! Stores the images of a job together with its end.

use futures_util::future::join_all;
use pinhole_images::Image;

use super::delayed_storage::StoreFailure;
use super::spool::{SpooledFile, SpooledJob};
use super::{Files, ImageRecord, WrittenFile};
use crate::store::{FileRow, JobRow, MessageLink};

/// The stored images of a job.
#[derive(Clone, Debug)]
pub struct SavedFiles {
    pub rows: Vec<FileRow>,
    /// They wait in the spool.
    pub is_waiting: bool,
}

/// Why the images of a job are not stored. Their bytes are removed.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("another process has taken the job")]
    Taken,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Files {
    /// As [`Self::save_all`]. `end_of` makes the row of the job's end, which is written in the same transaction.
    pub async fn save_job(
        &self,
        user_id: &str,
        images: &[Image],
        records: &[ImageRecord],
        link: Option<MessageLink<'_>>,
        end_of: impl FnOnce(&[FileRow]) -> Option<JobRow>,
    ) -> Result<SavedFiles, SaveError> {
        let writes = images.iter().zip(records).map(|(image, record)| {
            let name = format!("generated-image.{}", image.extension());
            self.write_bytes(name, user_id, image, record.clone())
        });
        let (mut files, mut write_error) = (Vec::with_capacity(images.len()), None);
        for (written, image) in join_all(writes).await.into_iter().zip(images) {
            let mut bytes = None;
            if let Err(error) = written.result {
                bytes = Some(image.bytes().clone());
                write_error = Some(error);
            }
            let WrittenFile { row, gallery, .. } = written;
            files.push(SpooledFile {
                row,
                gallery,
                bytes,
            });
        }
        let rows: Vec<FileRow> = files.iter().map(|file| file.row.clone()).collect();
        let job = SpooledJob {
            id: uuid::Uuid::new_v4().to_string(),
            end: end_of(&rows).map(Box::new),
            files,
            link: link.map(|link| (link.chat_id.to_owned(), link.message_id.to_owned())),
        };
        let stored = match write_error {
            Some(error) => Err(StoreFailure::Temporary(error)),
            None => self.insert_job(&job).await,
        };
        match stored {
            Ok(()) => Ok(SavedFiles {
                rows,
                is_waiting: false,
            }),
            Err(failure) => self.spool_or_remove(job, failure).await,
        }
    }
}
