//! Limits the memory of concurrent uploads.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Files;

/// Length of all images that are being uploaded, in bytes. Further uploads are refused.
pub const MAX_UPLOADING_BYTES: usize = 64 << 20;

/// The memory that one upload has reserved. Dropping it releases the memory.
#[derive(Debug)]
pub struct UploadReservation {
    uploads: Arc<Semaphore>,
    reserved: Option<OwnedSemaphorePermit>,
}

impl Files {
    /// An empty reservation for an upload, which grows while bytes arrive.
    #[must_use]
    pub fn reserve_upload(&self) -> UploadReservation {
        UploadReservation {
            uploads: self.uploads.clone(),
            reserved: None,
        }
    }
}

impl UploadReservation {
    /// Reserves more bytes. Returns false if all uploads together would exceed their limit.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Ok(permits) = u32::try_from(bytes) else {
            return false;
        };
        let Ok(more) = self.uploads.clone().try_acquire_many_owned(permits) else {
            return false;
        };
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
        true
    }
}
