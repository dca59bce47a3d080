//! How many jobs and queries of a binding run at the same time, so that jobs that hang on one upstream leave
//! slots to other engines.

use pinhole_ground::fair_queue::{JobGroup, reserved_share};
use pinhole_sandbox::Engines;

/// Queries of one binding (its models, verification) that run at the same time.
const MAX_QUERIES: usize = 2;

/// The limits of one binding's calls.
#[derive(Clone, Debug)]
pub(in crate::jobs) struct Concurrency {
    jobs: String,
    queries: String,
    max_jobs: usize,
    max_jobs_per_user: usize,
    reserved_jobs: usize,
    is_set: bool,
}

impl Concurrency {
    /// The limits of a binding for which an operator may have set a number. By default, a binding that is one
    /// of several leaves a share of the slots to the others, and one user a share of the binding to other users.
    pub(super) fn new(
        binding: &str,
        number: Option<u32>,
        has_others: bool,
        engines: &Engines,
    ) -> Self {
        let share = |limit: usize| {
            if has_others {
                return limit.saturating_sub(reserved_share(limit));
            }
            limit
        };
        let default = share(engines.slots());
        let (max_jobs, reserved_jobs) = match number {
            // The operator knows how many jobs the upstream can do: one user may use them all.
            Some(number) => (number as usize, 0),
            None => (default, reserved_share(default)),
        };
        Self {
            jobs: binding.to_owned(),
            queries: format!("{binding}: queries"),
            max_jobs,
            max_jobs_per_user: share(engines.slots_per_user()),
            reserved_jobs,
            is_set: number.is_some(),
        }
    }

    /// Whether a cancelled job keeps its place until its upstream has responded: who sets the number of jobs says
    /// how many the upstream can do, and the upstream may work on.
    pub(in crate::jobs) fn keeps_place(&self) -> bool {
        self.is_set
    }

    /// The group of the binding's jobs.
    pub(in crate::jobs) fn jobs(&self) -> JobGroup<'_> {
        JobGroup {
            name: &self.jobs,
            max_running: self.max_jobs,
            max_running_per_user: self.max_jobs_per_user,
            reserved: self.reserved_jobs,
        }
    }

    /// The group of the binding's queries, which never wait for its jobs.
    pub(in crate::jobs) fn queries(&self) -> JobGroup<'_> {
        JobGroup {
            name: &self.queries,
            max_running: MAX_QUERIES,
            max_running_per_user: MAX_QUERIES,
            reserved: 0,
        }
    }
}
