//! The WIT interface `log`.

use super::contract::pinhole::engine::log::{Host, Level};
use super::call::State;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;

/// Length of one line, in bytes; the rest is cut off.
const MAX_LINE_BYTES: usize = 2 << 10;
/// What a line counts at least, in bytes: an empty one is a line of the log too.
const MIN_LINE_BYTES: usize = 64;

impl Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.charge()?;
        if self.log_bytes_left == 0 {
            return Ok(());
        }
        let line = plain(&message, Guard::LogLine.limit(MAX_LINE_BYTES));
        let line = self.echo.text(&line, Guard::SecretLog);
        let (engine, job) = (&self.engine, &self.control.job);
        match self
            .log_bytes_left
            .checked_sub(line.len().max(MIN_LINE_BYTES))
        {
            Some(left @ 1..) => self.log_bytes_left = left,
            _ => {
                self.log_bytes_left = 0;
                let what =
                    format!("engine {engine} says too much: the rest of its lines is dropped");
                self.refuse(RefusalKind::Limit, &what);
                return Ok(());
            }
        }
        match level {
            Level::Debug => tracing::debug!(engine, job, "{engine}: {line}"),
            Level::Info => tracing::info!(engine, job, "{engine}: {line}"),
            Level::Warn => tracing::warn!(engine, job, "{engine}: {line}"),
            Level::Error => tracing::error!(engine, job, "{engine}: {line}"),
        }
        Ok(())
    }
}
