//! Whether there is room for more: the user's quota, and the reserve of the disk.

use anyhow::Context;
use pinhole_ground::disk;
use pinhole_ground::guard::Guard;

use super::Files;
use super::objects::Objects;
use crate::store::User;

/// Storage limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// Files and chats of one user, in bytes. Administrators have no limit.
    pub user_bytes: u64,
    /// Free space that the disk must retain, in bytes.
    pub reserved_bytes: u64,
}

/// Why nothing more is stored.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    #[error("your files and chats occupy {used_mib} MiB of {max_mib} MiB: delete some first")]
    Quota { used_mib: u64, max_mib: u64 },
    #[error("the server's disk is full: nothing new is stored until an administrator frees space")]
    DiskFull,
    #[error(
        "the server cannot reach its image storage: no images are made until it can, try again later"
    )]
    BucketLost,
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl NoRoom {
    fn quota(used: u64, max: u64) -> Self {
        Self::Quota {
            used_mib: used.div_ceil(1 << 20),
            max_mib: max >> 20,
        }
    }
}

impl Files {
    /// Fails if the user may not store this many bytes more as images, if the disk has too little space, or if the
    /// bucket is lost.
    pub async fn require_image_room(&self, user: &User, more_bytes: u64) -> Result<(), NoRoom> {
        match &self.objects {
            Objects::Folder(_) => self.require_disk(more_bytes)?,
            Objects::Bucket(bucket) => {
                bucket.require_available().map_err(|_| NoRoom::BucketLost)?;
                self.require_disk(0)?;
            }
        }
        self.require_quota(user, more_bytes).await
    }

    /// Fails if the user may not store this many bytes more as text, or if the disk has too little space.
    pub async fn require_text_room(&self, user: &User, more_bytes: u64) -> Result<(), NoRoom> {
        self.require_disk(more_bytes)?;
        self.require_quota(user, more_bytes).await
    }

    async fn require_quota(&self, user: &User, more_bytes: u64) -> Result<(), NoRoom> {
        let Some(max) = self.quota(user) else {
            return Ok(());
        };
        let usage = self.store.storage_use(&user.id).await;
        let used = usage.context("cannot read a user's storage")?.total();
        let is_exceeded = used >= max || used.saturating_add(more_bytes) > max;
        if Guard::UserStorage.applies(is_exceeded) {
            return Err(NoRoom::quota(used, max));
        }
        Ok(())
    }

    /// The refusal of what would exceed the user's quota.
    pub(super) async fn quota_exceeded(&self, user: &User) -> anyhow::Result<NoRoom> {
        let usage = self.store.storage_use(&user.id).await;
        let used = usage.context("cannot read a user's storage")?.total();
        Ok(NoRoom::quota(used, self.limits.user_bytes))
    }

    /// What the user may occupy, in bytes. `None` for an administrator.
    #[must_use]
    pub fn quota(&self, user: &User) -> Option<u64> {
        (user.role != "admin").then_some(self.limits.user_bytes)
    }

    /// Fails if the disk has too little space for this many bytes more.
    pub fn require_disk(&self, more_bytes: u64) -> Result<(), NoRoom> {
        let free = self.free_bytes()?;
        if Guard::DiskReserve.applies(free.saturating_sub(more_bytes) < self.limits.reserved_bytes)
        {
            return Err(NoRoom::DiskFull);
        }
        Ok(())
    }

    /// The free space of the disk, in bytes.
    pub fn free_bytes(&self) -> anyhow::Result<u64> {
        disk::free_bytes(&self.data).context("cannot read the free space of the data directory")
    }
}
