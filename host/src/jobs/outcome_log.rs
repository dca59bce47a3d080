//! The outcomes of jobs that no verdict has seen yet, by version of an engine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::outcome::OutcomeClass;

/// Versions whose outcomes are held. Those of further ones are dropped until they are taken.
const MAX_VERSIONS: usize = 1024;

/// The outcomes of jobs since they were taken last.
#[derive(Debug, Default)]
pub struct OutcomeLog {
    versions: Mutex<BTreeMap<String, BTreeMap<OutcomeClass, Outcomes>>>,
    added: Notify,
}

/// Jobs with one outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub jobs: u64,
    /// CPU time of the engine in these jobs.
    pub own_time: Duration,
}

impl OutcomeLog {
    /// Records a job of the version with this digest. Neutral outcomes say nothing about it.
    pub(super) fn record(&self, digest: &str, class: OutcomeClass, own_time: Duration) {
        if class == OutcomeClass::Neutral {
            return;
        }
        {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            if !versions.contains_key(digest) {
                if versions.len() >= MAX_VERSIONS {
                    return;
                }
                versions.insert(digest.to_owned(), BTreeMap::new());
            }
            let outcomes = versions.get_mut(digest);
            if let Some(outcomes) = outcomes.map(|it| it.entry(class).or_default()) {
                outcomes.jobs += 1;
                outcomes.own_time = outcomes.own_time.saturating_add(own_time);
            }
        }
        self.added.notify_one();
    }

    /// Takes all outcomes: digest, class and jobs.
    pub fn take(&self) -> Vec<(String, OutcomeClass, Outcomes)> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *versions).into_iter();
        let each = taken.flat_map(|(digest, classes)| {
            let classes = classes.into_iter();
            classes.map(move |(class, outcomes)| (digest.clone(), class, outcomes))
        });
        each.collect()
    }

    /// Returns outcomes that were taken, but not written.
    pub fn restore(&self, taken: Vec<(String, OutcomeClass, Outcomes)>) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, class, outcomes) in taken {
            let of_version = versions.entry(digest).or_default();
            let sum = of_version.entry(class).or_default();
            sum.jobs += outcomes.jobs;
            sum.own_time = sum.own_time.saturating_add(outcomes.own_time);
        }
    }

    /// Waits for a job that ends.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outcomes_are_taken_once() {
        let log = OutcomeLog::default();
        let second = Duration::from_secs(1);
        log.record("a", OutcomeClass::Ok, second);
        log.record("a", OutcomeClass::Ok, second);
        log.record("a", OutcomeClass::Neutral, second);
        log.record("b", OutcomeClass::Crash, second);
        log.added().await;
        let outcomes = |jobs| Outcomes {
            jobs,
            own_time: second * u32::try_from(jobs).unwrap(),
        };
        assert_eq!(
            log.take(),
            [
                ("a".to_owned(), OutcomeClass::Ok, outcomes(2)),
                ("b".to_owned(), OutcomeClass::Crash, outcomes(1)),
            ]
        );
        assert!(log.take().is_empty());
        log.restore(vec![("a".to_owned(), OutcomeClass::Ok, outcomes(2))]);
        log.record("a", OutcomeClass::Ok, second);
        assert_eq!(
            log.take(),
            [("a".to_owned(), OutcomeClass::Ok, outcomes(3))]
        );
    }
}
