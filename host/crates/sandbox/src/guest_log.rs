//! What a guest writes to the operator's log: by the interface `log`, and to its standard output and error, which
//! is where a Python traceback, `console.error` and `println!` go.
//!
//! Each line is cut, made plain and redacted. The lines of a call have a limited total length, and those of an
//! engine a limited rate: a guest that floods its streams is not stopped, but its further lines are dropped.

mod engine_log;
mod stream;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contract::pinhole::engine::log::Level;
use crate::job_context::JobContext;
use crate::redaction::CallRedactor;
use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;

pub use engine_log::{EngineLog, LogLevel, LogLine};
pub(crate) use stream::GuestStream;

/// Length of a line in bytes; a longer one is cut.
const MAX_LINE_BYTES: usize = 2 << 10;
/// The number of bytes that a line counts at least, because an empty line is a line of the log too.
const MIN_LINE_BYTES: usize = 64;
/// Lines that the message about a crash quotes.
const MAX_LAST_LINES: usize = 5;
/// Length of their text in bytes. Of a longer one the end is quoted: it has the exception.
const MAX_LAST_BYTES: usize = 600;

/// The log of one call. Clones share it.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<CallLog>>);

/// Whose log it is.
pub(crate) struct LogSource {
    pub(crate) engine: String,
    pub(crate) context: JobContext,
    pub(crate) redactor: CallRedactor,
    pub(crate) audit: AuditLog,
    pub(crate) engine_log: Arc<EngineLog>,
}

struct CallLog {
    source: LogSource,
    bytes: usize,
    max_bytes: usize,
    /// A line exceeded a limit: all further ones are dropped.
    is_closed: bool,
    /// Incomplete lines.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    last_lines: VecDeque<String>,
}

/// A standard stream of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StandardStream {
    Output,
    Error,
}

impl GuestLog {
    pub(crate) fn new(source: LogSource, max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(CallLog {
            source,
            bytes: 0,
            max_bytes,
            is_closed: false,
            stdout: Vec::new(),
            stderr: Vec::new(),
            last_lines: VecDeque::new(),
        })))
    }

    /// Writes a line. Line ends in it become spaces.
    pub(crate) fn write_line(&self, level: Level, line: &str) {
        self.lock().write_line(level, line);
    }

    /// Writes the complete lines of a standard stream, and retains the rest.
    pub(crate) fn write_stream(&self, stream: StandardStream, bytes: &[u8]) {
        self.lock().write_stream(stream, bytes);
    }

    /// The last lines that the guest wrote, for the message about its crash; empty if it wrote none.
    pub(crate) fn last_lines(&self) -> String {
        let mut log = self.lock();
        log.write_incomplete_lines();
        let text = Vec::from(std::mem::take(&mut log.last_lines)).join(" | ");
        let start = text.ceil_char_boundary(text.len().saturating_sub(MAX_LAST_BYTES));
        text.get(start..).unwrap_or_default().to_owned()
    }

    fn lock(&self) -> MutexGuard<'_, CallLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallLog {
    fn write_line(&mut self, level: Level, line: &str) {
        let line = plain(line, Guard::LogLine.limit(MAX_LINE_BYTES));
        let line = self.source.redactor.redact_text(&line, Guard::SecretLog);
        let line = line.into_owned();
        self.log(level, &line);
        if !line.trim().is_empty() {
            self.last_lines.push_back(line);
        }
        if self.last_lines.len() > MAX_LAST_LINES {
            self.last_lines.pop_front();
        }
    }

    fn log(&mut self, level: Level, line: &str) {
        if self.is_closed {
            return;
        }
        if let Err(refusal) = self.charge(line.len().max(MIN_LINE_BYTES)) {
            self.is_closed = true;
            self.record(&refusal);
            return;
        }
        let (engine, job) = (&self.source.engine, &self.source.context.job);
        if !line.trim().is_empty() {
            self.source.engine_log.hold(level, job, line);
        }
        match level {
            Level::Debug => tracing::debug!(engine, job, "{engine}: {line}"),
            Level::Info => tracing::info!(engine, job, "{engine}: {line}"),
            Level::Warn => tracing::warn!(engine, job, "{engine}: {line}"),
            Level::Error => tracing::error!(engine, job, "{engine}: {line}"),
        }
    }

    /// Counts a line against the limits of the call and of the engine.
    fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(bytes);
        let max = self.max_bytes;
        Guard::LogBytes.refuse_if(self.bytes >= max, || {
            format!("it logs more than {max} bytes; further lines are dropped")
        })?;
        self.source.engine_log.charge(bytes)
    }

    fn record(&self, refusal: &Refusal) {
        let LogSource {
            engine,
            context,
            audit,
            ..
        } = &self.source;
        audit.record(&Event {
            kind: RefusalKind::Limit,
            guard: refusal.guard,
            actor: context.actor(),
            engine,
            job: &context.job,
            message: &format!("engine {engine}: {}", refusal.reason),
        });
    }

    fn write_stream(&mut self, stream: StandardStream, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.extend_line(stream, line);
            self.end_line(stream);
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend_line(stream, rest);
    }

    /// Appends to the incomplete line, up to the length that is logged.
    fn extend_line(&mut self, stream: StandardStream, bytes: &[u8]) {
        let line = self.incomplete_line(stream);
        let left = Guard::LogLine
            .limit(MAX_LINE_BYTES)
            .saturating_sub(line.len());
        line.extend_from_slice(bytes.get(..left).unwrap_or(bytes));
    }

    fn end_line(&mut self, stream: StandardStream) {
        let line = std::mem::take(self.incomplete_line(stream));
        let level = match stream {
            StandardStream::Output => Level::Info,
            StandardStream::Error => Level::Warn,
        };
        self.write_line(level, String::from_utf8_lossy(&line).trim_end());
    }

    fn incomplete_line(&mut self, stream: StandardStream) -> &mut Vec<u8> {
        match stream {
            StandardStream::Output => &mut self.stdout,
            StandardStream::Error => &mut self.stderr,
        }
    }

    fn write_incomplete_lines(&mut self) {
        for stream in [StandardStream::Output, StandardStream::Error] {
            if !self.incomplete_line(stream).is_empty() {
                self.end_line(stream);
            }
        }
    }
}

