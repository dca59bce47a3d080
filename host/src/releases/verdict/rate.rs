//! Rates of failures in few jobs.

/// The quantile of the normal distribution for a 95 % interval.
const Z: f64 = 1.959_964;

/// A rate of failures, and the Wilson interval of the probability behind it.
pub(super) struct Rate {
    pub(super) rate: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 jobs")]
    pub(super) fn new(failures: u64, jobs: u64) -> Self {
        if jobs == 0 {
            return Self {
                rate: 0.0,
                lower: 0.0,
                upper: 1.0,
            };
        }
        let n = jobs as f64;
        let rate = failures as f64 / n;
        let scale = 1.0 + Z * Z / n;
        let center = (rate + Z * Z / (2.0 * n)) / scale;
        let deviation = (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        let half_width = Z * deviation / scale;
        Self {
            rate,
            lower: center - half_width,
            upper: center + half_width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_has_the_wilson_interval() {
        for (failures, jobs, lower, upper) in [
            (0, 0, 0.0, 1.0),
            (0, 20, 0.0, 0.1611),
            (3, 20, 0.0524, 0.3604),
            (20, 20, 0.8389, 1.0),
            (50, 1000, 0.0381, 0.0653),
        ] {
            let rate = Rate::new(failures, jobs);
            let is_close = |value: f64, expected: f64| (value - expected).abs() < 0.0001;
            assert!(
                is_close(rate.lower, lower),
                "{failures} {jobs} {}",
                rate.lower
            );
            assert!(
                is_close(rate.upper, upper),
                "{failures} {jobs} {}",
                rate.upper
            );
        }
    }
}
