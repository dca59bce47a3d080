//! Times of jobs in logarithmic buckets: a percentile is exact to 2.5 %.

use std::time::Duration;

/// The upper bound of a bucket, in lower bounds.
const STEP: f64 = 1.05;
/// From 1 ms to more than an hour. Shorter and longer times are in the first and the last bucket.
const BUCKETS: u16 = 310;

/// Counts times. Holds the buckets between the shortest and the longest time.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    first: u16,
    counts: Vec<u32>,
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        self.add_to(bucket(time), 1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in (other.first..).zip(&other.counts) {
            self.add_to(bucket, *count);
        }
    }

    /// The time that this share of all times does not exceed, such as 0.99; `None` without times.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a rank between 1 and a number of jobs"
        )]
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in (self.first..).zip(&self.counts) {
            below += u64::from(*count);
            if below >= rank {
                return Some(middle(bucket));
            }
        }
        None
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }

    fn add_to(&mut self, bucket: u16, count: u32) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = usize::from(self.first - bucket);
            self.counts.reserve_exact(missing);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let index = usize::from(bucket - self.first);
        if index >= self.counts.len() {
            self.counts.reserve_exact(index + 1 - self.counts.len());
            self.counts.resize(index + 1, 0);
        }
        if let Some(counted) = self.counts.get_mut(index) {
            *counted = counted.saturating_add(count);
        }
    }
}

fn bucket(time: Duration) -> u16 {
    let millis = (time.as_secs_f64() * 1000.0).max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limited to the number of buckets"
    )]
    let bucket = millis.log(STEP).min(f64::from(BUCKETS - 1)) as u16;
    bucket
}

/// The geometric middle of a bucket.
fn middle(bucket: u16) -> Duration {
    Duration::from_secs_f64(STEP.powf(f64::from(bucket) + 0.5) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_estimates_quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        // The largest first: the histogram grows in both directions.
        for millis in (1..=1000).rev() {
            histogram.add(Duration::from_millis(millis * 10));
        }
        for (share, expected) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let estimated = histogram.quantile(share).unwrap().as_secs_f64();
            assert!((estimated / expected - 1.0).abs() < 0.03, "{estimated}");
        }
        let mut merged = Histogram::default();
        merged.add(Duration::ZERO);
        merged.merge(&histogram);
        assert_eq!(merged.quantile(0.5), histogram.quantile(0.5));
        assert_eq!(merged.quantile(0.0).unwrap(), middle(0));
    }

    #[test]
    fn histogram_covers_a_millisecond_to_an_hour_in_its_size() {
        let mut histogram = Histogram::default();
        let hour = Duration::from_secs(3600);
        for time in [Duration::ZERO, Duration::MAX, hour] {
            histogram.add(time);
        }
        assert!(middle(bucket(hour)).abs_diff(hour) < hour / 30);
        assert_eq!(histogram.counts.len(), usize::from(BUCKETS));
    }
}
