//! The sums of ten minutes, or of one.

use std::collections::BTreeMap;
use std::time::Duration;

use pinhole_sandbox::Traffic;

use super::histogram::Histogram;
use crate::jobs::outcome::{Outcome, OutcomeClass};

/// Minutes of a [`Period`].
pub(super) const PERIOD_MINUTES: u32 = 10;

/// An attempt that ended.
pub(super) struct FinishedAttempt {
    pub(super) outcome: Outcome,
    pub(super) time: Duration,
    pub(super) cpu_time: Duration,
    pub(super) memory_bytes: usize,
    pub(super) traffic: Vec<Traffic>,
}

/// The attempts that ended in ten minutes, or in one.
#[derive(Debug, Default)]
pub(super) struct Period {
    pub(super) number: u32,
    /// By the index in [`Outcome::ALL`].
    pub(super) outcomes: [u32; Outcome::ALL.len()],
    pub(super) cpu_time: Duration,
    pub(super) peak_memory_bytes: usize,
    pub(super) times: Histogram,
    pub(super) traffic: Vec<TrafficSum>,
}

/// Requests to one upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct TrafficSum {
    pub(super) requests: u64,
    pub(super) failed_requests: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
}

impl From<&Traffic> for TrafficSum {
    fn from(traffic: &Traffic) -> Self {
        Self {
            requests: traffic.requests,
            failed_requests: traffic.failed_requests,
            sent_bytes: traffic.sent_bytes,
            received_bytes: traffic.received_bytes,
        }
    }
}

impl Period {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, attempt: &FinishedAttempt) {
        let index = Outcome::ALL.iter().position(|it| *it == attempt.outcome);
        if let Some(count) = index.and_then(|index| self.outcomes.get_mut(index)) {
            *count += 1;
        }
        self.cpu_time = self.cpu_time.saturating_add(attempt.cpu_time);
        self.peak_memory_bytes = self.peak_memory_bytes.max(attempt.memory_bytes);
        if attempt.outcome.class() != OutcomeClass::Neutral {
            self.times.add(attempt.time);
        }
    }

    pub(super) fn add_traffic(&mut self, index: usize, row: &TrafficSum) {
        if index >= self.traffic.len() {
            self.traffic.reserve_exact(index + 1 - self.traffic.len());
            self.traffic.resize(index + 1, TrafficSum::default());
        }
        if let Some(sum) = self.traffic.get_mut(index) {
            sum.requests += row.requests;
            sum.failed_requests += row.failed_requests;
            sum.sent_bytes += row.sent_bytes;
            sum.received_bytes += row.received_bytes;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum = sum.saturating_add(count);
        }
        self.cpu_time = self.cpu_time.saturating_add(other.cpu_time);
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
        self.times.merge(&other.times);
        for (index, row) in other.traffic.iter().enumerate() {
            self.add_traffic(index, row);
        }
    }

    pub(super) fn jobs(&self) -> u64 {
        self.outcomes.iter().map(|count| u64::from(*count)).sum()
    }

    /// Jobs that failed by the engine or its upstream.
    pub(super) fn failed(&self) -> u64 {
        let counted = Outcome::ALL.iter().zip(self.outcomes);
        let failed = counted.filter(|(outcome, _)| {
            !matches!(outcome.class(), OutcomeClass::Ok | OutcomeClass::Neutral)
        });
        failed.map(|(_, count)| u64::from(count)).sum()
    }

    /// The outcomes that occurred.
    pub(super) fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        let counted = Outcome::ALL.iter().zip(self.outcomes);
        counted
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| (outcome.name(), u64::from(count)))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.times.heap_bytes() + self.traffic.capacity() * size_of::<TrafficSum>()
    }
}
