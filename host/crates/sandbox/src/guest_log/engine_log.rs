//! The log of an engine, over all its calls: its rate, and its last lines for an operator who looks at the engine.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::contract::pinhole::engine::log::Level;
use pinhole_ground::guard::{Guard, Refusal};

/// Length of all lines of one engine in one [`RATE_INTERVAL`], in bytes.
pub(super) const MAX_RATE_BYTES: usize = 1 << 20;
const RATE_INTERVAL: Duration = Duration::from_mins(1);
/// Lines that are held. A further one replaces the oldest.
const MAX_HELD_LINES: usize = 200;
/// Length of the held lines, with the names of their jobs, in bytes.
const MAX_HELD_BYTES: usize = 128 << 10;

/// The log of one version of an engine.
#[derive(Debug)]
pub struct EngineLog {
    rate: Mutex<RateWindow>,
    held: Mutex<HeldLines>,
    /// The number of the last line.
    last_number: watch::Sender<u64>,
}

/// A line that an engine wrote: cut, made plain and redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counts the lines of this version of the engine since the server started, from 1.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub level: LogLevel,
    /// The job that the engine worked on.
    pub job: String,
    pub text: String,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Debug)]
struct RateWindow {
    start: Instant,
    bytes: usize,
}

#[derive(Debug, Default)]
struct HeldLines {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl EngineLog {
    /// The last lines with a higher number than this, oldest first. 0 returns all that are held.
    #[must_use]
    pub fn lines_since(&self, number: u64) -> Vec<LogLine> {
        let held = self.held();
        let is_known = |line: &LogLine| line.number <= number;
        let first = held.lines.partition_point(is_known);
        held.lines.range(first..).cloned().collect()
    }

    /// Changes when the engine writes a line. The value is the line's number.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.last_number.subscribe()
    }

    /// Counts a line against the rate of the engine.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Refusal> {
        let mut window = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if window.start.elapsed() >= RATE_INTERVAL {
            *window = RateWindow {
                start: Instant::now(),
                bytes: 0,
            };
        }
        window.bytes = window.bytes.saturating_add(bytes);
        Guard::LogRate.refuse_if(window.bytes >= MAX_RATE_BYTES, || {
            format!(
                "it logs more than {MAX_RATE_BYTES} bytes in a minute; further lines of this call are dropped"
            )
        })
    }

    /// Holds a line, and wakes those who follow.
    pub(super) fn hold(&self, level: Level, job: &str, text: &str) {
        let mut held = self.held();
        let number = held.lines.back().map_or(0, |last| last.number) + 1;
        held.push(LogLine {
            number,
            at_ms: now_ms(),
            level: level.into(),
            job: job.to_owned(),
            text: text.to_owned(),
        });
        // Before the lock is released, so that numbers only grow.
        self.last_number.send_replace(number);
    }

    fn held(&self) -> MutexGuard<'_, HeldLines> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EngineLog {
    fn default() -> Self {
        Self {
            rate: Mutex::new(RateWindow {
                start: Instant::now(),
                bytes: 0,
            }),
            held: Mutex::default(),
            last_number: watch::Sender::new(0),
        }
    }
}

impl HeldLines {
    /// Retains the line even if it is too long, so that there is always a last number.
    fn push(&mut self, line: LogLine) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > MAX_HELD_LINES
            || (self.bytes > MAX_HELD_BYTES && self.lines.len() > 1)
        {
            let dropped = self.lines.pop_front();
            self.bytes -= dropped.map_or(0, |it| it.bytes());
        }
    }
}

impl LogLine {
    fn bytes(&self) -> usize {
        self.text.len() + self.job.len()
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(log: &EngineLog, since: u64) -> Vec<u64> {
        let lines = log.lines_since(since).into_iter();
        lines.map(|line| line.number).collect()
    }

    #[test]
    fn engine_log_holds_the_last_lines() {
        let log = EngineLog::default();
        assert_eq!(numbers(&log, 0), [0; 0]);
        for index in 1..=MAX_HELD_LINES + 50 {
            log.hold(Level::Warn, "job", &format!("line {index}"));
        }
        let lines = log.lines_since(0);
        assert_eq!(lines.len(), MAX_HELD_LINES);
        let first = &lines[0];
        assert_eq!((first.number, first.text.as_str()), (51, "line 51"));
        assert_eq!((first.level, first.job.as_str()), (LogLevel::Warn, "job"));
        assert!(first.at_ms > 1_500_000_000_000);
        assert_eq!(numbers(&log, 248), [249, 250]);
        assert_eq!(numbers(&log, 250), [0; 0]);
    }

    #[test]
    fn engine_log_bounds_its_bytes() {
        let log = EngineLog::default();
        let line = "x".repeat(4 << 10);
        for _ in 0..MAX_HELD_LINES {
            log.hold(Level::Info, "", &line);
        }
        assert_eq!(log.lines_since(0).len(), MAX_HELD_BYTES / line.len());
        let long = "x".repeat(MAX_HELD_BYTES + 1);
        log.hold(Level::Info, "", &long);
        log.hold(Level::Info, "job", "short");
        assert_eq!(numbers(&log, 0), [202]);
        assert_eq!(log.held().bytes, "short".len() + "job".len());
    }

    #[tokio::test]
    async fn engine_log_wakes_those_who_follow() {
        let log = EngineLog::default();
        let mut last_number = log.follow();
        log.hold(Level::Debug, "job", "one");
        last_number.changed().await.unwrap();
        assert_eq!(*last_number.borrow_and_update(), 1);
    }
}
