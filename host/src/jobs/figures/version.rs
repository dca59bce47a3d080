//! The record of one version of an engine: counts for each minute, and all other figures for each ten minutes, and for
//! each minute of the last hour.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counts::Counts;
use super::period::{FinishedAttempt, PERIOD_MINUTES, Period, TrafficSum};
use super::series::{Periods, SeriesRange};
use super::version_figures::{MinuteFigures, UpstreamFigures, VersionFigures};
use crate::jobs::outcome::{Outcome, OutcomeClass};

/// Minutes that are held.
pub(super) const MAX_MINUTES: u32 = 24 * 60;
/// Minutes of which all figures are held, except the traffic.
pub(super) const MAX_RECENT_MINUTES: u32 = 60;

/// One version of an engine.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) engine: String,
    pub(super) running: AtomicUsize,
    record: Mutex<Record>,
}

/// The moment at which figures are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadingTime {
    /// Minutes since the server started.
    pub(super) minute: u32,
    /// The start of the first minute, in milliseconds since 1970.
    pub(super) first_minute_ms: u64,
}

#[derive(Debug, Default)]
struct Record {
    minutes: VecDeque<Minute>,
    periods: VecDeque<Period>,
    /// Periods of one minute, without traffic.
    recent: VecDeque<Period>,
    /// The upstreams of [`Period::traffic`].
    upstreams: Vec<Option<Arc<str>>>,
    peak_memory_bytes: usize,
    last_minute: u32,
}

#[derive(Debug)]
struct Minute {
    minute: u32,
    counts: Counts,
    neutral: u32,
}

impl Version {
    pub(super) fn new(engine: &str, minute: u32) -> Self {
        Self {
            engine: engine.to_owned(),
            running: AtomicUsize::new(0),
            record: Mutex::new(Record {
                last_minute: minute,
                ..Record::default()
            }),
        }
    }

    /// Records an attempt. Returns the largest memory of an attempt so far.
    pub(super) fn record(&self, minute: u32, attempt: &FinishedAttempt) -> usize {
        let mut record = self.record_lock();
        record.add(minute, attempt);
        record.peak_memory_bytes
    }

    /// The minute in which an attempt ended last.
    pub(super) fn last_minute(&self) -> u32 {
        self.record_lock().last_minute
    }

    /// The counts from this minute on.
    pub(super) fn counts(&self, since_minute: u32) -> Counts {
        let mut counts = Counts::default();
        let record = self.record_lock();
        for minute in record.minutes.iter().rev() {
            if minute.minute < since_minute {
                break;
            }
            counts += minute.counts;
        }
        counts
    }

    /// The figures of the last minutes, rounded up to whole periods.
    pub(super) fn figures(
        &self,
        digest: &str,
        now: ReadingTime,
        range_minutes: u32,
    ) -> VersionFigures {
        let range_minutes = range_minutes.clamp(1, MAX_MINUTES);
        let first_period = (now.minute + 1).saturating_sub(range_minutes) / PERIOD_MINUTES;
        let first_minute = first_period * PERIOD_MINUTES;
        let at_ms = |minute: u32| now.first_minute_ms + u64::from(minute) * 60_000;
        let record = self.record_lock();
        let mut sum = Period::default();
        let periods = record.periods.iter();
        for period in periods.filter(|it| it.number >= first_period) {
            sum.merge(period);
        }
        let mut counts = Counts::default();
        let mut minutes = Vec::new();
        let recorded = record.minutes.iter();
        for minute in recorded.filter(|it| it.minute >= first_minute) {
            counts += minute.counts;
            minutes.push(MinuteFigures {
                at_ms: at_ms(minute.minute),
                jobs: minute.counts.jobs + u64::from(minute.neutral),
                failed: minute.counts.failed(),
            });
        }
        let jobs = sum.jobs();
        let mut failures = sum.outcomes();
        let ok = failures.remove(Outcome::Ok.name()).unwrap_or(0);
        let quantile_ms = |share| sum.times.quantile(share).map(millis);
        VersionFigures {
            engine: self.engine.clone(),
            digest: digest.to_owned(),
            since_ms: at_ms(first_minute),
            running: self.running.load(Ordering::Relaxed),
            jobs,
            ok,
            failed: counts.failed(),
            failures,
            p50_ms: quantile_ms(0.5),
            p99_ms: quantile_ms(0.99),
            cpu_ms: millis(sum.cpu_time),
            mean_cpu_ms: mean(sum.cpu_time, jobs).as_secs_f64() * 1000.0,
            peak_memory_bytes: sum.peak_memory_bytes,
            traffic: record.traffic(&sum),
            minutes,
        }
    }

