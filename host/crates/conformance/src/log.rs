//! Log lines of the jobs that the kit runs, so that secrets are looked for in them.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Lines kept; older ones are dropped.
const MAX_LINES: usize = 20_000;

/// What was logged lately. Clones see the same.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    dropped: usize,
}

#[derive(Default)]
struct Line {
    job: Option<String>,
    text: String,
}

impl Lines {
    /// Listens to what the host logs, at every level.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let own = Targets::new().with_target("pinhole", Level::TRACE);
        self.clone().with_filter(own)
    }

    /// How many lines came so far.
    pub(crate) fn count(&self) -> usize {
        let kept = self.kept();
        kept.dropped + kept.lines.len()
    }

    /// The lines of this job, and those of no job, that came after so many.
    pub(crate) fn of(&self, job: &str, after: usize) -> Vec<String> {
        let kept = self.kept();
        let lines = kept.lines.iter().skip(after.saturating_sub(kept.dropped));
        lines
            .filter(|line| line.job.as_deref().is_none_or(|of| of == job))
            .map(|line| line.text.clone())
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut kept = self.kept();
        if kept.lines.len() == MAX_LINES {
            kept.lines.pop_front();
            kept.dropped += 1;
        }
        kept.lines.push_back(line);
    }
}

impl Visit for Line {
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
