//! Byte objects with names, in a directory or in a bucket.

mod bucket;
mod bucket_connector;
mod bucket_error;
mod bucket_health;
mod folder;
mod object_name;

use std::io;
use std::ops::Range;
use std::time::SystemTime;

use anyhow::Result;
use bytes::Bytes;
use cap_std::fs::Dir;
use futures_util::{Stream, StreamExt};

use super::storage_provider::StorageProvider;

pub(super) use bucket::Bucket;
pub use bucket::SignedHeaders;
pub(super) use bucket_connector::BucketConnector;
pub(super) use bucket_error::{BucketError, BucketProblem};
pub(super) use bucket_health::CHECK_INTERVAL;
pub(super) use folder::Folder;
pub(super) use object_name::is_object_name;

/// The name of the directory in the data directory.
const FOLDER: &str = "files";

/// A place for byte objects. Clones share it.
#[derive(Clone)]
pub(super) enum Objects {
    Folder(Folder),
    Bucket(Bucket),
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectEntry {
    pub(super) name: String,
    /// In bytes.
    pub(super) length: u64,
    /// When it was last written.
    pub(super) modified: SystemTime,
}

impl Objects {
    /// Opens the place that the operator configured. Sends no request.
    pub(super) fn open(data: &Dir, provider: &StorageProvider) -> Result<Self> {
        match provider {
            StorageProvider::Local => Ok(Self::Folder(Folder::open(data, FOLDER)?)),
            StorageProvider::Bucket(config) => Ok(Self::Bucket(Bucket::open(config)?)),
        }
    }

    /// Creates or replaces an object atomically.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.put(name, bytes).await,
            Self::Bucket(bucket) => bucket.put(name, bytes).await,
        }
    }

    /// Creates an object, or fails if the name is taken. Returns the SHA-256 of the bytes in hexadecimal.
    ///
    /// Readers must not use the name before this is done.
    pub(super) async fn create(&self, name: &str, bytes: Bytes) -> io::Result<String> {
        match self {
            Self::Folder(folder) => folder.create(name, bytes).await,
            Self::Bucket(bucket) => bucket.create(name, bytes).await,
        }
    }

    /// True if there are no objects.
    pub(super) async fn is_empty(&self) -> io::Result<bool> {
        match self {
            Self::Folder(folder) => folder.is_empty().await,
            Self::Bucket(bucket) => bucket.is_empty().await,
        }
    }

    /// All bytes of an object. `None` if it does not exist. Fails if a bucket has more than `max_bytes`; a
    /// directory has only what was checked when it was written.
    pub(super) async fn get(&self, name: &str, max_bytes: u64) -> io::Result<Option<Bytes>> {
        match self {
            Self::Folder(folder) => folder.get(name).await,
            Self::Bucket(bucket) => bucket.get(name, max_bytes).await,
        }
    }

    /// A range of an object's bytes, in chunks. `None` if the object does not exist.
    ///
    /// Fails if the object does not have exactly `length` bytes.
    pub(super) async fn get_range(
        &self,
        name: &str,
        length: u64,
        range: Range<u64>,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        Ok(match self {
            Self::Folder(folder) => {
                let chunks = folder.get_range(name, length, range).await?;
                chunks.map(StreamExt::left_stream)
            }
            Self::Bucket(bucket) => {
                let chunks = bucket.get_range(name, length, range).await?;
                chunks.map(StreamExt::right_stream)
            }
        })
    }

    /// Length of an object in bytes. `None` if it does not exist.
    pub(super) async fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match self {
            Self::Folder(folder) => folder.length(name).await,
            Self::Bucket(bucket) => bucket.length(name).await,
        }
    }

    /// Removes an object if it exists.
    pub(super) async fn delete(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.delete(name).await,
            Self::Bucket(bucket) => bucket.delete(name).await,
        }
    }

    /// The objects in batches. A bucket may be shared with other programs, so its list has only objects whose
    /// names are those of files, thumbnails or images of jobs.
    pub(super) async fn list(
        &self,
        batch: usize,
    ) -> io::Result<impl Stream<Item = io::Result<Vec<ObjectEntry>>> + use<>> {
        Ok(match self {
            Self::Folder(folder) => folder.list(batch).await?.left_stream(),
            Self::Bucket(bucket) => bucket.list(batch).right_stream(),
        })
    }
}