    /// Adds the periods of a range.
    pub(super) fn add_periods(&self, range: SeriesRange, now: ReadingTime, sums: &mut Periods) {
        let record = self.record_lock();
        let periods = match range {
            SeriesRange::Hour => &record.recent,
            SeriesRange::Day => &record.periods,
        };
        let first = range.first_number(now);
        for period in periods.iter().filter(|it| it.number >= first) {
            sums.add(period);
        }
    }

    fn record_lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let record = self.record_lock();
        let of_periods = record.periods.iter().chain(&record.recent);
        let of_periods = of_periods.map(Period::heap_bytes);
        let periods = record.periods.capacity() + record.recent.capacity();
        record.minutes.capacity() * size_of::<Minute>()
            + periods * size_of::<Period>()
            + of_periods.sum::<usize>()
    }
}

impl Record {
    fn add(&mut self, minute: u32, attempt: &FinishedAttempt) {
        // An attempt that waited for the lock ends in a minute that has passed: it counts in the last one.
        let minute = minute.max(self.last_minute);
        self.last_minute = minute;
        self.peak_memory_bytes = self.peak_memory_bytes.max(attempt.memory_bytes);
        let class = attempt.outcome.class();
        let counted = self.minute(minute);
        if class == OutcomeClass::Neutral {
            counted.neutral += 1;
        }
        counted.counts.add(class, attempt.cpu_time);
        let upstreams: Vec<usize> = attempt
            .traffic
            .iter()
            .map(|row| self.upstream_index(row.upstream.as_ref()))
            .collect();
        entry_of(&mut self.recent, minute, MAX_RECENT_MINUTES).add(attempt);
        let max_periods = MAX_MINUTES / PERIOD_MINUTES;
        let period = entry_of(&mut self.periods, minute / PERIOD_MINUTES, max_periods);
        period.add(attempt);
        for (index, row) in upstreams.into_iter().zip(&attempt.traffic) {
            period.add_traffic(index, &TrafficSum::from(row));
        }
    }

    /// The entry of this minute, which is not before the last one. Drops entries that are too old.
    fn minute(&mut self, minute: u32) -> &mut Minute {
        let is_old = |it: &Minute| it.minute + MAX_MINUTES <= minute;
        while self.minutes.front().is_some_and(is_old) {
            self.minutes.pop_front();
        }
        let is_same = |it: &mut Minute| it.minute == minute;
        let last = self.minutes.pop_back_if(is_same).unwrap_or(Minute {
            minute,
            counts: Counts::default(),
            neutral: 0,
        });
        self.minutes.push_back_mut(last)
    }

    /// The index of an upstream. There are few: the component declares them.
    fn upstream_index(&mut self, upstream: Option<&Arc<str>>) -> usize {
        let mut known = self.upstreams.iter();
        if let Some(index) = known.position(|it| it.as_ref() == upstream) {
            return index;
        }
        self.upstreams.push(upstream.cloned());
        self.upstreams.len() - 1
    }

