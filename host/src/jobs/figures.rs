//! Figures of each version of an engine: what its jobs did in the last 24 hours.
//!
//! An attempt of a job is counted when it ends, by the digest of the component that it ran: outcome, time, CPU time,
//! memory and requests. Counts are held for each minute, and the rest for each minute of the last hour and for each ten
//! minutes.
//!
//! A version that is always busy takes about 240 KiB, and at most [`MAX_VERSION_BYTES`] if it uses all upstreams that a
//! component can declare and its times spread from a millisecond to an hour. There are at most [`MAX_VERSIONS`], so
//! all figures are below 32 MiB. A version with a job an hour takes 10 KiB.

mod counts;
mod histogram;
mod period;
mod series;
mod version;
mod version_figures;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pinhole_ground::metrics;
use pinhole_sandbox::CallUsage;
use pinhole_sandbox::contract::ErrorKind;
use tokio::time::Instant;

use super::outcome::Outcome;
use period::FinishedAttempt;
use series::Periods;
use version::{ReadingTime, Version};

pub use counts::Counts;
pub use series::{Series, SeriesPoint, SeriesRange};
pub use version_figures::{MinuteFigures, UpstreamFigures, VersionFigures};

/// Versions that are held. A further one replaces the one whose last job ended first.
pub const MAX_VERSIONS: usize = 64;
/// Memory of the figures of one version, in bytes.
pub const MAX_VERSION_BYTES: usize = 512 << 10;

/// Figures of all versions.
#[derive(Debug)]
pub struct Figures {
    started: Instant,
    /// By digest.
    versions: RwLock<HashMap<String, Arc<Version>>>,
}

/// An attempt that runs. It ends when it is dropped: as cancelled, unless [`Self::finish`] says otherwise.
#[derive(Debug)]
pub struct RunningAttempt {
    version: Arc<Version>,
    usage: Arc<CallUsage>,
    figures_started: Instant,
    started: Instant,
    outcome: Outcome,
}

impl Figures {
    /// Counts a running attempt of the engine with this digest. `usage` is that of its call.
    #[must_use]
    pub fn start(&self, engine: &str, digest: &str, usage: Arc<CallUsage>) -> RunningAttempt {
        let version = self
            .find(digest)
            .unwrap_or_else(|| self.add(engine, digest));
        version.running.fetch_add(1, Ordering::Relaxed);
        RunningAttempt {
            version,
            usage,
            figures_started: self.started,
            started: Instant::now(),
            outcome: Outcome::Error(ErrorKind::Cancelled),
        }
    }

    /// The figures of a version over the last `range`, rounded up to ten minutes and at most 24 hours. `None` if it
    /// had no job.
    #[must_use]
    pub fn version(&self, digest: &str, range: Duration) -> Option<VersionFigures> {
        let minutes = range.as_secs().div_ceil(60);
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        Some(self.find(digest)?.figures(digest, self.now(), minutes))
    }

    /// The figures of these versions together over time. They are of one server's life: it is empty after a start.
    #[must_use]
    pub fn series<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a str>,
        range: SeriesRange,
    ) -> Series {
        let now = self.now();
        let mut periods = Periods::default();
        for version in digests.into_iter().filter_map(|digest| self.find(digest)) {
            version.add_periods(range, now, &mut periods);
        }
        periods.into_series(range, now)
    }

    /// The jobs of a version that ended since then, from the start of that minute on.
    #[must_use]
    pub fn counts(&self, digest: &str, since: Instant) -> Counts {
        let since_minute = minutes_between(self.started, since);
        let version = self.find(digest);
        version.map_or_else(Counts::default, |it| it.counts(since_minute))
    }

    fn find(&self, digest: &str) -> Option<Arc<Version>> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.get(digest).cloned()
    }

    fn add(&self, engine: &str, digest: &str) -> Arc<Version> {
        let minute = self.now().minute;
        let mut versions = self
            .versions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = versions.get(digest) {
            return version.clone();
        }
        if versions.len() >= MAX_VERSIONS {
            let age = |version: &Version| {
                let is_running = version.running.load(Ordering::Relaxed) > 0;
                (is_running, version.last_minute())
            };
            let oldest = versions.iter().min_by_key(|(_, version)| age(version));
            let oldest = oldest.map(|(oldest_digest, _)| oldest_digest.clone());
            oldest.and_then(|oldest_digest| versions.remove(&oldest_digest));
        }
        let version = Arc::new(Version::new(engine, minute));
        versions.insert(digest.to_owned(), version.clone());
        version
    }

    fn now(&self) -> ReadingTime {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH);
        let since_start = self.started.elapsed();
        let first_minute = now_ms.unwrap_or_default().saturating_sub(since_start);
        ReadingTime {
            minute: minutes_between(self.started, Instant::now()),
            first_minute_ms: u64::try_from(first_minute.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            versions: RwLock::default(),
        }
    }
}

