//! Prints measured figures, and compares them with goals.

use std::cell::Cell;

/// Prints a line for each figure and counts the goals.
#[derive(Default)]
pub(crate) struct Goals {
    met: Cell<usize>,
    missed: Cell<usize>,
}

impl Goals {
    /// A figure with a maximum.
    pub(crate) fn at_most(&self, name: &str, measured: f64, unit: &str, goal: f64) {
        self.print_goal(
            name,
            measured,
            unit,
            &format!("at most {goal:<6}"),
            measured <= goal,
        );
    }

    /// A figure with a minimum.
    pub(crate) fn at_least(&self, name: &str, measured: f64, unit: &str, goal: f64) {
        self.print_goal(
            name,
            measured,
            unit,
            &format!("at least {goal:<6}"),
            measured >= goal,
        );
    }

    /// A figure without a goal.
    pub(crate) fn figure(&self, name: &str, measured: f64, unit: &str) {
        println!("  {name:<54} {measured:>8.3} {unit}");
    }

    fn print_goal(&self, name: &str, measured: f64, unit: &str, goal: &str, is_met: bool) {
        let (count, verdict) = if is_met {
            (&self.met, "met")
        } else {
            (&self.missed, "MISSED")
        };
        count.set(count.get() + 1);
        println!("  {name:<54} {measured:>8.3} {unit:<12} {goal} {verdict}");
    }

    /// Prints the last line.
    pub(crate) fn print_summary(&self) {
        let met = self.met.get();
        println!("\n{met} of {} goals met", met + self.missed.get());
    }
}

/// Median, minimum and maximum.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        Self {
            median: values[last / 2],
            min: values[0],
            max: values[last],
        }
    }
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).median
}
