//! Byte objects in a directory.

use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use cap_std::fs::{Dir, ReadDir};
use futures_util::{Stream, stream};
use pinhole_ground::data_dir;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};

use super::ObjectEntry;
use crate::file_chunks::{FileChunks, blocking};
use crate::files::spool::SpareFile;

/// A directory of byte objects.
#[derive(Clone, Debug)]
pub(in crate::files) struct Folder {
    directory: Arc<Dir>,
}

impl Folder {
    pub(in crate::files) fn open(data: &Dir, name: &str) -> Result<Self> {
        let directory = Arc::new(data_dir::create_in(data, name)?);
        Ok(Self { directory })
    }

    /// Creates or replaces an object atomically.
    pub(in crate::files) async fn put(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |directory| data_dir::write_whole(directory, &name, &bytes))
            .await
    }

    /// Creates an object, or fails if the name is taken. Returns the SHA-256 of the bytes in hexadecimal.
    ///
    /// Faster than [`Self::put`], because it renames no file. Readers must not use the name before this
    /// is done.
    pub(in crate::files) async fn create(&self, name: &str, bytes: Bytes) -> io::Result<String> {
        let name = name.to_owned();
        self.blocking(move |directory| {
            let mut options = data_dir::private_file();
            let mut file = directory.open_with(&name, options.write(true).create_new(true))?;
            if let Err(error) = file.write_all(&bytes) {
                // The cleanup removes a file that remains.
                directory.remove_file(&name).ok();
                return Err(error);
            }
            Ok(hex(&Sha256::digest(&bytes)))
        })
        .await
    }

    /// Creates an object from a file that is already open, so that no further file is opened.
    pub(in crate::files) async fn create_from(
        &self,
        spare: SpareFile,
        name: &str,
        bytes: Bytes,
    ) -> io::Result<String> {
        let name = name.to_owned();
        self.blocking(move |directory| {
            spare.write(&bytes, directory, &name)?;
            Ok(hex(&Sha256::digest(&bytes)))
        })
        .await
    }

    /// True if there are no objects.
    pub(in crate::files) async fn is_empty(&self) -> io::Result<bool> {
        self.blocking(|directory| Ok(directory.entries()?.next().is_none()))
            .await
    }

    /// All bytes of an object. `None` if it does not exist.
    pub(in crate::files) async fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        let name = name.to_owned();
        self.blocking(move |directory| optional(directory.read(&name)))
            .await
            .map(|bytes| bytes.map(Bytes::from))
    }

    /// A range of an object's bytes, in chunks. `None` if the object does not exist.
    ///
    /// Fails if the object does not have exactly `length` bytes.
    pub(in crate::files) async fn get_range(
        &self,
        name: &str,
        length: u64,
        range: Range<u64>,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        let name = name.to_owned();
        let opened = self.blocking(move |directory| {
            let Some(mut file) = optional(directory.open(&name))? else {
                return Ok(None);
            };
            let actual = file.metadata()?.len();
            if actual != length {
                let message = format!("{name} has {actual} bytes instead of {length}");
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            file.seek(SeekFrom::Start(range.start))?;
            FileChunks::new(file, range.end.saturating_sub(range.start)).next()
        });
        let Some((first, rest)) = opened.await? else {
            return Ok(None);
        };
        Ok(Some(rest.into_stream(first)))
    }

    /// Removes an object if it exists.
    pub(in crate::files) async fn delete(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |directory| optional(directory.remove_file(&name)).map(|_| ()))
            .await
    }

    /// Length of an object in bytes. `None` if it does not exist.
    pub(in crate::files) async fn length(&self, name: &str) -> io::Result<Option<u64>> {
        let name = name.to_owned();
        self.blocking(move |directory| optional(directory.metadata(&name)))
            .await
            .map(|metadata| metadata.map(|metadata| metadata.len()))
    }

    /// All objects, in batches.
    pub(in crate::files) async fn list(
        &self,
        batch: usize,
    ) -> io::Result<impl Stream<Item = io::Result<Vec<ObjectEntry>>> + use<>> {
        let entries = self.blocking(Dir::entries).await?;
        Ok(stream::try_unfold(entries, move |entries| {
            blocking(move || next_entries(entries, batch))
        }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Dir) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let directory = self.directory.clone();
        blocking(move || work(&directory)).await
    }
}

/// The next batch of objects. `None` at the end.
fn next_entries(
    mut entries: ReadDir,
    batch: usize,
) -> io::Result<Option<(Vec<ObjectEntry>, ReadDir)>> {
    let mut found = Vec::new();
    for entry in entries.by_ref() {
        let entry = entry?;
        // Ignores a file that was removed meanwhile.
        let Some(metadata) = optional(entry.metadata())? else {
            continue;
        };
        if metadata.is_file()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push(ObjectEntry {
                name,
                length: metadata.len(),
                modified: metadata.modified()?.into_std(),
            });
        }
        if found.len() == batch {
            break;
        }
    }
    Ok((!found.is_empty()).then_some((found, entries)))
}

/// `None` if the file does not exist.
fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
