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
