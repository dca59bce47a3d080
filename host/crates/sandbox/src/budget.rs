//! The budget of a call: its CPU time, host calls and log lines.

use std::time::Duration;

use crate::guest_runtime::CpuMeter;
use crate::limits::{LimitExceeded, Limits};
use pinhole_ground::guard::{Guard, Refusal};

/// The number of bytes that a log line counts at least, because an empty line is a line of the log too.
const MIN_LOG_LINE_BYTES: usize = 64;

/// Counts what a call uses, against its limits.
pub(crate) struct CallBudget {
    pub(crate) meter: CpuMeter,
    max_running: Duration,
    host_calls: u32,
    max_host_calls: u32,
    /// WASI was called too often. The guest is stopped when it is interrupted next.
    wasi_exceeded: Option<LimitExceeded>,
    log_bytes: usize,
    max_log_bytes: usize,
    log_is_closed: bool,
}

impl CallBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            meter: CpuMeter::default(),
            max_running: limits.running,
            host_calls: 0,
            max_host_calls: limits.host_calls,
            wasi_exceeded: None,
            log_bytes: 0,
            max_log_bytes: limits.log_bytes,
            log_is_closed: false,
        }
    }

    /// Counts a host call. Every host function calls this first.
    pub(crate) fn charge(&mut self) -> Result<(), LimitExceeded> {
        let max = self.max_host_calls;
        self.host_calls = self.host_calls.saturating_add(1);
        Guard::HostCalls.refuse_if(self.host_calls > max, || {
            format!("it called the host more than {max} times")
        })?;
        Ok(())
    }

    /// Counts a call of a WASI function as a host call. The function itself cannot fail.
    pub(crate) fn charge_wasi(&mut self) {
        let is_counted = Guard::WasiCalls.applies(true);
        if is_counted && let Err(exceeded) = self.charge() {
            self.wasi_exceeded = Some(exceeded);
        }
    }

    /// Can the guest continue? Checked whenever a running guest is interrupted.
    pub(crate) fn check_running(&self) -> Result<(), LimitExceeded> {
        if let Some(exceeded) = &self.wasi_exceeded {
            return Err(exceeded.clone());
        }
        let max = self.max_running;
        Guard::RunningTime.refuse_if(self.meter.used() > max, || {
            format!("it ran for more than {max:?}")
        })?;
        Ok(())
    }

    /// True after the first line that exceeds the limit: all further lines are dropped.
    pub(crate) fn log_is_closed(&self) -> bool {
        self.log_is_closed
    }

    /// Counts a log line.
    pub(crate) fn charge_log(&mut self, line_bytes: usize) -> Result<(), Refusal> {
        let bytes = line_bytes.max(MIN_LOG_LINE_BYTES);
        self.log_bytes = self.log_bytes.saturating_add(bytes);
        let max = self.max_log_bytes;
        let charged = Guard::LogBytes.refuse_if(self.log_bytes >= max, || {
            format!("it logs more than {max} bytes; further lines are dropped")
        });
        self.log_is_closed = charged.is_err();
        charged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_budget_closes_log_at_its_limit() {
        let mut budget = CallBudget::new(&Limits {
            log_bytes: 3 * MIN_LOG_LINE_BYTES,
            ..Limits::describe()
        });
        budget.charge_log(0).unwrap();
        budget.charge_log(10).unwrap();
        assert!(!budget.log_is_closed());
        let refusal = budget.charge_log(0).unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::LogBytes));
        assert!(budget.log_is_closed());
    }

    #[test]
    fn call_budget_stops_guest_after_too_many_wasi_calls() {
        let mut budget = CallBudget::new(&Limits {
            host_calls: 2,
            ..Limits::describe()
        });
        budget.charge().unwrap();
        budget.charge_wasi();
        budget.check_running().unwrap();
        budget.charge_wasi();
        let LimitExceeded(refusal) = budget.check_running().unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::HostCalls));
        assert!(budget.charge().is_err());
    }
}
