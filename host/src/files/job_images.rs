//! The images that a job edits, stored until it ends, so that another process can do it again.

use std::io;

use bytes::Bytes;
use pinhole_images::Image;

use super::{Files, MAX_OBJECT_BYTES, MAX_SOURCES};

/// What follows the job's id in the name of a source, before its index.
const SOURCE: &str = "source";
/// What follows the job's id in the name of a mask.
const MASK: &str = "mask";

/// Which image of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobImage {
    /// The source with this index.
    Source(usize),
    Mask,
}

impl JobImage {
    /// Starts with the job's id, by which the cleanup finds the job.
    fn object_name(self, job_id: &str) -> String {
        match self {
            Self::Source(index) => format!("{job_id}.{SOURCE}{index}"),
            Self::Mask => format!("{job_id}.{MASK}"),
        }
    }

    /// Does this follow the job's id in the name of one of its images?
    pub(super) fn is_suffix(text: &str) -> bool {
        text == MASK
            || text
                .strip_prefix(SOURCE)
                .is_some_and(|index| (0..MAX_SOURCES).any(|it| it.to_string() == index))
    }
}

impl Files {
    /// Stores an image of an active job. Before the job has a row, the cleanup removes it after an hour.
    pub async fn put_job_image(
        &self,
        job_id: &str,
        which: JobImage,
        image: &Image,
    ) -> io::Result<()> {
        let name = which.object_name(job_id);
        self.objects.put(&name, image.bytes().clone()).await
    }

    /// The bytes of an image of an active job. `None` if they are missing.
    pub async fn job_image(&self, job_id: &str, which: JobImage) -> io::Result<Option<Bytes>> {
        let name = which.object_name(job_id);
        self.objects.get(&name, MAX_OBJECT_BYTES).await
    }

    /// Removes an image of a job that has ended. The cleanup removes what remains.
    pub async fn delete_job_image(&self, job_id: &str, which: JobImage) {
        let name = which.object_name(job_id);
        if let Err(error) = self.objects.delete(&name).await {
            tracing::error!("cannot remove {name}, the cleanup will retry: {error}");
        }
    }
}
