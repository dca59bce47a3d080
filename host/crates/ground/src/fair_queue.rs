//! A fair queue: which jobs run, and which wait.
//!
//! If jobs waited in order of arrival, a user who sends many would delay all others, and jobs
//! that hang on one slow upstream would block all others. So each job has a user (`None` is the server
//! itself), and may have a group, such as its upstream. When a slot becomes free, the waiting user with the
//! fewest running jobs gets it; of several, the one whose job has waited longest. A job whose group is at its
//! limit waits without a slot, and lets the user's other jobs pass.
//!
//! Users without a running job find a slot even while others occupy all that they can: the last slots are
//! reserved for them, and so are the last places to wait. Otherwise every slot can be used by one user.
//!
//! The invariant: no waiting job could run. What the queue does not do: it stops no running job, so if jobs
//! never end, more users than slots wait.

mod state;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::guard::Guard;
use crate::metrics::Load;
use state::{GroupLimits, Owner, State};

/// Time between two looks at the place of a waiting job.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// One in this number of slots, and of places to wait, is for users without a job.
const RESERVED_SHARE: usize = 4;

/// The limits of a [`FairQueue`].
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Jobs that run at the same time.
    pub slots: usize,
    /// The same of one user.
    pub slots_per_user: usize,
    /// Slots that only users without a running job get.
    pub reserved_slots: usize,
    /// Jobs that wait.
    pub waiting: usize,
    /// The same of one user.
    pub waiting_per_user: usize,
    /// What waits, in the plural, for error messages.
    pub items: &'static str,
}

/// A fair queue. Clones share it.
#[derive(Clone)]
pub struct FairQueue(Arc<Shared>);

struct Shared {
    limits: QueueLimits,
    state: Mutex<State>,
    /// Notified when no job runs.
    idle: Notify,
}

/// For whom a job waits, and with which other jobs it shares a limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueuedJob<'a> {
    /// `None` is the server itself.
    pub user: Option<&'a str>,
    pub group: Option<JobGroup<'a>>,
}

/// Jobs of all users that share a limit.
#[derive(Clone, Copy, Debug)]
pub struct JobGroup<'a> {
    pub name: &'a str,
    /// Jobs of the group that run at the same time.
    pub max_running: usize,
    /// The same of one user.
    pub max_running_per_user: usize,
    /// Of these, the ones that only users without a running job in the group get.
    pub reserved: usize,
}

/// Permission to run one job. Dropping it lets the next one run.
pub struct Permit {
    shared: Arc<Shared>,
    owner: Owner,
    lingers: AtomicBool,
}

/// The place of a job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingJob {
    /// Jobs that most likely run before it, with the running ones that it waits for.
    pub jobs_ahead: usize,
    /// One of them is over for its user, and only occupies its place.
    pub is_behind_lingering: bool,
}

/// Too many jobs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull {
    /// The limit of one user is reached, not that of all.
    pub is_of_user: bool,
    pub max_waiting: usize,
    /// What waits, in the plural.
    pub items: &'static str,
}

impl fmt::Display for QueueFull {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_waiting, items, ..
        } = self;
        if self.is_of_user {
            return write!(
                formatter,
                "{max_waiting} of your {items} are already waiting; retry when some of them have finished"
            );
        }
        write!(
            formatter,
            "the server is busy: {max_waiting} {items} are already waiting; retry later"
        )
    }
}

impl std::error::Error for QueueFull {}

/// The share of a limit that users without a job find: at least one if there are at least two.
#[must_use]
pub const fn reserved_share(limit: usize) -> usize {
    if limit < 2 {
        return 0;
    }
    let share = limit / RESERVED_SHARE;
    if share == 0 { 1 } else { share }
}

impl FairQueue {
    #[must_use]
    pub fn new(limits: QueueLimits) -> Self {
        Self(Arc::new(Shared {
            limits: QueueLimits {
                slots_per_user: Guard::UserShare.limit(limits.slots_per_user),
                ..limits
            },
            state: Mutex::default(),
            idle: Notify::new(),
        }))
    }

    #[must_use]
    pub fn limits(&self) -> &QueueLimits {
        &self.0.limits
    }

