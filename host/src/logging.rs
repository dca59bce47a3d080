//! Logging to standard error.

use std::io::{IsTerminal, stderr};

use anyhow::{Result, bail};
use pinhole::config::{Config, LogFormat};
use pinhole_conformance::CapturedLog;
use pinhole_ground::text::plain;
use pinhole_sandbox::PROGRESS_TARGET;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Log lines that wait to be written. The server drops lines beyond it, and never waits for the reader.
const MAX_BUFFERED_LINES: usize = 4096;
/// Length of an invalid filter in a message, in bytes.
const MAX_QUOTED_BYTES: usize = 100;

/// What is logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogMode {
    /// Logs at level info, without blocking.
    Server,
    /// Logs nothing by default, because the command prints its own messages. On a terminal it logs what takes
    /// long.
    Command,
    /// Like [`Self::Command`], and records lines so that cases can search them for secrets.
    Cases,
    /// Logs what an engine writes, and warnings.
    Development,
}

/// The active logging. When it is dropped, the remaining lines are written.
pub(crate) struct Logging {
    /// The recorded lines; empty unless the mode is [`LogMode::Cases`].
    pub(crate) lines: CapturedLog,
    _writer: Option<WorkerGuard>,
}

/// Starts logging. `PINHOLE_LOG` is the filter, `PINHOLE_LOG_FORMAT` the format, `NO_COLOR` disables colors.
pub(crate) fn init(config: &Config, mode: LogMode) -> Result<Logging> {
    let is_terminal = stderr().is_terminal();
    let progress = format!("off,{PROGRESS_TARGET}=info");
    let development = format!("warn,{PROGRESS_TARGET}=info,pinhole_sandbox::guest_log=debug");
    let default_filter = match mode {
        // At info, its client logs each retry. The last failure is logged by the server itself.
        LogMode::Server => "info,object_store=warn",
        LogMode::Development => &development,
        _ if is_terminal => &progress,
        _ => "off",
    };
    let environment = &config.environment;
    let text = environment.get("PINHOLE_LOG");
    let filter = parse_filter(text.unwrap_or(default_filter))?;
    let (writer, guard) = if mode == LogMode::Server {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_BUFFERED_LINES)
            .lossy(true)
            .finish(stderr());
        (BoxMakeWriter::new(writer), Some(guard))
    } else {
        // Lines stay in order with what the command prints.
        (BoxMakeWriter::new(stderr), None)
    };
    let has_colors = is_terminal && environment.get("NO_COLOR").is_none();
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let output = match config.log_format {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        // The line of an engine has its name; the name of the job is of no use here.
        LogFormat::Text if mode == LogMode::Development && text.is_none() => layer
            .with_ansi(has_colors)
            .without_time()
            .with_level(false)
            .with_target(false)
            .fmt_fields(debug_fn(|out, field, value| {
                if field.name() == "message" {
                    return write!(out, "{value:?}");
                }
                Ok(())
            }))
            .with_filter(filter)
            .boxed(),
        // A person reads these lines between those of the command.
        LogFormat::Text if mode != LogMode::Server && text.is_none() => layer
            .with_ansi(has_colors)
            .without_time()
            .with_level(false)
            .with_target(false)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => layer.with_ansi(has_colors).with_filter(filter).boxed(),
    };
    let lines = CapturedLog::default();
    let recorder = (mode == LogMode::Cases).then(|| lines.layer());
    tracing_subscriber::registry()
        .with(output)
        .with(recorder)
        .init();
    Ok(Logging {
        lines,
        _writer: guard,
    })
}

/// A filter such as `info` or `warn,pinhole=debug`.
///
/// The library takes a word that is not a level for a target, so that a misspelt level would silence the log.
pub(crate) fn parse_filter(text: &str) -> Result<EnvFilter> {
    const EXAMPLES: &str =
        "use off, error, warn, info, debug or trace, or targets such as warn,pinhole=debug";
    let shown = plain(text, MAX_QUOTED_BYTES);
    for part in text.split(',').map(str::trim) {
        let is_target = part.contains(['=', '[']);
        let is_level = part.parse::<Level>().is_ok() || part.eq_ignore_ascii_case("off");
        if !is_target && !is_level {
            let word = plain(part, MAX_QUOTED_BYTES);
            bail!("PINHOLE_LOG is {shown:?}: {word:?} is not a level: {EXAMPLES}");
        }
    }
    match text.parse() {
        Ok(filter) => Ok(filter),
        Err(error) => bail!("PINHOLE_LOG is {shown:?}: {error}: {EXAMPLES}"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn filter_is_a_level_or_targets_with_levels() {
        for text in [
            "off",
            "DEBUG",
            "warn,pinhole=debug",
            "pinhole::audit=off",
            "[job]=trace",
        ] {
            assert!(parse_filter(text).is_ok(), "{text}");
        }
        for text in ["debgu", "pinhole", "pinhole=loud", "info,", "info,verbose"] {
            let error = parse_filter(text).unwrap_err().to_string();
            assert!(error.starts_with("PINHOLE_LOG is"), "{error}");
        }
    }
}
