//! Copies the bytes of all files between a directory and a bucket, or between two buckets.
//!
//! An object that exists with the same length is skipped, so that an interrupted copy continues. Rows are not
//! copied: the database stays where it is.

use std::io;
use std::pin::pin;

use anyhow::{Context, Result, bail};
use cap_std::fs::Dir;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::MAX_OBJECT_BYTES;
use super::identity::Identity;
use super::objects::{ObjectEntry, Objects, is_object_name};
use super::storage_provider::StorageProvider;

/// Objects that are copied at the same time. Each is held in memory.
const PARALLEL_COPIES: usize = 4;
/// Objects of one step of a list.
const BATCH: usize = 1000;
/// Failures after which a copy stops.
const MAX_FAILURES: u64 = 100;

/// A place of files, for [`Storage::copy_to`].
pub struct Storage {
    objects: Objects,
    identity: Identity,
}

/// What a copy changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    Write,
    /// Nothing.
    DryRun,
}

/// What a copy did, in objects: images and thumbnails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounts {
    pub copied: u64,
    pub copied_bytes: u64,
    /// They were at the destination already, with the same length.
    pub present: u64,
    /// Their names are not those of images or thumbnails.
    pub ignored: u64,
    pub failed: u64,
}

/// What became of one object.
enum Outcome {
    Copied(u64),
    Present,
    Ignored,
}

impl Storage {
    /// Opens a place of files. For a bucket, `data` is not used.
    pub fn open(data: Dir, provider: &StorageProvider) -> Result<Self> {
        let objects = Objects::open(&data, provider)?;
        let identity = Identity::new(data, objects.clone());
        Ok(Self { objects, identity })
    }

    /// Copies all files that the other place does not have. `report` gets the name of each that failed, and why.
    ///
    /// Fails if the objects cannot be listed, if too many fail, or if the other place belongs to another database. A whole copy also has the id of the database, so
    /// that the server can sweep the copy.
    pub async fn copy_to(
        &self,
        other: &Self,
        mode: CopyMode,
        mut report: impl FnMut(&str, &io::Error),
    ) -> Result<CopyCounts> {
        let failure = "cannot list the files to copy";
        let id = self.identity.read().await?;
        let other_id = other.identity.read().await?;
        if other_id.is_some() && other_id != id {
            bail!(
                "the {} to copy to has the files of another database: use an empty one, or another S3_KEY_PREFIX",
                other.identity.place()
            );
        }
        let mut counts = CopyCounts::default();
        let mut batches = pin!(self.objects.list(BATCH).await.context(failure)?);
        while let Some(batch) = batches.try_next().await.context(failure)? {
            let copies = batch.into_iter().map(|entry| async {
                let outcome = copy(&self.objects, &other.objects, &entry, mode).await;
                (entry.name, outcome)
            });
            let mut outcomes = pin!(stream::iter(copies).buffer_unordered(PARALLEL_COPIES));
            while let Some((name, outcome)) = outcomes.next().await {
                if let Err(error) = &outcome {
                    report(&name, error);
                }
                counts.add(outcome);
                if counts.failed >= MAX_FAILURES {
                    bail!("{MAX_FAILURES} files could not be copied: see the messages above");
                }
            }
        }
        if mode == CopyMode::Write
            && counts.failed == 0
            && let (Some(id), None) = (id, other_id)
        {
            other.identity.write(&id).await?;
        }
        Ok(counts)
    }
}

impl CopyCounts {
    fn add(&mut self, outcome: io::Result<Outcome>) {
        match outcome {
            Ok(Outcome::Copied(bytes)) => {
                self.copied += 1;
                self.copied_bytes = self.copied_bytes.saturating_add(bytes);
            }
            Ok(Outcome::Present) => self.present += 1,
            Ok(Outcome::Ignored) => self.ignored += 1,
            Err(_) => self.failed += 1,
        }
    }
}

async fn copy(
    from: &Objects,
    to: &Objects,
    entry: &ObjectEntry,
    mode: CopyMode,
) -> io::Result<Outcome> {
    if !is_object_name(&entry.name) {
        return Ok(Outcome::Ignored);
    }
    if to.length(&entry.name).await? == Some(entry.length) {
        return Ok(Outcome::Present);
    }
    if mode == CopyMode::Write {
        let bytes = from.get(&entry.name, MAX_OBJECT_BYTES).await?;
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        to.put(&entry.name, bytes).await?;
    }
    Ok(Outcome::Copied(entry.length))
}
