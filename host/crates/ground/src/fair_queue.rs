//! A fair queue: which jobs run, and which wait.
//!
//! If jobs waited in order of arrival, a user who sends many would delay everybody behind them, and jobs
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

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::guard::Guard;
use crate::metrics::Load;

/// The share of slots, and of places to wait, that users without a job find: one in so many.
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

/// Jobs that share a limit, whoever sends them.
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

/// Whose job it is, and its group.
#[derive(Clone, Debug)]
struct Owner {
    user: Option<Arc<str>>,
    /// Empty for a job without a group.
    group: Arc<str>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: usize,
    next_ticket: u64,
    /// Only users with a job.
    users: HashMap<Option<Arc<str>>, UserJobs>,
    /// Running jobs by group. Only groups with one.
    groups: HashMap<Arc<str>, usize>,
}

#[derive(Default)]
struct UserJobs {
    running: usize,
    waiting: usize,
    /// Only groups in which the user has a job.
    groups: HashMap<Arc<str>, GroupJobs>,
}

/// The jobs of one user in one group.
#[derive(Default)]
struct GroupJobs {
    running: usize,
    /// In order of arrival.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    /// Its position in the order of all arrivals.
    ticket: u64,
    limits: GroupLimits,
    granted: oneshot::Sender<()>,
}

#[derive(Clone, Copy)]
struct GroupLimits {
    running: usize,
    running_per_user: usize,
    reserved: usize,
}

impl GroupLimits {
    const NONE: Self = Self {
        running: usize::MAX,
        running_per_user: usize::MAX,
        reserved: 0,
    };

