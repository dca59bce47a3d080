//! The WIT interface `log`.

use crate::contract::pinhole::engine::log::{Host, Level};
use crate::state::State;

impl Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.budget.charge()?;
        self.log.write_line(level, &message);
        Ok(())
    }
}
