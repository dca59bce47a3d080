//! The budget of a call: its CPU time and host calls.

use std::time::Duration;

use crate::cpu_meter::{CpuMeter, LastComputing};
use crate::limits::{LimitExceeded, Limits};
use pinhole_ground::guard::Guard;

/// Counts what a call uses, against its limits.
pub(crate) struct CallBudget {
    pub(crate) meter: CpuMeter,
    max_running: Duration,
    host_calls: u32,
    max_host_calls: u32,
    /// WASI was called too often. The guest is stopped when it is interrupted next.
    wasi_exceeded: Option<LimitExceeded>,
}

impl CallBudget {
    pub(crate) fn new(limits: &Limits, last_computing: LastComputing) -> Self {
        Self {
            meter: CpuMeter::new(last_computing),
            max_running: limits.running,
            host_calls: 0,
            max_host_calls: limits.host_calls,
            wasi_exceeded: None,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_budget_stops_guest_after_too_many_wasi_calls() {
        let limits = Limits {
            host_calls: 2,
            ..Limits::describe()
        };
        let mut budget = CallBudget::new(&limits, LastComputing::default());
        budget.charge().unwrap();
        budget.charge_wasi();
        budget.check_running().unwrap();
        budget.charge_wasi();
        let LimitExceeded(refusal) = budget.check_running().unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::HostCalls));
        assert!(budget.charge().is_err());
    }
}
