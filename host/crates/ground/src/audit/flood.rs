//! Flood control: of the refusals that one job repeats, the first are logged and the rest are counted.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Entry, Event, RefusalKind};
use crate::guard::Guard;
use crate::text::plain;

/// Entries that one job gets of one kind; further refusals are counted.
const MAX_ENTRIES: usize = 10;
/// A repetition ends after this time without a refusal. A repetition that continues is summarized at this
/// interval.
pub(super) const QUIET: Duration = Duration::from_secs(30);
/// Jobs whose refusals are counted at the same time; the oldest makes room for a new one.
const MAX_JOBS: usize = 1024;

/// A kind of refusal of a job, or of an engine outside a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    kind: RefusalKind,
    engine: String,
    job: String,
}

impl Key {
    pub(super) fn new(kind: RefusalKind, engine: &str, job: &str) -> Self {
        Self {
            kind,
            engine: plain(engine, super::MAX_NAME_BYTES),
            job: plain(job, super::MAX_NAME_BYTES),
        }
    }
}

#[derive(Debug)]
struct Repetition {
    began: Instant,
    last: Instant,
    summarized: Instant,
    logged: usize,
    /// Not logged yet.
    suppressed: u64,
}

/// Recent refusals by job.
#[derive(Debug, Default)]
pub(super) struct FloodControl {
    repetitions: HashMap<Key, Repetition>,
    /// Summaries of repetitions that had to make room.
    evicted: Vec<Entry>,
}

impl FloodControl {
    /// True if the refusal is logged, false if it is only counted.
    pub(super) fn admits(&mut self, key: Key, now: Instant) -> bool {
        if self.repetitions.len() >= MAX_JOBS && !self.repetitions.contains_key(&key) {
            self.make_room();
        }
        let repetition = self.repetitions.entry(key).or_insert(Repetition {
            began: now,
            last: now,
            summarized: now,
            logged: 0,
            suppressed: 0,
        });
        repetition.last = now;
        if repetition.logged < Guard::AuditLines.limit(MAX_ENTRIES) {
            repetition.logged += 1;
        } else {
            repetition.suppressed += 1;
        }
        repetition.suppressed == 0
    }

    /// Forgets repetitions that have ended. Returns a summary of each with suppressed refusals.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.evicted);
        self.repetitions.retain(|key, repetition| {
            if now.duration_since(repetition.summarized) >= QUIET {
                repetition.summarized = now;
                entries.extend(summarize(key, &mut repetition.suppressed));
            }
            now.duration_since(repetition.last) < QUIET
        });
        entries
    }

    /// Forgets a finished job. Returns a summary of each kind with suppressed refusals.
    pub(super) fn finish(&mut self, job: &str) -> Vec<Entry> {
        let ended = self.repetitions.extract_if(|key, _| key.job == job);
        let entries =
            ended.filter_map(|(key, mut repetition)| summarize(&key, &mut repetition.suppressed));
        entries.collect()
    }

    /// A summary of each repetition with suppressed refusals.
    pub(super) fn summaries(&mut self) -> Vec<Entry> {
        let repetitions = self.repetitions.iter_mut();
        let entries =
            repetitions.filter_map(|(key, repetition)| summarize(key, &mut repetition.suppressed));
        entries.collect()
    }

    fn make_room(&mut self) {
        let first = self
            .repetitions
            .iter()
            .min_by_key(|(_, repetition)| repetition.began);
        if let Some(key) = first.map(|(key, _)| key.clone())
            && let Some(mut repetition) = self.repetitions.remove(&key)
        {
            self.evicted
                .extend(summarize(&key, &mut repetition.suppressed));
        }
    }
}

/// The summary of suppressed refusals; resets their count.
fn summarize(key: &Key, suppressed: &mut u64) -> Option<Entry> {
    let message = match std::mem::take(suppressed) {
        0 => return None,
        1 => "and 1 more of this kind".to_owned(),
        more => format!("and {more} more of this kind"),
    };
    Some(Entry::new(&Event {
        kind: key.kind,
        guard: None,
        engine: &key.engine,
        job: &key.job,
        message: &message,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_control_logs_first_refusals_and_counts_the_rest() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let key = Key::new(RefusalKind::Address, "hostile", "1");
        let logged = (0..1000)
            .filter(|_| flood.admits(key.clone(), start))
            .count();
        assert_eq!(logged, 10);
        // Other jobs and kinds are not affected.
        assert!(flood.admits(Key::new(RefusalKind::Address, "hostile", "2"), start));
        assert!(flood.admits(Key::new(RefusalKind::Limit, "hostile", "1"), start));
        assert!(flood.expired(start).is_empty());

        let later = start + QUIET;
        let entries = flood.expired(later);
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (&*entry.job, &*entry.message))
            .collect();
        assert_eq!(entries, [("1", "and 990 more of this kind")]);
        assert!(flood.expired(later + QUIET).is_empty());
        // The repetition has ended, so the next refusal is logged.
        assert!(flood.admits(key, later));
    }

    #[test]
    fn flood_control_summarizes_when_the_job_finishes() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        for kind in [
            RefusalKind::Address,
            RefusalKind::Limit,
            RefusalKind::Address,
        ] {
            for _ in 0..7 {
                flood.admits(Key::new(kind, "hostile", "1"), start);
            }
        }
        flood.admits(Key::new(RefusalKind::Address, "hostile", "2"), start);
        let entries = flood.finish("1");
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (&*entry.kind, &*entry.message))
            .collect();
        assert_eq!(entries, [("address", "and 4 more of this kind")]);
        assert_eq!(flood.repetitions.len(), 1);
    }

    #[test]
    fn flood_control_summarizes_an_endless_flood_at_intervals() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let key = Key::new(RefusalKind::Address, "hostile", "1");
        let mut entries = Vec::new();
        for second in 0..=120 {
            let now = start + Duration::from_secs(second);
            entries.extend(flood.expired(now));
            flood.admits(key.clone(), now);
        }
        let entries: Vec<_> = entries.iter().map(|entry| &*entry.message).collect();
        assert_eq!(entries.len(), 4, "{entries:?}");
        assert_eq!(entries[0], "and 20 more of this kind");
        assert_eq!(entries[1], "and 30 more of this kind");
    }

    #[test]
    fn flood_control_evicts_the_oldest_job() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        for job in 0..2 * MAX_JOBS {
            let now = start + Duration::from_micros(job as u64);
            let key = Key::new(RefusalKind::Address, "hostile", &job.to_string());
            for _ in 0..12 {
                flood.admits(key.clone(), now);
            }
        }
        assert_eq!(flood.repetitions.len(), MAX_JOBS);
        let entries = flood.expired(start + Duration::from_secs(1));
        assert_eq!(entries.len(), MAX_JOBS);
        assert_eq!(entries[0].job, "0");
    }
}
