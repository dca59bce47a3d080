//! The verdict on a new version of an engine: continue, or return to the previous one.
//!
//! Only faults of the engine itself count by themselves. Failures of the upstream count in comparison with the other
//! version, so an outage of the upstream, which both versions see, rolls nothing back. Too few jobs decide nothing, except
//! crashes: the second one is enough if the other version has none.
//!
//! A failure rate is judged by the Wilson interval (95 %), which holds for few jobs too. With 20 jobs, it finds a
//! version that fails in half of its jobs almost always, and one that fails in a fifth in four of five cases if the other
//! version never fails.
//! A version that is only slightly worse needs more jobs: [`Rules::watch_jobs`]. A version is judged after each job. One that fails
//! as seldom as the other is rolled back wrongly in less than one of a hundred rollouts, however long the watch is.

mod fault;
mod rate;
mod reason;

use std::time::Duration;

pub use crate::jobs::Counts;
pub use reason::Reason;

use fault::find_fault;

/// Jobs below which no rate is judged.
pub const MIN_JOBS: u64 = 20;
/// The shares of a canary, in percent of the users.
pub const CANARY_STEPS: [u8; 3] = [10, 50, 100];

/// When a rollout continues and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Jobs after which a watch ends.
    pub watch_jobs: u64,
    /// Time after which a watch ends.
    pub watch_time: Duration,
    /// The least time of a step of a canary.
    pub canary_step_time: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            watch_jobs: MIN_JOBS,
            watch_time: Duration::from_hours(1),
            canary_step_time: Duration::from_mins(10),
        }
    }
}

/// What happens to a version that is watched.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The previous version serves again.
    RollBack(Reason),
    /// The canary gets more users: see [`next_step`].
    NextStep,
    /// The watch ends. The version stays.
    Done,
    /// Nothing changes yet.
    Undecided,
}

/// Judges a version. `candidate` are its jobs since the rollout began, `stable` those of the other version in the same
/// time, or in the days before if all users have the candidate. `percent` is the candidate's share of the users,
/// `elapsed` the time since it has it.
#[must_use]
pub fn judge(
    rules: &Rules,
    candidate: &Counts,
    stable: &Counts,
    percent: u8,
    elapsed: Duration,
) -> Verdict {
    if let Some(reason) = find_fault(candidate, stable) {
        return Verdict::RollBack(reason);
    }
    if percent < 100 {
        let is_complete = candidate.jobs >= MIN_JOBS && elapsed >= rules.canary_step_time;
        return if is_complete {
            Verdict::NextStep
        } else {
            Verdict::Undecided
        };
    }
    if candidate.jobs >= rules.watch_jobs || elapsed >= rules.watch_time {
        return Verdict::Done;
    }
    Verdict::Undecided
}

/// The share of the users after this one.
#[must_use]
pub fn next_step(percent: u8) -> u8 {
    let mut steps = CANARY_STEPS.into_iter();
    steps.find(|step| *step > percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::OutcomeClass;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn counts(jobs: u64, own_failures: u64, upstream_failures: u64) -> Counts {
        Counts {
            jobs,
            own_failures,
            upstream_failures,
            ..Counts::default()
        }
    }

    #[test]
    fn verdict_continues_a_canary_and_ends_a_watch() {
        let (rules, stable) = (Rules::default(), counts(100, 0, 0));
        let minutes = |count: u64| Duration::from_mins(count);
        for (jobs, percent, elapsed, expected) in [
            (20, 10, minutes(10), Verdict::NextStep),
            (20, 10, minutes(9), Verdict::Undecided),
            (19, 50, DAY, Verdict::Undecided),
            (500, 50, minutes(10), Verdict::NextStep),
            (20, 100, minutes(0), Verdict::Done),
            (19, 100, minutes(59), Verdict::Undecided),
            (0, 100, HOUR, Verdict::Done),
        ] {
            let verdict = judge(&rules, &counts(jobs, 0, 0), &stable, percent, elapsed);
            assert_eq!(verdict, expected, "{jobs} {percent} {elapsed:?}");
        }
        assert_eq!([0, 10, 50, 100].map(next_step), [10, 50, 100, 100]);
    }

    /// Judges after each job, until there is a verdict. The job with index i has the class `class(i)` on both sides.
    fn judge_series(
        rules: &Rules,
        jobs: u64,
        interval: Duration,
        classes: impl Fn(u64) -> (OutcomeClass, OutcomeClass),
    ) -> (u64, Verdict) {
        let (mut candidate, mut stable) = (Counts::default(), Counts::default());
        let mut elapsed = Duration::ZERO;
        for index in 0..jobs {
            let (of_candidate, of_stable) = classes(index);
            candidate.add(of_candidate, Duration::from_millis(5));
            stable.add(of_stable, Duration::from_millis(5));
            elapsed += interval;
            let verdict = judge(rules, &candidate, &stable, 100, elapsed);
            if verdict != Verdict::Undecided {
                return (index + 1, verdict);
            }
        }
        (jobs, Verdict::Undecided)
    }

    #[test]
    fn verdict_on_recorded_series() {
        use OutcomeClass::{Crash, Neutral, Ok, Own, Upstream};
        let every =
            |step: u64, index: u64, class| if index % step == step - 1 { class } else { Ok };
        let second = Duration::from_secs(1);
        let day_of_three = DAY / 3;
        let (short, long) = (
            Rules::default(),
            Rules {
                watch_jobs: 200,
                ..Rules::default()
            },
        );
        let healthy = judge_series(&short, 1000, second, |_| (Ok, Ok));
        assert_eq!(healthy, (20, Verdict::Done));
        // 7 % of failures, and 5 %.
        let slightly_worse = |index| (every(14, index, Own), every(20, index, Own));
        assert_eq!(
            judge_series(&short, 1000, second, slightly_worse).1,
            Verdict::Done
        );
        assert_eq!(
            judge_series(&long, 1000, second, slightly_worse),
            (200, Verdict::Done)
        );
        let outage = |index| {
            if index > 30 {
                (Upstream, Upstream)
            } else {
                (Ok, Ok)
            }
        };
        assert_eq!(
            judge_series(&long, 1000, second, outage),
            (200, Verdict::Done)
        );
        let wrong_credential = |_| (Upstream, Ok);
        let (jobs, verdict) = judge_series(&long, 1000, second, wrong_credential);
        let Verdict::RollBack(Reason::UpstreamFailures { .. }) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(jobs, MIN_JOBS);
        let bad_prompts = |_| (Neutral, Neutral);
        assert_eq!(
            judge_series(&short, 50, second, bad_prompts).1,
            Verdict::Undecided
        );
        let few = judge_series(&short, 30, day_of_three, |_| (Own, Ok));
        assert_eq!(few, (1, Verdict::Done));
        let patient = Rules {
            watch_time: 7 * DAY,
            ..short
        };
        let crashing = judge_series(&patient, 30, day_of_three, |index| {
            (every(2, index, Crash), Ok)
        });
        assert!(
            matches!(crashing, (4, Verdict::RollBack(Reason::Crashes { .. }))),
            "{crashing:?}"
        );
    }
}
