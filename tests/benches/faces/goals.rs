//! What was measured beside what is wanted, a line each.

use std::cell::Cell;

/// Prints lines and counts goals.
#[derive(Default)]
pub(crate) struct Goals {
    met: Cell<usize>,
    missed: Cell<usize>,
}

impl Goals {
    /// A figure that may not be larger.
    pub(crate) fn at_most(&self, what: &str, measured: f64, unit: &str, goal: f64) {
        self.tell(what, measured, unit, "at most", goal, measured <= goal);
    }

    /// A figure that may not be smaller.
    pub(crate) fn at_least(&self, what: &str, measured: f64, unit: &str, goal: f64) {
        self.tell(what, measured, unit, "at least", goal, measured >= goal);
    }

    /// A figure without a goal.
    pub(crate) fn figure(&self, what: &str, measured: f64, unit: &str) {
        println!("  {what:<54} {measured:>8.3} {unit}");
    }

    fn tell(&self, what: &str, measured: f64, unit: &str, word: &str, goal: f64, met: bool) {
        let (count, verdict) = match met {
            true => (&self.met, "met"),
            false => (&self.missed, "MISSED"),
        };
        count.set(count.get() + 1);
        println!("  {what:<54} {measured:>8.3} {unit:<12} {word} {goal:<6} {verdict}");
    }

    /// The last line.
    pub(crate) fn sum(&self) {
        let (met, all) = (self.met.get(), self.met.get() + self.missed.get());
        println!("\n{met} of {all} goals met");
    }
}

/// The middle, and the least and the most.
pub(crate) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    (values[last / 2], values[0], values[last])
}

/// The middle.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    spread(values).0
}
