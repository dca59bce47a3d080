//! Reads an archive from outside: every name, length and hash is checked, and nothing is held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};

use anyhow::{Context, Result, anyhow, bail, ensure};
use cap_std::fs::Dir;
use pinhole_ground::text::plain;
use pinhole_ground::{data_dir, disk};
use tar::{Archive, EntryType};

use super::OnProgress;
use super::archive_writer::{HashedReader, write_line};
use super::entry::EntryName;
use super::manifest::{FORMAT, Head, ListLine, ListedEntry, Totals};
use crate::store::Store;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Length of a name in a message, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Length of a line of the list, in bytes.
const MAX_LINE_BYTES: u64 = 4 << 10;

/// The entries that were read, to compare with the list at the end.
struct ReadEntries {
    /// Lines like those of the list. A file without a name, because it grows with the number of images.
    lines: File,
    head: Option<Head>,
    totals: Option<Totals>,
    read_bytes: u64,
}

/// Reads a whole archive, and writes its files into a directory if there is one.
///
/// `length` is for reports of the progress. Fails if anything is damaged, missing or too much.
pub(super) fn read_archive(
    input: impl Read,
    into: Option<&Dir>,
    length: u64,
    on_progress: &OnProgress,
) -> Result<Totals> {
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, input));
    let mut entries = ReadEntries {
        lines: tempfile::tempfile().context("cannot create a temporary file")?,
        head: None,
        totals: None,
        read_bytes: 0,
    };
    // Raw: extensions of tar, such as long names, are entries, and refused like others.
    for entry in archive.entries()?.raw(true) {
        // The message of a damaged header repeats its bytes.
        let mut entry = entry.map_err(|error| {
            let error = plain(&error.to_string(), MAX_NAME_BYTES);
            anyhow!("it is not a backup of pinhole, or it is damaged: use another one ({error})")
        })?;
        let path = entry.path_bytes().into_owned();
        let name = EntryName::parse(&path).with_context(|| {
            let path = plain(&String::from_utf8_lossy(&path), MAX_NAME_BYTES);
            format!("it contains {path:?}, which no backup has: use another one")
        })?;
        let kind = entry.header().entry_type();
        ensure!(
            kind == EntryType::Regular,
            "its entry {} is not a file: use another backup",
            name.path()
        );
        let entry_bytes = entry.size();
        ensure!(
            entry_bytes <= name.max_bytes(),
            "its entry {} has {entry_bytes} bytes, more than the {} allowed: use another backup",
            name.path(),
            name.max_bytes()
        );
        entries.read(&name, &mut entry, entry_bytes, into)?;
        on_progress(entries.read_bytes, length);
    }
    entries
        .totals
        .context("it is cut off: its list is missing. Use another backup")
}

impl ReadEntries {
    fn read(
        &mut self,
        name: &EntryName,
        bytes: &mut impl Read,
        length: u64,
        into: Option<&Dir>,
    ) -> Result<()> {
        ensure!(
            self.totals.is_none(),
            "it has entries after its list: use another backup"
        );
        ensure!(
            self.head.is_some() != (*name == EntryName::Head),
            "its entry {} is in the wrong place: use another backup",
            name.path()
        );
        self.read_bytes = self.read_bytes.saturating_add(length);
        let mut hashed = HashedReader::new(bytes);
        match (name, into) {
            (EntryName::Head, _) => {
                let mut json = Vec::new();
                hashed.read_to_end(&mut json)?;
                self.head = Some(parse_head(&json)?);
            }
            (EntryName::List, _) => {
                self.totals = Some(self.compare_list(BufReader::new(hashed))?);
                return Ok(());
            }
            (_, Some(directory)) => write_entry(directory, name, &mut hashed, length)?,
            (_, None) => {
                std::io::copy(&mut hashed, &mut std::io::sink())?;
            }
        }
        let (read_bytes, sha256) = hashed.finish();
        ensure!(
            read_bytes == length,
            "it is cut off in {}: use another backup",
            name.path()
        );
        let line = ListLine::Entry(ListedEntry {
            path: name.path(),
            bytes: length,
            sha256,
        });
        let mut text = Vec::new();
        write_line(&mut text, &line)?;
        self.lines
            .write_all(&text)
            .context("cannot write a temporary file")
    }

    /// Fails unless the list has exactly the entries that were read. Returns its totals.
    fn compare_list(&mut self, mut list: impl BufRead) -> Result<Totals> {
        self.lines.seek(SeekFrom::Start(0))?;
        let mut read = BufReader::new(&self.lines);
        let (mut seen_database, mut entry_bytes) = (false, 0_u64);
        loop {
            let expected = read_line(&mut list)?.context("it is cut off in its list")?;
            match (expected, read_line(&mut read)?) {
                (ListLine::Entry(expected), Some(ListLine::Entry(found))) => {
                    ensure!(
                        expected == found,
                        "its entry {} is damaged: use another backup",
                        plain(&found.path, MAX_NAME_BYTES)
                    );
                    seen_database |= found.path == EntryName::Database.path();
                    entry_bytes = entry_bytes.saturating_add(found.bytes);
                }
                (ListLine::Entry(expected), _) => bail!(
                    "its entry {} is missing: use another backup",
                    plain(&expected.path, MAX_NAME_BYTES)
                ),
                (ListLine::End { totals }, None) => {
                    ensure!(seen_database, "it has no database: use another backup");
                    ensure!(
                        totals.bytes == entry_bytes && read_line(&mut list)?.is_none(),
                        "its list is damaged: use another backup"
                    );
                    return Ok(totals);
                }
                (ListLine::End { .. }, Some(_)) => {
                    bail!("it has an entry that its list lacks: use another backup")
                }
            }
        }
    }
}

/// A line of a list. `None` at its end.
fn read_line(list: &mut impl BufRead) -> Result<Option<ListLine>> {
    let mut line = Vec::new();
    let read = list.take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
    read.context("cannot read its list")?;
    if line.is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&line);
    Ok(Some(parsed.context("its list is damaged")?))
}

/// Fails unless this program can use the backup.
fn parse_head(json: &[u8]) -> Result<Head> {
    let head: Head = serde_json::from_slice(json).context("it is not a backup of pinhole")?;
    let (format, schema) = (head.format, head.schema);
    let (version, known) = (
        plain(&head.version, MAX_NAME_BYTES),
        Store::schema_version(),
    );
    ensure!(
        format == FORMAT && schema <= known,
        "it is from a newer version: pinhole {version} with format {format} and schema {schema}. This one knows \
         format {FORMAT} and schema {known}: restore it with pinhole {version} or later"
    );
    Ok(head)
}

fn write_entry(
    directory: &Dir,
    name: &EntryName,
    bytes: &mut impl Read,
    length: u64,
) -> Result<()> {
    let path = name.path();
    let context = || format!("cannot write {path}");
    let free = disk::free_bytes(directory).with_context(context)?;
    ensure!(
        length < free,
        "the disk is full: {path} needs {length} bytes, and {free} are free"
    );
    let mut options = data_dir::private_file();
    // A second entry of the same name fails.
    let file = directory.open_with(&path, options.write(true).create_new(true));
    let mut file = file.with_context(context)?;
    std::io::copy(bytes, &mut file).with_context(context)?;
    if matches!(name, EntryName::Database | EntryName::Small(_)) {
        file.sync_all().with_context(context)?;
    }
    Ok(())
}
