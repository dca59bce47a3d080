//! The audit log of a data folder: JSON lines, only ever appended to, for its owner alone.
//!
//! A thread of its own writes, so that whoever is refused something does not wait for a disk.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Kind, Line, tell_counted, with_noted};
use crate::metrics;
use anyhow::{Context, Result};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};

/// The file, and what it is called once it is full.
const FILE: &str = "audit.jsonl";
const OLDER_FILE: &str = "audit.1.jsonl";
/// Length of the file before it becomes the older one, in bytes. The one before that is removed.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Lines that wait to be written; more are dropped, and counted.
const MAX_WAITING: usize = 1024;
/// Bytes at the end of a file that are looked through for the newest lines.
const MAX_READ_BYTES: u64 = 4 << 20;
/// How often it is looked whether a flood has ended.
const LOOK: Duration = Duration::from_secs(5);

/// An audit log that is open; it is written to its end when dropped.
pub struct Log {
    folder: Dir,
    lines: Lines,
    writer: Option<JoinHandle<()>>,
}

/// Where a log's lines go.
#[derive(Clone)]
pub(super) struct Lines {
    id: u64,
    sender: SyncSender<Note>,
}

/// What the writer is told.
enum Note {
    Line(Line),
    /// Everything before this is to be in the file when it is answered.
    Flush(SyncSender<()>),
    End,
}

impl Lines {
    /// A line for the file, unless too many wait.
    pub(super) fn push(&self, line: &Line) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Note::Line(line.clone())) {
            metrics::count_dropped_audit_line();
        }
    }
}

impl Log {
    /// Opens the log of a data folder; from now on it gets the process's lines.
    pub fn open(data: &Dir) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let named = || format!("cannot use the audit log {FILE} in the data folder");
        let folder = data.try_clone().with_context(named)?;
        let file = Whole::open(data).with_context(named)?;
        let (sender, notes) = sync_channel(MAX_WAITING);
        let lines = Lines {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            sender,
        };
        let own = data.try_clone().with_context(named)?;
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(&own, file, &notes))
            .with_context(named)?;
        with_noted(|noted| noted.logs.push(lines.clone()));
        Ok(Self {
            folder,
            lines,
            writer: Some(writer),
        })
    }

    /// The newest lines, newest first: of one kind, or of all. What was refused before this was asked
    /// is among them. Blocks while it reads.
    pub fn newest(&self, kind: Option<Kind>, most: usize) -> Result<Vec<Line>> {
        let (answer, answered) = sync_channel(1);
        self.lines.sender.send(Note::Flush(answer)).ok();
        answered.recv().ok();
        let mut newest = Vec::new();
        for name in [FILE, OLDER_FILE] {
            let text = end_of(&self.folder, name)?;
            let lines = text.split(|byte| *byte == b'\n').rev();
            let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            let wanted = lines.filter(|line| kind.is_none_or(|kind| kind.name() == line.kind));
            newest.extend(wanted.take(most - newest.len()));
        }
        Ok(newest)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        tell_counted(true);
        with_noted(|noted| noted.logs.retain(|lines| lines.id != self.lines.id));
        self.lines.sender.send(Note::End).ok();
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

/// The bytes at the end of a file; none where there is no such file.
fn end_of(folder: &Dir, name: &str) -> Result<Vec<u8>> {
    let named = || format!("cannot read the audit log {name}");
    let mut bytes = Vec::new();
    if !folder.exists(name) {
        return Ok(bytes);
    }
    let mut file = folder.open(name).with_context(named)?;
    let length = file.metadata().with_context(named)?.len();
    // A line that is cut at its start does not parse, and is left out.
    let start = length.saturating_sub(MAX_READ_BYTES);
    file.seek(SeekFrom::Start(start)).with_context(named)?;
    file.take(MAX_READ_BYTES)
        .read_to_end(&mut bytes)
        .with_context(named)?;
    Ok(bytes)
}

/// Writes what comes until the log is dropped.
fn write(folder: &Dir, mut file: Whole, notes: &Receiver<Note>) {
    let mut works = true;
    loop {
        match notes.recv_timeout(LOOK) {
            Ok(Note::Line(line)) => {
                let written = file.append(folder, &line);
                if let Err(error) = &written {
                    metrics::count_dropped_audit_line();
                    if works {
                        tracing::warn!("cannot write to the audit log {FILE}: {error}");
                    }
                }
                works = written.is_ok();
            }
            Ok(Note::Flush(answer)) => drop(answer.send(())),
            Ok(Note::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => tell_counted(false),
        }
    }
}

/// The file, which ends with a whole line.
struct Whole {
    file: File,
    length: u64,
}

impl Whole {
    fn open(folder: &Dir) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = folder.open_with(FILE, &options)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            // Whoever wrote it was ended in the middle of a line.
            file.write_all(b"\n")?;
            length += 1;
        }
        Ok(Self { file, length })
    }

    fn append(&mut self, folder: &Dir, line: &Line) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        if self.length.saturating_add(length) > MAX_FILE_BYTES {
            folder.rename(FILE, folder, OLDER_FILE)?;
            *self = Self::open(folder)?;
        }
        self.file.write_all(&bytes)?;
        self.length += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder;

    fn line(what: &str) -> Line {
        Line::new(Kind::Limit, "hostile", "1", what)
    }

    #[test]
    fn a_full_file_becomes_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder::open(folder.path()).unwrap();
        let mut file = Whole::open(&folder).unwrap();
        let long = line(&"x".repeat(1000));
        let lines = 2 * MAX_FILE_BYTES / 1000;
        for _ in 0..lines {
            file.append(&folder, &long).unwrap();
        }
        for name in [FILE, OLDER_FILE] {
            let length = folder.metadata(name).unwrap().len();
            assert!((1..=MAX_FILE_BYTES).contains(&length), "{name}: {length}");
        }
        assert_eq!(folder.entries().unwrap().count(), 2);
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder::open(folder.path()).unwrap();
        folder.write(FILE, "{\"time\": \"20").unwrap();
        let mut file = Whole::open(&folder).unwrap();
        file.append(&folder, &line("one")).unwrap();
        let text = folder.read_to_string(FILE).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_str::<Line>(lines[1]).unwrap().what, "one");
    }
}
