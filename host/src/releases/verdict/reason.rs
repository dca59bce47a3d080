//! Why a version was rolled back, for an operator.

use std::fmt::{self, Display, Formatter};

use super::Counts;

/// Why a version was rolled back. `candidate` are its jobs, `stable` those of the previous version.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    Crashes { candidate: Counts, stable: Counts },
    OwnFailures { candidate: Counts, stable: Counts },
    UpstreamFailures { candidate: Counts, stable: Counts },
    OwnTime { candidate: Counts, stable: Counts },
}

impl Display for Reason {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (candidate, stable) = match self {
            Self::Crashes { candidate, stable }
            | Self::OwnFailures { candidate, stable }
            | Self::UpstreamFailures { candidate, stable }
            | Self::OwnTime { candidate, stable } => (candidate, stable),
        };
        let (what, count, stable_count) = match self {
            Self::Crashes { .. } => ("crashed", candidate.crashes, stable.crashes),
            Self::OwnFailures { .. } => (
                "failed by the engine's own fault",
                candidate.own_failures,
                stable.own_failures,
            ),
            Self::UpstreamFailures { .. } => (
                "failed at the upstream",
                candidate.upstream_failures,
                stable.upstream_failures,
            ),
            Self::OwnTime { .. } => {
                return write!(
                    formatter,
                    "a job takes {} ms of CPU time on average ({} jobs); it took {} ms on the previous version ({} jobs)",
                    candidate.mean_own_time().as_millis(),
                    candidate.jobs,
                    stable.mean_own_time().as_millis(),
                    stable.jobs
                );
            }
        };
        write!(formatter, "{count} of {} jobs {what}; ", candidate.jobs)?;
        match stable_count {
            _ if stable.jobs == 0 => {
                formatter.write_str("the previous version had no jobs to compare with")
            }
            0 => write!(
                formatter,
                "none of {} on the previous version did",
                stable.jobs
            ),
            _ => write!(
                formatter,
                "{stable_count} of {} on the previous version did",
                stable.jobs
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failures(jobs: u64, crashes: u64, own_failures: u64, upstream_failures: u64) -> Counts {
        Counts {
            jobs,
            crashes,
            own_failures,
            upstream_failures,
            own_time: Duration::ZERO,
        }
    }

    fn timed(jobs: u32, mean_ms: u64) -> Counts {
        Counts {
            own_time: Duration::from_millis(mean_ms) * jobs,
            ..failures(u64::from(jobs), 0, 0, 0)
        }
    }

    #[test]
    fn reason_states_the_figures() {
        let stable = failures(811, 0, 8, 3);
        for (reason, expected) in [
            (
                Reason::Crashes {
                    candidate: failures(14, 2, 2, 0),
                    stable,
                },
                "2 of 14 jobs crashed; none of 811 on the previous version did",
            ),
            (
                Reason::OwnFailures {
                    candidate: failures(20, 0, 7, 0),
                    stable,
                },
                "7 of 20 jobs failed by the engine's own fault; 8 of 811 on the previous version did",
            ),
            (
                Reason::OwnFailures {
                    candidate: failures(20, 0, 3, 0),
                    stable: Counts::default(),
                },
                "3 of 20 jobs failed by the engine's own fault; the previous version had no jobs to compare with",
            ),
            (
                Reason::UpstreamFailures {
                    candidate: failures(25, 0, 0, 12),
                    stable,
                },
                "12 of 25 jobs failed at the upstream; 3 of 811 on the previous version did",
            ),
            (
                Reason::OwnTime {
                    candidate: timed(20, 130),
                    stable: timed(811, 40),
                },
                "a job takes 130 ms of CPU time on average (20 jobs); it took 40 ms on the previous version (811 jobs)",
            ),
        ] {
            assert_eq!(reason.to_string(), expected);
        }
    }
}