impl RunningAttempt {
    /// Ends the attempt. Returns its time.
    pub fn finish(mut self, outcome: Outcome) -> Duration {
        self.outcome = outcome;
        self.started.elapsed()
    }
}

impl Drop for RunningAttempt {
    fn drop(&mut self) {
        let attempt = FinishedAttempt {
            outcome: self.outcome,
            time: self.started.elapsed(),
            cpu_time: self.usage.cpu_time(),
            memory_bytes: self.usage.peak_memory_bytes(),
            traffic: self.usage.traffic(),
        };
        let minute = minutes_between(self.figures_started, Instant::now());
        let peak_bytes = self.version.record(minute, &attempt);
        self.version.running.fetch_sub(1, Ordering::Relaxed);
        metrics::set_engine_memory(&self.version.engine, peak_bytes);
    }
}

fn minutes_between(start: Instant, end: Instant) -> u32 {
    let minutes = end.saturating_duration_since(start).as_secs() / 60;
    u32::try_from(minutes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn start(figures: &Figures, digest: &str) -> RunningAttempt {
        figures.start("openai", digest, Arc::default())
    }

    #[test]
    fn figures_count_attempts_while_they_run_and_when_they_end() {
        let figures = Figures::default();
        assert_eq!(figures.version("6030", DAY), None);
        let [first, second] = [start(&figures, "6030"), start(&figures, "6030")];
        let read = || figures.version("6030", DAY).unwrap();
        assert_eq!((read().running, read().jobs), (2, 0));
        first.finish(Outcome::Ok);
        drop(second);
        let both = read();
        assert_eq!((both.running, both.jobs, both.ok), (0, 2, 1));
        assert_eq!((both.failed, both.failures), (0, [("cancelled", 1)].into()));
        let counts = figures.counts("6030", figures.started);
        assert_eq!((counts.jobs, counts.failed()), (1, 0));
        let later = figures.started + DAY;
        assert_eq!(figures.counts("6030", later), Counts::default());
        assert_eq!(figures.counts("other", figures.started), Counts::default());
    }

    #[test]
    fn series_has_the_jobs_of_all_versions() {
        let figures = Figures::default();
        for digest in ["6030", "6030", "7041"] {
            start(&figures, digest).finish(Outcome::Ok);
        }
        start(&figures, "7041").finish(Outcome::Crash);
        for (range, interval_secs) in [(SeriesRange::Hour, 60), (SeriesRange::Day, 600)] {
            let both = figures.series(["6030", "7041", "unknown"], range);
            let [point] = both.points.as_slice() else {
                panic!("{both:?}");
            };
            assert_eq!((point.jobs, point.failed), (4, 1));
            assert_eq!(
                (both.interval_secs, both.since_ms),
                (interval_secs, point.at_ms)
            );
            assert_eq!(figures.series(["6030"], range).points[0].jobs, 2);
        }
        let unknown = figures.series(["unknown"], SeriesRange::Hour);
        assert_eq!(unknown.points, []);
    }

    #[test]
    fn figures_drop_the_oldest_version_that_does_not_run() {
        let figures = Figures::default();
        let digests = (0..MAX_VERSIONS).map(|index| format!("digest-{index}"));
        let digests: Vec<_> = digests.collect();
        let running = start(&figures, &digests[0]);
        for digest in &digests[1..] {
            start(&figures, digest).finish(Outcome::Ok);
        }
        let added = start(&figures, "added");
        let is_held = |digest: &str| figures.version(digest, DAY).is_some();
        assert!(is_held("added") && is_held(&digests[0]));
        let held = digests.iter().filter(|digest| is_held(digest));
        assert_eq!(held.count(), MAX_VERSIONS - 1);
        running.finish(Outcome::Ok);
        added.finish(Outcome::Ok);
    }
}