    fn new(group: JobGroup<'_>) -> Self {
        Self {
            running: Guard::GroupShare.limit(group.max_running),
            running_per_user: Guard::GroupShare.limit(group.max_running_per_user),
            reserved: group.reserved,
        }
    }
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
            return Ok(Entered::Running(Permit { shared, owner }));
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
        Permit {
            shared: self.shared.clone(),
            owner: self.owner.clone(),
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

/// The part of a limit that is open to a user with this number of running jobs.
fn open_to(running_of_user: usize, limit: usize, reserved: usize) -> usize {
    if Guard::UserShare.applies(running_of_user > 0) {
        return limit.saturating_sub(reserved);
    }
    limit
}

impl State {
    /// May a job run now?
    fn may_run(&self, owner: &Owner, group: GroupLimits, limits: &QueueLimits) -> bool {
        let user = self.users.get(&owner.user);
        let in_group = user.and_then(|user| user.groups.get(&owner.group));
        self.has_slot(user.map_or(0, |user| user.running), limits)
            && self.has_group_slot(&owner.group, group, in_group.map_or(0, |it| it.running))
    }

    /// Is there a slot for a user with this number of running jobs?
    fn has_slot(&self, running: usize, limits: &QueueLimits) -> bool {
        let slots = open_to(running, limits.slots, limits.reserved_slots);
        running < limits.slots_per_user && self.running < slots
    }

    /// Is the group below its limits, of which the user has this number of running jobs?
    fn has_group_slot(&self, group: &str, limits: GroupLimits, running_of_user: usize) -> bool {
        let running = self.groups.get(group).copied().unwrap_or(0);
        let max_running = open_to(running_of_user, limits.running, limits.reserved);
        running_of_user < limits.running_per_user && running < max_running
    }

    /// Fails if the user, or all users together, have too many waiting jobs.
    fn check_room(&self, owner: &Owner, limits: &QueueLimits) -> Result<(), QueueFull> {
        let waiting = self.users.get(&owner.user).map_or(0, |user| user.waiting);
        let full = |is_of_user, max_waiting| QueueFull {
            is_of_user,
            max_waiting,
            items: limits.items,
        };
        if Guard::Queue.applies(waiting >= limits.waiting_per_user) {
            return Err(full(true, limits.waiting_per_user));
        }
        let reserved = if waiting > 0 { reserved_share(limits.waiting) } else { 0 };
        let max_waiting = limits.waiting.saturating_sub(reserved);
        if Guard::Queue.applies(self.waiting >= max_waiting) {
            return Err(full(false, max_waiting));
        }
        Ok(())
    }

    /// The job that runs next. `None` if no waiting job may run.
    fn next(&self, limits: &QueueLimits) -> Option<Owner> {
        if self.waiting == 0 || self.running >= limits.slots {
            return None;
        }
        let is_fair = Guard::UserShare.applies(true);
        let mut best: Option<((usize, u64), Owner)> = None;
        for (user, jobs) in &self.users {
            if jobs.waiting == 0 || !self.has_slot(jobs.running, limits) {
                continue;
            }
            for (group, in_group) in &jobs.groups {
                let Some(first) = in_group.waiting.front() else {
                    continue;
                };
                if !self.has_group_slot(group, first.limits, in_group.running) {
                    continue;
                }
                let rank = (if is_fair { jobs.running } else { 0 }, first.ticket);
                if best.as_ref().is_none_or(|(best, _)| rank < *best) {
                    let (user, group) = (user.clone(), group.clone());
                    best = Some((rank, Owner { user, group }));
                }
            }
        }
        best.map(|(_, owner)| owner)
    }

    fn push(
        &mut self,
        owner: &Owner,
        limits: GroupLimits,
        granted: oneshot::Sender<()>,
    ) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let user = self.users.entry(owner.user.clone()).or_default();
        user.waiting += 1;
        let group = user.groups.entry(owner.group.clone()).or_default();
        group.waiting.push_back(Waiter {
            ticket,
            limits,
            granted,
        });
        ticket
    }

    /// Takes the first waiting job of a user in a group.
    fn pop(&mut self, owner: &Owner) -> Option<Waiter> {
        let user = self.users.get_mut(&owner.user)?;
        let waiter = user.groups.get_mut(&owner.group)?.waiting.pop_front()?;
        user.waiting -= 1;
        self.waiting -= 1;
        Some(waiter)
    }

    /// Removes a waiting job. Returns false if it does not wait any more.
    fn remove(&mut self, owner: &Owner, ticket: u64) -> bool {
        let Some(user) = self.users.get_mut(&owner.user) else {
            return false;
        };
        let Some(group) = user.groups.get_mut(&owner.group) else {
            return false;
        };
        let Ok(index) = group.waiting.binary_search_by_key(&ticket, |it| it.ticket) else {
            return false;
        };
        group.waiting.remove(index);
        user.waiting -= 1;
        self.waiting -= 1;
        self.forget_if_idle(owner);
        true
    }

    fn start(&mut self, owner: &Owner) {
        self.running += 1;
        *self.groups.entry(owner.group.clone()).or_default() += 1;
        let user = self.users.entry(owner.user.clone()).or_default();
        user.running += 1;
        user.groups.entry(owner.group.clone()).or_default().running += 1;
    }

    fn end(&mut self, owner: &Owner) {
        self.running -= 1;
        if let Entry::Occupied(mut running) = self.groups.entry(owner.group.clone()) {
            *running.get_mut() -= 1;
            if *running.get() == 0 {
                running.remove();
            }
        }
        if let Some(user) = self.users.get_mut(&owner.user) {
            user.running -= 1;
            if let Some(group) = user.groups.get_mut(&owner.group) {
                group.running -= 1;
            }
        }
        self.forget_if_idle(owner);
    }

    /// Forgets the user's group, and the user, if they have no job.
    fn forget_if_idle(&mut self, owner: &Owner) {
        let Entry::Occupied(mut user) = self.users.entry(owner.user.clone()) else {
            return;
        };
        if let Entry::Occupied(group) = user.get_mut().groups.entry(owner.group.clone())
            && group.get().running == 0
            && group.get().waiting.is_empty()
        {
            group.remove();
        }
        if user.get().groups.is_empty() {
            user.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    type Waiting<'a> = BoxFuture<'a, Result<Permit, QueueFull>>;

    fn queue(slots: usize) -> FairQueue {
        FairQueue::new(QueueLimits {
            slots,
            slots_per_user: slots,
            reserved_slots: reserved_share(slots),
            waiting: 8,
            waiting_per_user: 4,
            items: "jobs",
        })
    }

    fn of(user: &str) -> QueuedJob<'_> {
        QueuedJob {
            user: Some(user),
            group: None,
        }
    }

    fn start_waiting<'a>(queue: &'a FairQueue, job: QueuedJob<'a>) -> Waiting<'a> {
        let mut waiting = queue.acquire(job).boxed();
        assert!(!is_running(&mut waiting), "{job:?} has a slot");
        waiting
    }

    fn is_running(waiting: &mut Waiting<'_>) -> bool {
        waiting.now_or_never().is_some_and(|it| {
            // The permit is not released.
            std::mem::forget(it.unwrap());
            true
        })
    }

    fn acquire_now(queue: &FairQueue, job: QueuedJob<'_>) -> Permit {
        let acquired = queue.acquire(job).now_or_never();
        acquired.expect("no slot is free").unwrap()
    }

    #[test]
    fn user_alone_uses_all_slots_but_the_reserve() {
        let queue = queue(8);
        let _permits: Vec<_> = (0..6).map(|_| acquire_now(&queue, of("a"))).collect();
        let _waiting = start_waiting(&queue, of("a"));
        // Users without a running job get the reserved slots.
        let _reserved = (acquire_now(&queue, of("b")), acquire_now(&queue, of("c")));
        let _late = start_waiting(&queue, of("d"));
        let load = queue.load();
        assert_eq!((load.used, load.waiting), (8, 2));
    }

    #[test]
    fn two_greedy_users_do_not_starve_a_third() {
        let queue = queue(8);
        let mut permits: Vec<_> = (0..3).map(|_| acquire_now(&queue, of("a"))).collect();
        permits.extend((0..3).map(|_| acquire_now(&queue, of("b"))));
        let mut of_a = start_waiting(&queue, of("a"));
        let mut of_b = start_waiting(&queue, of("b"));
        let _first = acquire_now(&queue, of("c"));
        let mut second = start_waiting(&queue, of("c"));
        let mut third = start_waiting(&queue, of("c"));
        // The third user came last, and catches up with the others.
        permits.pop();
        assert!(!is_running(&mut second), "only the reserve is free");
        permits.remove(0);
        assert!(is_running(&mut second));
        // Now each user has two running jobs.
        permits.remove(0);
        assert!(is_running(&mut of_a));
        permits.pop();
        assert!(is_running(&mut of_b));
        drop(permits);
        assert!(is_running(&mut third));
    }

    #[test]
    fn users_with_equally_many_jobs_are_served_in_order_of_arrival() {
        let queue = queue(1);
        let first = acquire_now(&queue, of("a"));
        let mut b = start_waiting(&queue, of("b"));
        let mut server = start_waiting(&queue, QueuedJob::default());
        drop(first);
        let second = (&mut b).now_or_never().unwrap();
        assert!(!is_running(&mut server));
        drop(second);
        assert!(is_running(&mut server));
    }

    #[test]
    fn queue_limits_a_user_to_their_slots() {
        let queue = FairQueue::new(QueueLimits {
            slots_per_user: 2,
            ..queue(8).0.limits
        });
        let first = acquire_now(&queue, of("a"));
        let _second = acquire_now(&queue, of("a"));
        let mut third = start_waiting(&queue, of("a"));
        let _of_b = acquire_now(&queue, of("b"));
        drop(first);
        assert!(is_running(&mut third));
    }

    #[test]
    fn full_group_waits_and_lets_other_jobs_pass() {
        let queue = queue(8);
        let in_group = |user, max_running| QueuedJob {
            user: Some(user),
            group: Some(JobGroup {
                name: "slow",
                max_running,
                max_running_per_user: 2,
                reserved: 0,
            }),
        };
        let first = acquire_now(&queue, in_group("a", 3));
        let _second = acquire_now(&queue, in_group("a", 3));
        let mut third = start_waiting(&queue, in_group("a", 3));
        let _of_b = acquire_now(&queue, in_group("b", 3));
        let mut of_c = start_waiting(&queue, in_group("c", 3));
        // Jobs outside the group run, those of the same user too.
        drop(acquire_now(&queue, of("a")));
        drop(first);
        assert!(is_running(&mut of_c), "c has no job, a has one");
        assert!(!is_running(&mut third));
        // The limit of the job applies, not that of earlier ones.
        let _wider = acquire_now(&queue, in_group("d", 4));
    }

    #[test]
    fn group_reserves_places_for_users_without_a_job_in_it() {
        let queue = queue(16);
        let in_group = |user| QueuedJob {
            user: Some(user),
            group: Some(JobGroup {
                name: "slow",
                max_running: 4,
                max_running_per_user: 4,
                reserved: 1,
            }),
        };
        let first = acquire_now(&queue, in_group("a"));
        let _others = [acquire_now(&queue, in_group("a")), acquire_now(&queue, in_group("b"))];
        let mut of_a = start_waiting(&queue, in_group("a"));
        drop(acquire_now(&queue, in_group("c")));
        drop(acquire_now(&queue, in_group("c")));
        drop(first);
        assert!(is_running(&mut of_a));
    }

    #[test]
    fn queue_limits_waiting_jobs_and_forgets_abandoned_ones() {
        let queue = queue(1);
        let _permit = acquire_now(&queue, of("a"));
        let mut waiting: Vec<_> = (0..4).map(|_| start_waiting(&queue, of("a"))).collect();
        let refusal = |user| queue.acquire(of(user)).now_or_never().unwrap().err();
        let refused = refusal("a").unwrap();
        assert_eq!((refused.is_of_user, refused.max_waiting), (true, 4));
        assert!(refused.to_string().starts_with("4 of your jobs"), "{refused}");
        waiting.pop();
        waiting.push(start_waiting(&queue, of("a")));
        waiting.extend([start_waiting(&queue, of("b")), start_waiting(&queue, of("b"))]);
        // The last places are for users who have none.
        let refused = refusal("b").unwrap();
        assert_eq!((refused.is_of_user, refused.max_waiting), (false, 6));
        waiting.extend([start_waiting(&queue, of("c")), start_waiting(&queue, of("d"))]);
        let refused = refusal("e").unwrap();
        assert_eq!((refused.is_of_user, refused.max_waiting), (false, 8));
    }

    #[test]
    fn slot_of_a_job_that_left_goes_to_the_next() {
        let queue = queue(1);
        let first = acquire_now(&queue, of("a"));
        let b = start_waiting(&queue, of("b"));
        let mut c = start_waiting(&queue, of("c"));
        drop(first);
        assert!(!is_running(&mut c));
        drop(b);
        assert!(is_running(&mut c));
    }

    #[test]
    fn queue_forgets_users_and_groups_without_a_job() {
        let queue = queue(2);
        for n in 0..100 {
            let name = n.to_string();
            let group = JobGroup {
                name: &name,
                max_running: 1,
                max_running_per_user: 1,
                reserved: 0,
            };
            let job = QueuedJob {
                user: Some(&name),
                group: Some(group),
            };
            let permit = acquire_now(&queue, job);
            drop(start_waiting(&queue, job));
            drop(permit);
        }
        let state = queue.0.lock();
        assert!(state.users.is_empty() && state.groups.is_empty());
        assert_eq!((state.running, state.waiting), (0, 0));
    }

    #[test]
    fn idle_waits_for_the_last_job() {
        let queue = queue(2);
        assert!(queue.idle().now_or_never().is_some());
        let permit = acquire_now(&queue, of("a"));
        let mut idle = queue.idle().boxed();
        assert!((&mut idle).now_or_never().is_none());
        drop(permit);
        assert!(idle.now_or_never().is_some());
    }

    #[test]
    fn reserved_share_is_a_quarter_but_at_least_one_of_two() {
        let shares = [0, 1, 2, 3, 4, 8, 1000].map(reserved_share);
        assert_eq!(shares, [0, 0, 1, 1, 1, 2, 250]);
    }
}