/// A guest that ends without a line end has written its last line too.
impl Drop for CallLog {
    fn drop(&mut self) {
        self.write_incomplete_lines();
    }
}

#[cfg(test)]
mod tests {
    use super::engine_log::MAX_RATE_BYTES;
    use super::*;

    fn log(max_bytes: usize) -> GuestLog {
        let context = JobContext::new("job".to_owned());
        let audit = AuditLog::default();
        let redactor = CallRedactor::new(
            Arc::new(pinhole_egress::Redactor::new(["open-sesame"])),
            audit.clone(),
            "engine",
            &context,
        );
        let source = LogSource {
            engine: "engine".to_owned(),
            context,
            redactor,
            audit,
            engine_log: Arc::default(),
        };
        GuestLog::new(source, max_bytes)
    }

    #[test]
    fn guest_log_closes_at_its_limit() {
        let log = log(3 * MIN_LINE_BYTES);
        log.write_line(Level::Info, "");
        log.write_line(Level::Info, "0123456789");
        assert!(!log.lock().is_closed);
        log.write_line(Level::Info, "");
        assert!(log.lock().is_closed);
    }

    #[test]
    fn guest_log_closes_at_the_rate_of_the_engine() {
        let [first, second] = [log(usize::MAX), log(usize::MAX)];
        second.lock().source.engine_log = first.lock().source.engine_log.clone();
        let line = "x".repeat(MAX_LINE_BYTES);
        for _ in 0..MAX_RATE_BYTES / MAX_LINE_BYTES - 1 {
            first.write_line(Level::Debug, &line);
        }
        assert!(!first.lock().is_closed);
        second.write_line(Level::Debug, &line);
        assert!(second.lock().is_closed && !first.lock().is_closed);
    }

    #[test]
    fn guest_log_splits_streams_into_lines() {
        let log = log(usize::MAX);
        for part in ["one\ntw", "o\r\n", "\n", "three open-ses", "ame"] {
            log.write_stream(StandardStream::Output, part.as_bytes());
        }
        log.write_stream(StandardStream::Error, b"ValueError: \xff\n");
        assert_eq!(
            log.last_lines(),
            "one | two | ValueError: \u{fffd} | three ***********"
        );
        assert_eq!(log.last_lines(), "");
        let held = log.lock().source.engine_log.lines_since(0);
        let held: Vec<_> = held.iter().map(|it| (it.level, it.text.as_str())).collect();
        assert_eq!(
            held,
            [
                (LogLevel::Info, "one"),
                (LogLevel::Info, "two"),
                (LogLevel::Warn, "ValueError: \u{fffd}"),
                (LogLevel::Info, "three ***********"),
            ]
        );
    }

    #[test]
    fn guest_log_holds_the_beginning_of_a_line_and_the_end_of_the_last_lines() {
        let log = log(usize::MAX);
        for _ in 0..100 {
            log.write_stream(StandardStream::Error, &[b'a'; MAX_LINE_BYTES]);
        }
        assert_eq!(log.lock().stderr.len(), MAX_LINE_BYTES);
        log.write_stream(StandardStream::Error, "é\nend".as_bytes());
        let last = log.last_lines();
        assert!(
            last.len() <= MAX_LAST_BYTES && last.ends_with("aaa | end"),
            "{last}"
        );
    }
}