    /// Waits until the job may run. Fails if too many jobs wait already.
    ///
    /// Dropping the future leaves the queue.
    pub async fn acquire(&self, job: QueuedJob<'_>) -> Result<Permit, QueueFull> {
        match self.enter(job)? {
            Entered::Running(permit) => Ok(permit),
            Entered::Waiting(position) => Ok(position.wait().await),
        }
    }

    /// The same. Calls `report` with the job's place while it waits, whenever that changes, and with `None` when
    /// it may run after it waited.
    pub async fn acquire_reporting(
        &self,
        job: QueuedJob<'_>,
        report: impl Fn(Option<WaitingJob>),
    ) -> Result<Permit, QueueFull> {
        let position = match self.enter(job)? {
            Entered::Running(permit) => return Ok(permit),
            Entered::Waiting(position) => position,
        };
        let shared = position.shared.clone();
        let (owner, ticket) = (position.owner.clone(), position.ticket);
        let mut granted = std::pin::pin!(position.wait());
        let mut reported = None;
        loop {
            let place = shared.lock().waiting_job(&owner, ticket);
            if place.is_some() && place != reported {
                report(place);
                reported = place;
            }
            if let Ok(permit) = timeout(REPORT_INTERVAL, &mut granted).await {
                if reported.is_some() {
                    report(None);
                }
                return Ok(permit);
            }
        }
    }

    fn enter(&self, job: QueuedJob<'_>) -> Result<Entered, QueueFull> {
        let owner = Owner {
            user: job.user.map(Arc::from),
            group: job.group.map_or("", |group| group.name).into(),
        };
        let group_limits = job.group.map_or(GroupLimits::NONE, GroupLimits::new);
        let shared = self.0.clone();
        let (limits, mut state) = (&self.0.limits, self.0.lock());
        if state.may_run(&owner, group_limits, limits) {
            state.start(&owner);
            drop(state);
            return Ok(Entered::Running(Permit::new(shared, owner)));
        }
        state.check_room(&owner, limits)?;
        let (granted, grant) = oneshot::channel();
        let ticket = state.push(&owner, group_limits, granted);
        Ok(Entered::Waiting(Position {
            shared,
            owner,
            ticket,
            grant,
            may_run: false,
        }))
    }

    /// The number of running and of waiting jobs.
    #[must_use]
    pub fn load(&self) -> Load {
        let state = self.0.lock();
        Load {
            used: state.running,
            waiting: state.waiting,
        }
    }

    /// Waits until no job runs.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.0.lock().running == 0 {
                return;
            }
            idle.await;
        }
    }
}

enum Entered {
    Running(Permit),
    Waiting(Position),
}

/// A job that waits. Dropping it leaves the queue.
struct Position {
    shared: Arc<Shared>,
    owner: Owner,
    ticket: u64,
    grant: oneshot::Receiver<()>,
    /// The permit has taken over.
    may_run: bool,
}

impl Position {
    async fn wait(mut self) -> Permit {
        // The sender waits in the queue as long as this position.
        (&mut self.grant).await.ok();
        self.may_run = true;
        Permit::new(self.shared.clone(), self.owner.clone())
    }
}

impl Permit {
    fn new(shared: Arc<Shared>, owner: Owner) -> Self {
        Self {
            shared,
            owner,
            lingers: AtomicBool::new(false),
        }
    }

    /// Marks the job as over for its user: it only occupies its place until the permit is dropped.
    pub fn linger(&self) {
        if !self.lingers.swap(true, Ordering::Relaxed) {
            self.shared.lock().start_lingering(&self.owner);
        }
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        if self.may_run {
            return;
        }
        let was_waiting = self.shared.lock().remove(&self.owner, self.ticket);
        if !was_waiting {
            // It got a slot that it will not use.
            self.shared.release(&self.owner);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if *self.lingers.get_mut() {
            self.shared.lock().end_lingering(&self.owner);
        }
        self.shared.release(&self.owner);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a job, and starts those that may run now.
    fn release(&self, owner: &Owner) {
        let mut state = self.lock();
        state.end(owner);
        while let Some(next) = state.next(&self.limits) {
            if let Some(waiter) = state.pop(&next) {
                state.start(&next);
                // If it left meanwhile, its position releases the slot.
                waiter.granted.send(()).ok();
            }
        }
        let is_idle = state.running == 0;
        drop(state);
        if is_idle {
            self.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