    fn traffic(&self, sum: &Period) -> Vec<UpstreamFigures> {
        let rows = self.upstreams.iter().zip(&sum.traffic);
        rows.filter(|(_, row)| row.requests > 0)
            .map(|(upstream, row)| UpstreamFigures {
                upstream: upstream.as_deref().map(str::to_owned),
                requests: row.requests,
                failed_requests: row.failed_requests,
                sent_bytes: row.sent_bytes,
                received_bytes: row.received_bytes,
            })
            .collect()
    }
}

/// As [`Record::minute`], for periods of which this number is held.
fn entry_of(periods: &mut VecDeque<Period>, number: u32, max_periods: u32) -> &mut Period {
    let is_old = |it: &Period| it.number + max_periods <= number;
    while periods.front().is_some_and(is_old) {
        periods.pop_front();
    }
    let is_same = |it: &mut Period| it.number == number;
    let last = periods.pop_back_if(is_same);
    periods.push_back_mut(last.unwrap_or_else(|| Period::new(number)))
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Zero if there are no jobs.
fn mean(time: Duration, jobs: u64) -> Duration {
    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
    time.checked_div(jobs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinhole_sandbox::Traffic;
    use pinhole_sandbox::contract::ErrorKind;

    use super::super::MAX_VERSION_BYTES;
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn attempt(outcome: Outcome, millis: u64) -> FinishedAttempt {
        FinishedAttempt {
            outcome,
            time: Duration::from_millis(millis),
            cpu_time: Duration::from_millis(millis / 10),
            memory_bytes: usize::try_from(millis).unwrap(),
            traffic: vec![Traffic {
                upstream: Some("api".into()),
                requests: 2,
                failed_requests: 1,
                sent_bytes: 10,
                received_bytes: 20,
            }],
        }
    }

    fn figures(version: &Version, minute: u32, range_minutes: u32) -> VersionFigures {
        let now = ReadingTime {
            minute,
            first_minute_ms: HOUR_MS,
        };
        version.figures("6030", now, range_minutes)
    }

    #[test]
    fn version_figures_sum_a_range() {
        let version = Version::new("openai", 0);
        let upstream = Outcome::Error(ErrorKind::Upstream);
        let blocked = Outcome::Error(ErrorKind::Blocked);
        for (minute, outcome, millis) in [
            (0, Outcome::Ok, 50_000),
            (61, Outcome::Ok, 1000),
            (61, upstream, 3000),
            (65, Outcome::Crash, 2000),
            (65, blocked, 10),
        ] {
            version.record(minute, &attempt(outcome, millis));
        }
        let hour = figures(&version, 65, 6);
        assert_eq!(hour.since_ms, 2 * HOUR_MS);
        assert_eq!((hour.jobs, hour.ok, hour.failed), (4, 1, 2));
        let failures = [("blocked", 1), ("crash", 1), ("upstream", 1)];
        assert_eq!(hour.failures, failures.into());
        assert_eq!((hour.cpu_ms, hour.peak_memory_bytes), (601, 3000));
        assert!((hour.mean_cpu_ms - 150.25).abs() < 0.01);
        assert!(hour.p50_ms.unwrap().abs_diff(2000) < 60);
        assert!(hour.p99_ms.unwrap().abs_diff(3000) < 90);
        let minute = |minute: u64, jobs, failed| MinuteFigures {
            at_ms: HOUR_MS + minute * 60_000,
            jobs,
            failed,
        };
        assert_eq!(hour.minutes, [minute(61, 2, 1), minute(65, 2, 1)]);
        let traffic = UpstreamFigures {
            upstream: Some("api".to_owned()),
            requests: 8,
            failed_requests: 4,
            sent_bytes: 40,
            received_bytes: 80,
        };
        assert_eq!(hour.traffic, [traffic]);
        let day = figures(&version, 65, MAX_MINUTES);
        assert_eq!((day.jobs, day.since_ms), (5, HOUR_MS));
        assert_eq!(day.peak_memory_bytes, 50_000);
    }

    #[test]
    fn version_series_has_minutes_of_an_hour_and_periods_of_a_day() {
        let version = Version::new("openai", 0);
        for (minute, outcome, millis) in [
            (0, Outcome::Ok, 50_000),
            (100, Outcome::Ok, 1000),
            (100, Outcome::Error(ErrorKind::Upstream), 3000),
            (102, Outcome::Error(ErrorKind::Blocked), 10),
        ] {
            version.record(minute, &attempt(outcome, millis));
        }
        let series = |range| {
            let now = ReadingTime {
                minute: 105,
                first_minute_ms: HOUR_MS,
            };
            let mut periods = Periods::default();
            version.add_periods(range, now, &mut periods);
            periods.into_series(range, now)
        };
        let hour = series(SeriesRange::Hour);
        assert_eq!(hour.since_ms, HOUR_MS + 46 * 60_000);
        let summary = |it: &crate::jobs::figures::SeriesPoint| {
            ((it.at_ms - HOUR_MS) / 60_000, it.jobs, it.failed, it.cpu_ms)
        };
        let minutes: Vec<_> = hour.points.iter().map(summary).collect();
        assert_eq!(minutes, [(100, 2, 1, 400), (102, 1, 0, 1)]);
        let [first, second] = hour.points.as_slice() else {
            panic!("{hour:?}")
        };
        assert!(first.p50_ms.unwrap().abs_diff(1000) < 30);
        assert!(first.p99_ms.unwrap().abs_diff(3000) < 90);
        assert_eq!((first.peak_memory_bytes, second.p50_ms), (3000, None));
        let day = series(SeriesRange::Day);
        assert_eq!((day.since_ms, day.interval_secs), (HOUR_MS, 600));
        let periods: Vec<_> = day.points.iter().map(summary).collect();
        assert_eq!(periods, [(0, 1, 0, 5000), (100, 3, 1, 401)]);
    }

    #[test]
    fn version_counts_leave_out_neutral_outcomes() {
        let version = Version::new("openai", 0);
        for (minute, outcome) in [
            (0, Outcome::Crash),
            (1, Outcome::Ok),
            (2, Outcome::Crash),
            (2, Outcome::Limit),
            (2, Outcome::Error(ErrorKind::Unavailable)),
            (2, Outcome::Error(ErrorKind::Cancelled)),
        ] {
            version.record(minute, &attempt(outcome, 1000));
        }
        let counts = Counts {
            jobs: 4,
            crashes: 1,
            own_failures: 2,
            upstream_failures: 1,
            own_time: Duration::from_millis(400),
        };
        assert_eq!(version.counts(1), counts);
    }

    #[test]
    fn version_holds_a_day_in_its_memory() {
        let version = Version::new("openai", 0);
        let upstreams = (0..9).map(|index| Traffic {
            upstream: Some(format!("upstream-{index}").into()),
            requests: 1,
            ..Traffic::default()
        });
        let traffic: Vec<_> = upstreams.collect();
        for minute in 0..2 * MAX_MINUTES {
            for millis in [0, HOUR_MS] {
                version.record(
                    minute,
                    &FinishedAttempt {
                        traffic: traffic.clone(),
                        ..attempt(Outcome::Ok, millis)
                    },
                );
            }
        }
        let bytes = version.heap_bytes();
        assert!(bytes <= MAX_VERSION_BYTES, "{bytes}");
        let day = figures(&version, 2 * MAX_MINUTES - 1, MAX_MINUTES);
        assert_eq!(day.jobs, u64::from(2 * MAX_MINUTES));
        assert_eq!(day.minutes.len(), MAX_MINUTES as usize);
        assert_eq!(day.traffic.len(), 9);
    }

    #[test]
    fn version_with_a_job_an_hour_needs_little_memory() {
        let version = Version::new("openai", 0);
        for hour in 0..48 {
            version.record(hour * 60, &attempt(Outcome::Ok, 20_000));
        }
        let bytes = version.heap_bytes();
        assert!(bytes <= 10 << 10, "{bytes}");
    }
}
