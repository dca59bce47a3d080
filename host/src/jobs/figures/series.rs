//! The figures of an engine over time, for charts.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::period::{PERIOD_MINUTES, Period};
use super::version::{MAX_MINUTES, MAX_RECENT_MINUTES, ReadingTime, millis};

/// The range of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesRange {
    /// The last hour, with a point for each minute.
    Hour,
    /// The last 24 hours, with a point for each ten minutes.
    Day,
}

/// Figures over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Series {
    /// The time between two points.
    pub interval_secs: u32,
    /// The start of the range in milliseconds since 1970.
    pub since_ms: u64,
    /// By time. Points without a job are left out.
    pub points: Vec<SeriesPoint>,
}

/// The jobs that ended in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeriesPoint {
    /// The start of the interval in milliseconds since 1970.
    pub at_ms: u64,
    pub jobs: u64,
    /// Jobs that failed by the engine or its upstream.
    pub failed: u64,
    /// Median time of jobs that did not fail by the user or the server, in milliseconds.
    #[schema(required = true)]
    pub p50_ms: Option<u64>,
    /// 99 % of these jobs were faster, in milliseconds.
    #[schema(required = true)]
    pub p99_ms: Option<u64>,
    /// CPU time of all jobs in milliseconds.
    pub cpu_ms: u64,
    /// The largest memory of one job.
    pub peak_memory_bytes: usize,
}

/// The periods of versions with the same number, together.
#[derive(Debug, Default)]
pub(super) struct Periods(BTreeMap<u32, Period>);

impl SeriesRange {
    /// Minutes of a point.
    fn interval_minutes(self) -> u32 {
        match self {
            Self::Hour => 1,
            Self::Day => PERIOD_MINUTES,
        }
    }

    /// The number of the first interval.
    pub(super) fn first_number(self, now: ReadingTime) -> u32 {
        let minutes = match self {
            Self::Hour => MAX_RECENT_MINUTES,
            Self::Day => MAX_MINUTES,
        };
        (now.minute + 1).saturating_sub(minutes) / self.interval_minutes()
    }
}

impl Periods {
    pub(super) fn add(&mut self, period: &Period) {
        let sum = self.0.entry(period.number).or_default();
        sum.merge(period);
    }

    pub(super) fn into_series(self, range: SeriesRange, now: ReadingTime) -> Series {
        let interval_minutes = range.interval_minutes();
        let at_ms = |number: u32| {
            let minute = u64::from(number) * u64::from(interval_minutes);
            now.first_minute_ms + minute * 60_000
        };
        let point = |(number, period): (u32, Period)| {
            let quantile_ms = |share| period.times.quantile(share).map(millis);
            SeriesPoint {
                at_ms: at_ms(number),
                jobs: period.jobs(),
                failed: period.failed(),
                p50_ms: quantile_ms(0.5),
                p99_ms: quantile_ms(0.99),
                cpu_ms: millis(period.cpu_time),
                peak_memory_bytes: period.peak_memory_bytes,
            }
        };
        Series {
            interval_secs: interval_minutes * 60,
            since_ms: at_ms(range.first_number(now)),
            points: self.0.into_iter().map(point).collect(),
        }
    }
}
