//! Limits the memory of concurrent uploads.

use pinhole_ground::shares::{Share, SharesFull};

use super::Files;

/// Length of all images that are being uploaded, in bytes. Further uploads are refused.
pub const MAX_UPLOADING_BYTES: usize = 128 << 20;
/// Length of the images that one user is uploading, in bytes: one of the longest and some small ones.
pub const MAX_USER_UPLOADING_BYTES: usize = 40 << 20;

/// The memory that one upload has reserved. Dropping it releases the memory.
#[derive(Debug)]
pub struct UploadReservation(Share<String>);

impl Files {
    /// An empty reservation for an upload, which grows while bytes arrive.
    pub fn reserve_upload(&self, user_id: &str) -> Result<UploadReservation, SharesFull> {
        let share = self.uploads.take(Some(user_id.to_owned()), 0)?;
        Ok(UploadReservation(share))
    }
}

impl UploadReservation {
    /// Reserves more bytes. Fails if the user's uploads or all uploads together would exceed their limit.
    pub fn grow(&mut self, bytes: usize) -> Result<(), SharesFull> {
        self.0.grow(bytes)
    }
}
