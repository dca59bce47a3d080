//! The host's log lines during a run, which are searched for secrets.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Maximum number of stored lines; the oldest are dropped.
const MAX_LINES: usize = 20_000;

/// The newest log lines. Clones share them.
#[derive(Clone, Default)]
pub struct CapturedLog(Arc<Mutex<StoredLines>>);

#[derive(Default)]
struct StoredLines {
    lines: VecDeque<LogLine>,
    dropped: usize,
}

#[derive(Default)]
struct LogLine {
    job: Option<String>,
    /// All fields.
    text: String,
}

impl CapturedLog {
    /// Captures what the host logs, at every level.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let targets = Targets::new().with_target("pinhole", Level::TRACE);
        self.clone().with_filter(targets)
    }

    /// The number of lines so far.
    pub(crate) fn count(&self) -> usize {
        let stored = self.stored();
        stored.dropped + stored.lines.len()
    }

    /// The lines of this job, and those of no job, after the first `skipped` lines.
    pub(crate) fn lines_of_job(&self, job: &str, skipped: usize) -> Vec<String> {
        let stored = self.stored();
        stored
            .lines
            .iter()
            .skip(skipped.saturating_sub(stored.dropped))
            .filter(|line| line.job.as_deref().is_none_or(|of| of == job))
            .map(|line| line.text.clone())
            .collect()
    }

    fn stored(&self) -> MutexGuard<'_, StoredLines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for CapturedLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine::default();
        event.record(&mut line);
        let mut stored = self.stored();
        if stored.lines.len() == MAX_LINES {
            stored.lines.pop_front();
            stored.dropped += 1;
        }
        stored.lines.push_back(line);
    }
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "job" {
            self.job = Some(value.to_owned());
        }
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "job" && self.job.is_none() {
            self.job = Some(format!("{value:?}"));
        }
        // Writing to a string does not fail.
        write!(self.text, "{}={value:?} ", field.name()).ok();
    }
}
