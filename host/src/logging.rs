//! Logging to standard error.

use std::io::{IsTerminal, stderr};

use pinhole::config::Config;
use pinhole_conformance::CapturedLog;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Log lines that wait to be written. The server drops lines beyond it, and never waits for the reader.
const MAX_BUFFERED_LINES: usize = 4096;

/// What is logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogMode {
    /// Logs at level info, without blocking.
    Server,
    /// Logs nothing by default, because the command prints its own messages.
    Command,
    /// Like [`Self::Command`], and records lines so that cases can search them for secrets.
    Cases,
}

/// The active logging. When it is dropped, the remaining lines are written.
pub(crate) struct Logging {
    /// The recorded lines; empty unless the mode is [`LogMode::Cases`].
    pub(crate) lines: CapturedLog,
    _writer: Option<WorkerGuard>,
}

/// Starts logging. `PINHOLE_LOG` is the filter, `NO_COLOR` disables colors.
pub(crate) fn init(config: &Config, mode: LogMode) -> Logging {
    let (writer, guard, default_filter) = if mode == LogMode::Server {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_BUFFERED_LINES)
            .lossy(true)
            .finish(stderr());
        (BoxMakeWriter::new(writer), Some(guard), "info")
    } else {
        // Lines stay in order with what the command prints.
        (BoxMakeWriter::new(stderr), None, "off")
    };
    let environment = &config.environment;
    let filter = environment.get("PINHOLE_LOG").unwrap_or(default_filter);
    let has_colors = stderr().is_terminal() && environment.get("NO_COLOR").is_none();
    let output = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(has_colors)
        .with_filter(EnvFilter::new(filter));
    let lines = CapturedLog::default();
    let recorder = (mode == LogMode::Cases).then(|| lines.layer());
    tracing_subscriber::registry()
        .with(output)
        .with(recorder)
        .init();
    Logging {
        lines,
        _writer: guard,
    }
}
