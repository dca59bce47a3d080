//! The bytes of files by name: put, get with a range, delete, list.
//!
//! These are the operations that a bucket has too.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use bytes::Bytes;
use cap_std::fs::{Dir, File, OpenOptions, ReadDir};
use futures_util::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};

use pinhole_ground::text::hex;
use pinhole_ground::data_dir;

/// Read at a time, in bytes: what a slow client makes us hold.
const CHUNK_BYTES: u64 = 256 << 10;

/// A folder of bytes by name.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    folder: Arc<Dir>,
}

impl Objects {
    pub(super) fn open(data: &Dir, name: &str) -> Result<Self> {
        let folder = Arc::new(data_dir::create_in(data, name)?);
        Ok(Self { folder })
    }

    /// Keeps bytes under a name, all of them or none. What was there is replaced.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |folder| data_dir::write_whole(folder, &name, &bytes))
            .await
    }

    /// Keeps bytes under a name that nobody asks for before this is done, such as a fresh id: that
    /// needs no second name, which a folder is slow to change. Fails where the name is taken, and
    /// leaves nothing where it fails. Their SHA-256 in hexadecimal.
    pub(super) async fn add(&self, name: &str, bytes: Bytes) -> io::Result<String> {
        let name = name.to_owned();
        self.blocking(move |folder| {
            let mut options = OpenOptions::new();
            let mut file = folder.open_with(&name, options.write(true).create_new(true))?;
            if let Err(error) = file.write_all(&bytes) {
                // The failure is what matters; what is left over is swept.
                folder.remove_file(&name).ok();
                return Err(error);
            }
            Ok(hex(&Sha256::digest(&bytes)))
        })
        .await
    }

    /// All bytes of a name. `None` when there are none.
    pub(super) async fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        let name = name.to_owned();
        self.blocking(move |folder| found(folder.read(&name)))
            .await
            .map(|bytes| bytes.map(Bytes::from))
    }

    /// Bytes of a name, a chunk at a time. `None` when there are none.
    ///
    /// Fails when there are not as many as `length`.
    pub(super) async fn get_range(
        &self,
        name: &str,
        length: u64,
        range: Range<u64>,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        let name = name.to_owned();
        let opened = self.blocking(move |folder| {
            let Some(mut file) = found(folder.open(&name))? else {
                return Ok(None);
            };
            let there = file.metadata()?.len();
            if there != length {
                let why = format!("{name} has {there} bytes and should have {length}");
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            file.seek(SeekFrom::Start(range.start))?;
            let part = Part {
                file,
                left: range.end.saturating_sub(range.start),
            };
            part.read()
        });
        let Some((first, rest)) = opened.await? else {
            return Ok(None);
        };
        let rest = stream::try_unfold(rest, async |part| blocking(move || part.read()).await);
        Ok(Some(stream::iter([Ok(first)]).chain(rest)))
    }

    /// Removes what is there under a name.
    pub(super) async fn delete(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |folder| found(folder.remove_file(&name)).map(|_| ()))
            .await
    }

    /// All names that were last written before a time, at most `batch` at once.
    pub(super) async fn list_before(
        &self,
        time: SystemTime,
        batch: usize,
    ) -> io::Result<impl Stream<Item = io::Result<HashSet<String>>> + use<>> {
        let entries = self.blocking(Dir::entries).await?;
        Ok(stream::try_unfold(entries, move |entries| {
            blocking(move || next_before(entries, time, batch))
        }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Dir) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let folder = self.folder.clone();
        blocking(move || work(&folder)).await
    }
}

/// The next names that were last written before a time. `None` at the end.
fn next_before(
    mut entries: ReadDir,
    time: SystemTime,
    batch: usize,
) -> io::Result<Option<(HashSet<String>, ReadDir)>> {
    let mut names = HashSet::new();
    for entry in entries.by_ref() {
        let entry = entry?;
        // One that is removed in the meantime is no failure.
        let Some(metadata) = found(entry.metadata())? else {
            continue;
        };
        if metadata.is_file()
            && metadata.modified()?.into_std() < time
            && let Ok(name) = entry.file_name().into_string()
        {
            names.insert(name);
        }
        if names.len() == batch {
            break;
        }
    }
    Ok((!names.is_empty()).then_some((names, entries)))
}

/// What is left to read of a file.
struct Part {
    file: File,
    left: u64,
}

impl Part {
    /// The next chunk. `None` at the end.
    fn read(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let length = self.left.min(CHUNK_BYTES);
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact(&mut chunk)?;
        self.left -= length;
        Ok(Some((chunk.into(), self)))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
