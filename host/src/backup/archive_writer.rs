//! Writes an archive, entry by entry, with constant memory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use anyhow::{Context, Result, ensure};
use pinhole_ground::text::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::OnProgress;
use super::entry::EntryName;
use super::manifest::{Head, ListLine, ListedEntry, Totals};
use crate::store::now;

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Only the owner of a restored file can access it.
const MODE: u32 = 0o600;

/// An archive that is being written.
pub(super) struct ArchiveWriter {
    tar: Builder<BufWriter<Box<dyn Write + Send>>>,
    /// The last entry so far. A file without a name, because it grows with the number of images.
    list: BufWriter<File>,
    written_bytes: u64,
    expected_bytes: u64,
    on_progress: OnProgress,
}

impl ArchiveWriter {
    /// Writes the first entry. `expected_bytes` is for reports of the progress.
    pub(super) fn new(
        output: Box<dyn Write + Send>,
        head: &Head,
        expected_bytes: u64,
        on_progress: OnProgress,
    ) -> Result<Self> {
        let list = tempfile::tempfile().context("cannot create a temporary file")?;
        let mut writer = Self {
            tar: Builder::new(BufWriter::with_capacity(BUFFER_BYTES, output)),
            list: BufWriter::new(list),
            written_bytes: 0,
            expected_bytes,
            on_progress,
        };
        let json = serde_json::to_vec(head)?;
        writer.add(&EntryName::Head, json.as_slice(), json.len() as u64)?;
        Ok(writer)
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Adds an entry of exactly this length. Returns its SHA-256 in hexadecimal.
    pub(super) fn add(
        &mut self,
        name: &EntryName,
        bytes: impl Read,
        length: u64,
    ) -> Result<String> {
        let sha256 = self.append(name, bytes, length)?;
        let listed = ListedEntry {
            path: name.path(),
            bytes: length,
            sha256: sha256.clone(),
        };
        write_line(&mut self.list, &ListLine::Entry(listed))?;
        Ok(sha256)
    }

    /// Adds the list, and completes the archive.
    pub(super) fn finish(mut self, totals: &Totals) -> Result<()> {
        let totals = totals.clone();
        write_line(&mut self.list, &ListLine::End { totals })?;
        let mut list = self
            .list
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let length = list.stream_position()?;
        list.seek(SeekFrom::Start(0))?;
        append(
            &mut self.tar,
            &EntryName::List,
            BufReader::new(list),
            length,
        )?;
        let output = self.tar.into_inner().context("cannot write the backup")?;
        let mut output = output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .context("cannot write the backup")?;
        output.flush().context("cannot write the backup")
    }

    fn append(&mut self, name: &EntryName, bytes: impl Read, length: u64) -> Result<String> {
        let sha256 = append(&mut self.tar, name, bytes, length)?;
        self.written_bytes = self.written_bytes.saturating_add(length);
        (self.on_progress)(self.written_bytes, self.expected_bytes);
        Ok(sha256)
    }
}

fn append(
    tar: &mut Builder<impl Write>,
    name: &EntryName,
    bytes: impl Read,
    length: u64,
) -> Result<String> {
    let path = name.path();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path(&path)?;
    header.set_size(length);
    header.set_mode(MODE);
    header.set_mtime(u64::try_from(now()).unwrap_or_default());
    header.set_cksum();
    let mut hashed = HashedReader::new(bytes.take(length));
    let appended = tar.append(&header, &mut hashed);
    appended.with_context(|| format!("cannot write {path} to the backup"))?;
    let (read_bytes, sha256) = hashed.finish();
    ensure!(
        read_bytes == length,
        "{path} has {read_bytes} bytes instead of {length}: it was changed while it was read"
    );
    Ok(sha256)
}

pub(super) fn write_line(list: &mut impl Write, line: &impl Serialize) -> Result<()> {
    let context = "cannot write a temporary file";
    serde_json::to_writer(&mut *list, line).context(context)?;
    list.write_all(b"\n").context(context)
}

/// Computes the SHA-256 of what is read.
pub(super) struct HashedReader<R> {
    bytes: R,
    hash: Sha256,
    length: u64,
}

impl<R: Read> HashedReader<R> {
    pub(super) fn new(bytes: R) -> Self {
        Self {
            bytes,
            hash: Sha256::new(),
            length: 0,
        }
    }

    /// The number of bytes, and their SHA-256 in hexadecimal.
    pub(super) fn finish(self) -> (u64, String) {
        (self.length, hex(&self.hash.finalize()))
    }
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        self.hash.update(buffer.get(..length).unwrap_or_default());
        self.length += length as u64;
        Ok(length)
    }
}
