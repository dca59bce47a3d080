//! Counts of the jobs of a version by class, for the verdict on it.

use std::time::Duration;

use crate::jobs::outcome::OutcomeClass;

/// The jobs of a version by class. Neutral outcomes are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub jobs: u64,
    /// Jobs in which the engine crashed.
    pub crashes: u64,
    /// Jobs that failed by the engine's own fault, crashes included.
    pub own_failures: u64,
    /// Jobs that failed by the upstream.
    pub upstream_failures: u64,
    /// CPU time of the engine in these jobs.
    pub own_time: Duration,
}

impl Counts {
    /// Counts a job.
    pub fn add(&mut self, class: OutcomeClass, own_time: Duration) {
        match class {
            OutcomeClass::Neutral => return,
            OutcomeClass::Ok => {}
            OutcomeClass::Crash => {
                self.crashes += 1;
                self.own_failures += 1;
            }
            OutcomeClass::Own => self.own_failures += 1,
            OutcomeClass::Upstream => self.upstream_failures += 1,
        }
        self.jobs += 1;
        self.own_time = self.own_time.saturating_add(own_time);
    }

    /// CPU time of a job on average; zero without jobs.
    #[must_use]
    pub fn mean_own_time(&self) -> Duration {
        let jobs = u32::try_from(self.jobs).unwrap_or(u32::MAX);
        self.own_time.checked_div(jobs).unwrap_or_default()
    }

    /// Jobs that failed by the engine or its upstream.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.own_failures + self.upstream_failures
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.crashes += other.crashes;
        self.own_failures += other.own_failures;
        self.upstream_failures += other.upstream_failures;
        self.own_time = self.own_time.saturating_add(other.own_time);
    }
}
