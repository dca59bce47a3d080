//! The audit log's writer: a thread of its own, so that recording a refusal never waits for a disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use tokio::time::Instant;

use super::counters::Counters;
use super::flood::FloodControl;
use super::rotation::{AuditRetention, FILE, RotatedFile, newest_first};
use super::search::{AuditCursor, AuditFilter, AuditPage, search};
use super::{Line, locked};

/// Entries that wait to be written; more are dropped and counted.
const MAX_QUEUED_ENTRIES: usize = 1024;
/// Interval at which summaries of repeated refusals are written.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(5);

/// The open file. Dropping it writes all queued entries.
pub(super) struct LogFile {
    directory: Dir,
    sender: SyncSender<Command>,
    writer: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

enum Command {
    Append(Line),
    /// Replies when all earlier entries are written.
    Flush(SyncSender<()>),
    Close,
}

/// What the thread works with.
struct Writer {
    file: RotatedFile,
    flood: Arc<Mutex<FloodControl>>,
    counters: Arc<Counters>,
    /// The last line was written.
    works: bool,
}

impl LogFile {
    pub(super) fn open(
        data: &Dir,
        retention: AuditRetention,
        flood: Arc<Mutex<FloodControl>>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let context = || format!("cannot use the audit log {FILE} in the data directory");
        let directory = data.try_clone().with_context(context)?;
        let rotated = data.try_clone().with_context(context)?;
        let mut writer = Writer {
            file: RotatedFile::open(rotated, retention, SystemTime::now()).with_context(context)?,
            flood,
            counters: counters.clone(),
            works: true,
        };
        let (sender, commands) = sync_channel(MAX_QUEUED_ENTRIES);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&commands))
            .with_context(context)?;
        Ok(Self {
            directory,
            sender,
            writer: Some(thread),
            counters,
        })
    }

    pub(super) fn send(&self, line: Line) {
        if let Err(TrySendError::Full(Command::Append(line))) =
            self.sender.try_send(Command::Append(line))
        {
            self.counters.count_dropped(line.kind);
        }
    }

    pub(super) fn search(
        &self,
        filter: &AuditFilter,
        cursor: Option<AuditCursor>,
        max: usize,
    ) -> Result<AuditPage> {
        let (reply, flushed) = sync_channel(1);
        self.sender.send(Command::Flush(reply)).ok();
        flushed.recv().ok();
        let files = newest_first(&self.directory).context("cannot list the audit log")?;
        search(&self.directory, files, filter, cursor, max)
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

impl Writer {
    /// Writes queued entries until the log is closed.
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(SUMMARY_INTERVAL) {
                Ok(Command::Append(line)) => self.append(&line),
                Ok(Command::Flush(reply)) => drop(reply.send(())),
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let summaries = locked(&self.flood).expired(Instant::now());
                    for line in summaries {
                        line.log();
                        self.append(&line);
                    }
                    let removed = self.file.remove_expired(SystemTime::now());
                    self.report(removed.err());
                }
            }
        }
    }

    fn append(&mut self, line: &Line) {
        let written = self.file.append(&line.entry, SystemTime::now());
        if written.is_err() {
            self.counters.count_dropped(line.kind);
        }
        self.report(written.err());
    }

    /// Logs the first of several errors.
    fn report(&mut self, error: Option<std::io::Error>) {
        if let Some(error) = &error
            && self.works
        {
            tracing::warn!("cannot write to the audit log {FILE}: {error}");
        }
        self.works = error.is_none();
    }
}
