//! Statistics of measured figures.

/// Median and maximum.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        Self {
            median: values[last / 2],
            max: values[last],
        }
    }
}

/// This percentile: the smallest value that this percentage of all values does not exceed.
#[allow(dead_code, reason = "only the benchmark of several hosts uses it")]
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.max(1) - 1]
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).median
}
