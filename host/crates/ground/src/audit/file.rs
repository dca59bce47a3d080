//! The audit log's file: JSON lines, only appended to, readable by its owner only.
//!
//! A thread of its own writes, so that recording a refusal never waits for a disk.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use tokio::time::Instant;

use super::{Entry, RefusalKind, State, locked};
use crate::metrics;

/// The current file and the previous one.
const FILE: &str = "audit.jsonl";
const OLDER_FILE: &str = "audit.1.jsonl";
/// Length at which the current file replaces the previous one, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Entries that wait to be written; more are dropped and counted.
const MAX_QUEUED_ENTRIES: usize = 1024;
/// Bytes at the end of a file that are searched for the newest entries.
const MAX_READ_BYTES: u64 = 4 << 20;
/// Interval at which summaries of repeated refusals are written.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(5);

/// The open file. Dropping it writes all queued entries.
pub(super) struct LogFile {
    directory: Dir,
    sender: SyncSender<Command>,
    writer: Option<JoinHandle<()>>,
}

/// Queues entries for the writer.
#[derive(Clone)]
pub(super) struct LogSender(SyncSender<Command>);

enum Command {
    Append(Entry),
    /// Replies when all earlier entries are written.
    Flush(SyncSender<()>),
    Close,
}

impl LogSender {
    pub(super) fn send(&self, entry: Entry) {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Command::Append(entry)) {
            metrics::count_dropped_audit_line();
        }
    }
}

impl LogFile {
    pub(super) fn open(data: &Dir, state: Arc<Mutex<State>>) -> Result<Self> {
        let context = || format!("cannot use the audit log {FILE} in the data directory");
        let directory = data.try_clone().with_context(context)?;
        let file = AppendFile::open(data).with_context(context)?;
        let (sender, commands) = sync_channel(MAX_QUEUED_ENTRIES);
        let data = data.try_clone().with_context(context)?;
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run_writer(&data, file, &commands, &state))
            .with_context(context)?;
        Ok(Self {
            directory,
            sender,
            writer: Some(writer),
        })
    }

    pub(super) fn sender(&self) -> LogSender {
        LogSender(self.sender.clone())
    }

    pub(super) fn newest(&self, kind: Option<RefusalKind>, max: usize) -> Result<Vec<Entry>> {
        let (reply, flushed) = sync_channel(1);
        self.sender.send(Command::Flush(reply)).ok();
        flushed.recv().ok();
        let mut newest = Vec::new();
        for name in [FILE, OLDER_FILE] {
            let tail = read_tail(&self.directory, name)?;
            let entries = tail
                .split(|byte| *byte == b'\n')
                .rev()
                .filter_map(|line| serde_json::from_slice::<Entry>(line).ok())
                .filter(|entry| kind.is_none_or(|kind| kind.name() == entry.kind))
                .take(max - newest.len());
            newest.extend(entries);
        }
        Ok(newest)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.sender.send(Command::Close).ok();
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

/// The last bytes of a file; empty if the file is missing.
fn read_tail(directory: &Dir, name: &str) -> Result<Vec<u8>> {
    let context = || format!("cannot read the audit log {name}");
    let mut bytes = Vec::new();
    if !directory.exists(name) {
        return Ok(bytes);
    }
    let mut file = directory.open(name).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    // A line that is cut at its start does not parse, so the caller skips it.
    let start = length.saturating_sub(MAX_READ_BYTES);
    file.seek(SeekFrom::Start(start)).with_context(context)?;
    file.take(MAX_READ_BYTES)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    Ok(bytes)
}

/// Writes queued entries until the log is closed.
fn run_writer(
    directory: &Dir,
    mut file: AppendFile,
    commands: &Receiver<Command>,
    state: &Mutex<State>,
) {
    let mut works = true;
    loop {
        match commands.recv_timeout(SUMMARY_INTERVAL) {
            Ok(Command::Append(entry)) => {
                let written = file.append(directory, &entry);
                if let Err(error) = &written {
                    metrics::count_dropped_audit_line();
                    if works {
                        tracing::warn!("cannot write to the audit log {FILE}: {error}");
                    }
                }
                works = written.is_ok();
            }
            Ok(Command::Flush(reply)) => drop(reply.send(())),
            Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let mut state = locked(state);
                let summaries = state.flood.expired(Instant::now());
                state.write_all(&summaries);
            }
        }
    }
}

/// The file, which always ends with a complete line.
struct AppendFile {
    file: File,
    length: u64,
}

impl AppendFile {
    fn open(directory: &Dir) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = directory.open_with(FILE, &options)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            // The last writer stopped in the middle of a line.
            file.write_all(b"\n")?;
            length += 1;
        }
        Ok(Self { file, length })
    }

    fn append(&mut self, directory: &Dir, entry: &Entry) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(entry)?;
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        if self.length.saturating_add(length) > MAX_FILE_BYTES {
            directory.rename(FILE, directory, OLDER_FILE)?;
            *self = Self::open(directory)?;
        }
        self.file.write_all(&bytes)?;
        self.length += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Event;
    use crate::data_dir;

    fn entry(message: &str) -> Entry {
        Entry::new(&Event {
            kind: RefusalKind::Limit,
            guard: None,
            engine: "hostile",
            job: "1",
            message,
        })
    }

    #[test]
    fn append_file_rotates_when_full() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        let mut file = AppendFile::open(&directory).unwrap();
        let long = entry(&"x".repeat(1000));
        let lines = 2 * MAX_FILE_BYTES / 1000;
        for _ in 0..lines {
            file.append(&directory, &long).unwrap();
        }
        for name in [FILE, OLDER_FILE] {
            let length = directory.metadata(name).unwrap().len();
            assert!((1..=MAX_FILE_BYTES).contains(&length), "{name}: {length}");
        }
        assert_eq!(directory.entries().unwrap().count(), 2);
    }

    #[test]
    fn append_file_repairs_incomplete_last_line() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        directory.write(FILE, "{\"time\": \"20").unwrap();
        let mut file = AppendFile::open(&directory).unwrap();
        file.append(&directory, &entry("one")).unwrap();
        let text = directory.read_to_string(FILE).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            serde_json::from_str::<Entry>(lines[1]).unwrap().message,
            "one"
        );
    }
}
