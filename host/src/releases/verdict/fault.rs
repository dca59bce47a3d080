//! The rules that find a fault of a version.

use std::time::Duration;

use super::rate::Rate;
use super::reason::Reason;
use super::{Counts, MIN_JOBS};

/// How much higher a version's rate of own failures must be.
const RATE_MARGIN: f64 = 0.05;
/// How many times the CPU time of a job must be the other version's.
const TIME_FACTOR: u32 = 2;
/// How much more the CPU time of a job must be.
const TIME_MARGIN: Duration = Duration::from_millis(50);
/// Crashes that are enough if the other version has none.
const MIN_CRASHES: u64 = 2;

/// Why the candidate must not serve, if there is a reason.
pub(super) fn find_fault(candidate: &Counts, stable: &Counts) -> Option<Reason> {
    let (candidate, stable) = (*candidate, *stable);
    if candidate.crashes >= MIN_CRASHES && stable.crashes == 0 {
        return Some(Reason::Crashes { candidate, stable });
    }
    if candidate.jobs < MIN_JOBS {
        return None;
    }
    let own_failures = Rate::new(candidate.own_failures, candidate.jobs);
    let stable_own_failures = Rate::new(stable.own_failures, stable.jobs);
    if own_failures.lower > stable_own_failures.rate + RATE_MARGIN {
        return Some(Reason::OwnFailures { candidate, stable });
    }
    if stable.jobs < MIN_JOBS {
        return None;
    }
    let upstream_failures = Rate::new(candidate.upstream_failures, candidate.jobs);
    let stable_upstream_failures = Rate::new(stable.upstream_failures, stable.jobs);
    if upstream_failures.lower > stable_upstream_failures.upper {
        return Some(Reason::UpstreamFailures { candidate, stable });
    }
    let (time, stable_time) = (candidate.mean_own_time(), stable.mean_own_time());
    if time > stable_time * TIME_FACTOR && time > stable_time + TIME_MARGIN {
        return Some(Reason::OwnTime { candidate, stable });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(jobs: u64, own_failures: u64, upstream_failures: u64) -> Counts {
        Counts {
            jobs,
            own_failures,
            upstream_failures,
            ..Counts::default()
        }
    }

    fn is_rolled_back(candidate: &Counts, stable: &Counts) -> bool {
        find_fault(candidate, stable).is_some()
    }

    fn crashes(jobs: u64, crashes: u64) -> Counts {
        Counts {
            crashes,
            ..counts(jobs, crashes, 0)
        }
    }

    fn timed(jobs: u32, mean_ms: u64) -> Counts {
        Counts {
            own_time: Duration::from_millis(mean_ms) * jobs,
            ..counts(u64::from(jobs), 0, 0)
        }
    }

    /// The number of own failures in this number of jobs that rolls a version back.
    fn own_failures_to_roll_back(jobs: u64, stable: &Counts) -> u64 {
        let mut failures = 0..=jobs;
        failures
            .find(|failures| is_rolled_back(&counts(jobs, *failures, 0), stable))
            .unwrap()
    }

    /// The probability of at least this number of failures.
    fn probability_of_at_least(failures: u64, jobs: u64, rate: f64) -> f64 {
        let mut of_exactly = vec![1.0];
        for _ in 0..jobs {
            let mut next = vec![0.0; of_exactly.len() + 1];
            for (index, probability) in of_exactly.iter().enumerate() {
                next[index] += probability * (1.0 - rate);
                next[index + 1] += probability * rate;
            }
            of_exactly = next;
        }
        let first = usize::try_from(failures).unwrap();
        of_exactly.iter().skip(first).sum()
    }

    /// The probability that a version with this rate of own failures is rolled back while it is judged after each of
    /// these jobs.
    fn probability_of_rollback(jobs: u64, rate: f64, stable: &Counts) -> f64 {
        // By the number of failures, of a version that was not rolled back.
        let mut of_exactly = vec![1.0];
        for job in 1..=jobs {
            let mut next = vec![0.0; of_exactly.len() + 1];
            for (index, probability) in of_exactly.iter().enumerate() {
                next[index] += probability * (1.0 - rate);
                next[index + 1] += probability * rate;
            }
            for (failures, probability) in (0..).zip(&mut next) {
                if is_rolled_back(&counts(job, failures, 0), stable) {
                    *probability = 0.0;
                }
            }
            of_exactly = next;
        }
        1.0 - of_exactly.iter().sum::<f64>()
    }

    #[test]
    fn fault_finds_what_the_table_says() {
        let (never, often) = (counts(1000, 0, 0), counts(1000, 50, 0));
        for (jobs, stable, threshold, found) in [
            (20, &never, 3, [0.79, 0.96, 1.0]),
            (20, &often, 5, [0.37, 0.76, 0.99]),
            (50, &often, 10, [0.56, 0.96, 1.0]),
            (200, &often, 29, [0.98, 1.0, 1.0]),
        ] {
            assert_eq!(own_failures_to_roll_back(jobs, stable), threshold, "{jobs}");
            for (rate, expected) in [0.2, 0.3, 0.5].into_iter().zip(found) {
                let probability = probability_of_at_least(threshold, jobs, rate);
                assert!(
                    (probability - expected).abs() < 0.01,
                    "{jobs} {rate} {probability}"
                );
            }
        }
        // A version as good as the other one, wrongly.
        for (jobs, threshold, expected) in [(20, 5, 0.003), (50, 10, 0.0002), (200, 29, 0.000_02)] {
            let wrongly = probability_of_at_least(threshold, jobs, 0.05);
            assert!(wrongly <= expected * 1.1, "{jobs} {wrongly}");
        }
    }

    #[test]
    fn fault_after_each_job_seldom_rolls_back_a_good_version() {
        let stable = counts(1000, 50, 0);
        let at_end = probability_of_rollback(20, 0.05, &stable);
        let of_long_watch = probability_of_rollback(200, 0.05, &stable);
        assert!(at_end < 0.003, "{at_end}");
        assert!(of_long_watch < 0.01, "{of_long_watch}");
        assert!(probability_of_rollback(200, 0.0, &stable).abs() < 1e-9);
    }

    #[test]
    fn fault_judges_each_rule_at_its_limit() {
        let good = counts(811, 0, 0);
        for (candidate, stable, expected) in [
            (crashes(14, 2), good, true),
            (crashes(2, 2), counts(0, 0, 0), true),
            (crashes(14, 1), good, false),
            (crashes(14, 2), crashes(811, 1), false),
        ] {
            let fault = find_fault(&candidate, &stable);
            let has_crashed = matches!(fault, Some(Reason::Crashes { .. }));
            assert_eq!(has_crashed, expected, "{candidate:?} {stable:?}");
        }
        for (name, candidate, stable, expected) in [
            ("own failures", counts(20, 3, 0), good, true),
            ("too few jobs", counts(19, 19, 0), good, false),
            (
                "nothing to compare",
                counts(20, 3, 0),
                counts(0, 0, 0),
                true,
            ),
            ("two own failures", counts(20, 2, 0), good, false),
            ("upstream", counts(20, 0, 12), counts(100, 0, 10), true),
            ("upstream alone", counts(20, 0, 20), counts(19, 0, 0), false),
            ("upstream of few", counts(19, 0, 19), good, false),
            ("slower", timed(20, 200), timed(20, 90), true),
            ("not twice", timed(20, 180), timed(20, 90), false),
            ("not much", timed(20, 60), timed(20, 10), false),
            ("slower in few jobs", timed(19, 900), timed(20, 90), false),
            ("slower than few jobs", timed(20, 900), timed(19, 90), false),
        ] {
            assert_eq!(is_rolled_back(&candidate, &stable), expected, "{name}");
        }
    }
}
