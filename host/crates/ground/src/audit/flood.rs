//! The same again and again: told a few times, then counted.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Kind, Line};
use crate::check::Check;
use crate::text::plain;

/// Lines that one job gets of one kind before the rest is only counted.
const MAX_LINES: usize = 10;
/// How long it is quiet before an end is seen, and how often the rest is told of while there is none.
pub(super) const QUIET: Duration = Duration::from_secs(30);
/// Jobs whose refusals are counted at the same time; the one that began first makes room.
const MAX_JOBS: usize = 1024;

/// Who does what: a job of an engine, or the engine where there is no job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    kind: Kind,
    engine: String,
    job: String,
}

impl Key {
    pub(super) fn new(kind: Kind, engine: &str, job: &str) -> Self {
        Self {
            kind,
            engine: plain(engine, super::MAX_NAME_BYTES),
            job: plain(job, super::MAX_NAME_BYTES),
        }
    }
}

#[derive(Debug)]
struct Seen {
    began: Instant,
    last: Instant,
    /// When the rest was told of the last time.
    told: Instant,
    lines: usize,
    more: u64,
}

/// What jobs have done lately.
#[derive(Debug, Default)]
pub(super) struct Flood {
    seen: HashMap<Key, Seen>,
    /// Of those that had to make room.
    left: Vec<Line>,
}

impl Flood {
    /// Is it told, or only counted?
    pub(super) fn tells(&mut self, key: Key, now: Instant) -> bool {
        if self.seen.len() >= MAX_JOBS && !self.seen.contains_key(&key) {
            self.make_room();
        }
        let seen = self.seen.entry(key).or_insert(Seen {
            began: now,
            last: now,
            told: now,
            lines: 0,
            more: 0,
        });
        seen.last = now;
        match seen.lines < Check::AuditLines.limit(MAX_LINES) {
            true => seen.lines += 1,
            false => seen.more += 1,
        }
        seen.more == 0
    }

    /// Forgets those that have been quiet for a while. A line for each of which more was counted than
    /// was told so far.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<Line> {
        let mut lines = std::mem::take(&mut self.left);
        self.seen.retain(|key, seen| {
            if now.duration_since(seen.told) >= QUIET {
                seen.told = now;
                lines.extend(rest(key, &mut seen.more));
            }
            now.duration_since(seen.last) < QUIET
        });
        lines
    }

    /// Forgets a job that has ended. A line for each kind of which more was counted than was told.
    pub(super) fn end(&mut self, job: &str) -> Vec<Line> {
        let ended = self.seen.extract_if(|key, _| key.job == job);
        let lines = ended.filter_map(|(key, mut seen)| rest(&key, &mut seen.more));
        lines.collect()
    }

    /// A line for each of which more was counted than was told so far.
    pub(super) fn all(&mut self) -> Vec<Line> {
        let seen = self.seen.iter_mut();
        let lines = seen.filter_map(|(key, seen)| rest(key, &mut seen.more));
        lines.collect()
    }

    fn make_room(&mut self) {
        let first = self.seen.iter().min_by_key(|(_, seen)| seen.began);
        if let Some(key) = first.map(|(key, _)| key.clone())
            && let Some(mut seen) = self.seen.remove(&key)
        {
            self.left.extend(rest(&key, &mut seen.more));
        }
    }
}

/// The line that tells of those that were only counted, if any.
fn rest(key: &Key, more: &mut u64) -> Option<Line> {
    let what = match std::mem::take(more) {
        0 => return None,
        1 => "and 1 more of this kind".to_owned(),
        more => format!("and {more} more of this kind"),
    };
    Some(Line::new(key.kind, &key.engine, &key.job, &what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_a_few_times_and_then_counted() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let key = Key::new(Kind::Address, "hostile", "1");
        let told = (0..1000)
            .filter(|_| flood.tells(key.clone(), start))
            .count();
        assert_eq!(told, 10);
        // Others are told meanwhile.
        assert!(flood.tells(Key::new(Kind::Address, "hostile", "2"), start));
        assert!(flood.tells(Key::new(Kind::Limit, "hostile", "1"), start));
        assert!(flood.ended(start).is_empty());

        let later = start + QUIET;
        let lines = flood.ended(later);
        let lines: Vec<_> = lines.iter().map(|line| (&*line.job, &*line.what)).collect();
        assert_eq!(lines, [("1", "and 990 more of this kind")]);
        assert!(flood.ended(later + QUIET).is_empty());
        // It is quiet, so it begins anew.
        assert!(flood.tells(key, later));
    }

    #[test]
    fn the_end_of_a_job_tells_the_rest_at_once() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for kind in [Kind::Address, Kind::Limit, Kind::Address] {
            for _ in 0..7 {
                flood.tells(Key::new(kind, "hostile", "1"), start);
            }
        }
        flood.tells(Key::new(Kind::Address, "hostile", "2"), start);
        let lines = flood.end("1");
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (&*line.kind, &*line.what))
            .collect();
        assert_eq!(lines, [("address", "and 4 more of this kind")]);
        assert_eq!(flood.seen.len(), 1);
    }

    #[test]
    fn a_flood_without_an_end_is_told_of_again() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let key = Key::new(Kind::Address, "hostile", "1");
        let mut lines = Vec::new();
        for second in 0..=120 {
            let now = start + Duration::from_secs(second);
            lines.extend(flood.ended(now));
            flood.tells(key.clone(), now);
        }
        let lines: Vec<_> = lines.iter().map(|line| &*line.what).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[0], "and 20 more of this kind");
        assert_eq!(lines[1], "and 30 more of this kind");
    }

    #[test]
    fn many_jobs_are_counted_and_the_first_makes_room() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for job in 0..2 * MAX_JOBS {
            let now = start + Duration::from_micros(job as u64);
            let key = Key::new(Kind::Address, "hostile", &job.to_string());
            for _ in 0..12 {
                flood.tells(key.clone(), now);
            }
        }
        assert_eq!(flood.seen.len(), MAX_JOBS);
        let lines = flood.ended(start + Duration::from_secs(1));
        assert_eq!(lines.len(), MAX_JOBS);
        assert_eq!(lines[0].job, "0");
    }
}
