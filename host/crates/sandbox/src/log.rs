//! The WIT interface `log`.

use crate::contract::pinhole::engine::log::{Host, Level};
use crate::state::State;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;

/// Length of a line in bytes; a longer one is cut.
const MAX_LINE_BYTES: usize = 2 << 10;

impl Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.budget.charge()?;
        if self.budget.log_is_closed() {
            return Ok(());
        }
        let line = plain(&message, Guard::LogLine.limit(MAX_LINE_BYTES));
        let line = self.redactor.redact_text(&line, Guard::SecretLog);
        let (engine, job) = (&self.engine, &self.context.job);
        if let Err(refusal) = self.budget.charge_log(line.len()) {
            let refusal = refusal.map_reason(|reason| format!("engine {engine}: {reason}"));
            self.record(RefusalKind::Limit, &refusal);
            return Ok(());
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
