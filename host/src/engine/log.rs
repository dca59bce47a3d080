//! The WIT interface `log`.

use super::bindings::pinhole::engine::log::{Host, Level};
use super::call::{State, plain};

/// Length of one line, in bytes.
const MAX_LINE_BYTES: usize = 2 << 10;

impl Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.charge()?;
        if self.log_bytes_left == 0 {
            return Ok(());
        }
        let line = plain(&message, MAX_LINE_BYTES);
        let (engine, job) = (&self.engine, &self.control.job);
        match self.log_bytes_left.checked_sub(line.len().max(1)) {
            Some(left @ 1..) => self.log_bytes_left = left,
            _ => {
                self.log_bytes_left = 0;
                tracing::warn!(
                    engine,
                    job,
                    "engine {engine} says too much: the rest of its lines is dropped"
                );
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
