//! The bytes of an open file in chunks, which are read while they are sent.

use std::io::{self, Read};

use bytes::Bytes;
use cap_std::fs::File;
use futures_util::{Stream, StreamExt, stream};

/// Bytes that are read at once: the memory that a slow client occupies.
const CHUNK_BYTES: u64 = 256 << 10;

/// The chunks of a file that were not read yet.
pub(crate) struct FileChunks {
    file: File,
    remaining: u64,
}

impl FileChunks {
    /// The chunks of this number of bytes, from the file's position.
    pub(crate) fn new(file: File, bytes: u64) -> Self {
        Self {
            file,
            remaining: bytes,
        }
    }

    /// The next chunk and the rest. `None` at the end.
    pub(crate) fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let length = self.remaining.min(CHUNK_BYTES);
        if length == 0 {
            return Ok(None);
        }
        // Without zeros that the file would replace.
        let mut chunk = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        (&self.file).take(length).read_to_end(&mut chunk)?;
        if chunk.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= length;
        Ok(Some((chunk.into(), self)))
    }

    /// A chunk that was read already, and then the others.
    pub(crate) fn into_stream(self, first: Bytes) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let others = stream::try_unfold(self, async |chunks| blocking(move || chunks.next()).await);
        stream::iter([Ok(first)]).chain(others)
    }
}

/// Runs work that waits for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
