//! The running and waiting jobs of a fair queue, and the choice of the next one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{JobGroup, QueueFull, QueueLimits, WaitingJob, reserved_share};
use crate::guard::Guard;

/// While more jobs wait, their places are not determined, because that costs time for each waiting job.
const MAX_RANKED_JOBS: usize = 1000;

/// Whose job it is, and its group.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) user: Option<Arc<str>>,
    /// Empty for a job without a group.
    pub(super) group: Arc<str>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) running: usize,
    pub(super) waiting: usize,
    next_ticket: u64,
    /// Only users with a job.
    users: HashMap<Option<Arc<str>>, UserJobs>,
    /// Running jobs by group. Only groups with one.
    groups: HashMap<Arc<str>, usize>,
    /// Running jobs that only occupy their place, by group. Only groups with one.
    lingering: HashMap<Arc<str>, usize>,
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

pub(super) struct Waiter {
    /// Its position in the order of all arrivals.
    ticket: u64,
    limits: GroupLimits,
    pub(super) granted: oneshot::Sender<()>,
}

#[derive(Clone, Copy)]
pub(super) struct GroupLimits {
    running: usize,
    running_per_user: usize,
    reserved: usize,
}

impl GroupLimits {
    pub(super) const NONE: Self = Self {
        running: usize::MAX,
        running_per_user: usize::MAX,
        reserved: 0,
    };

    pub(super) fn new(group: JobGroup<'_>) -> Self {
        Self {
            running: Guard::GroupShare.limit(group.max_running),
            running_per_user: Guard::GroupShare.limit(group.max_running_per_user),
            reserved: group.reserved,
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
    pub(super) fn may_run(&self, owner: &Owner, group: GroupLimits, limits: &QueueLimits) -> bool {
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
    pub(super) fn check_room(&self, owner: &Owner, limits: &QueueLimits) -> Result<(), QueueFull> {
        let waiting = self.users.get(&owner.user).map_or(0, |user| user.waiting);
        let full = |is_of_user, max_waiting| QueueFull {
            is_of_user,
            max_waiting,
            items: limits.items,
        };
        if Guard::Queue.applies(waiting >= limits.waiting_per_user) {
            return Err(full(true, limits.waiting_per_user));
        }
        let reserved = if waiting > 0 {
            reserved_share(limits.waiting)
        } else {
            0
        };
        let max_waiting = limits.waiting.saturating_sub(reserved);
        if Guard::Queue.applies(self.waiting >= max_waiting) {
            return Err(full(false, max_waiting));
        }
        Ok(())
    }

    /// The job that runs next. `None` if no waiting job may run.
    pub(super) fn next(&self, limits: &QueueLimits) -> Option<Owner> {
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

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    pub(super) fn push(
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

    /// The place of a job that waits; `None` if it does not, or if too many wait.
    pub(super) fn waiting_job(&self, owner: &Owner, ticket: u64) -> Option<WaitingJob> {
        if self.waiting > MAX_RANKED_JOBS {
            return None;
        }
        let waiting = &self
            .users
            .get(&owner.user)?
            .groups
            .get(&owner.group)?
            .waiting;
        let index = waiting.binary_search_by_key(&ticket, |it| it.ticket).ok()?;
        let limits = waiting.get(index)?.limits;
        let running = self.groups.get(&owner.group).copied().unwrap_or(0);
        let is_group_full = running >= limits.running;
        let earlier = |(group, jobs): (&Arc<str>, &GroupJobs)| {
            if is_group_full && *group != owner.group {
                return 0;
            }
            jobs.waiting.partition_point(|it| it.ticket < ticket)
        };
        let groups = self.users.values().flat_map(|user| &user.groups);
        let ahead_of_it: usize = groups.map(earlier).sum();
        Some(WaitingJob {
            jobs_ahead: ahead_of_it + if is_group_full { running } else { 0 },
            is_behind_lingering: is_group_full && self.lingering.contains_key(&owner.group),
        })
    }

    pub(super) fn start_lingering(&mut self, owner: &Owner) {
        *self.lingering.entry(owner.group.clone()).or_default() += 1;
    }

    pub(super) fn end_lingering(&mut self, owner: &Owner) {
        if let Entry::Occupied(mut lingering) = self.lingering.entry(owner.group.clone()) {
            *lingering.get_mut() -= 1;
            if *lingering.get() == 0 {
                lingering.remove();
            }
        }
    }

    /// Takes the first waiting job of a user in a group.
    pub(super) fn pop(&mut self, owner: &Owner) -> Option<Waiter> {
        let user = self.users.get_mut(&owner.user)?;
        let waiter = user.groups.get_mut(&owner.group)?.waiting.pop_front()?;
        user.waiting -= 1;
        self.waiting -= 1;
        Some(waiter)
    }

    /// Removes a waiting job. Returns false if it does not wait any more.
    pub(super) fn remove(&mut self, owner: &Owner, ticket: u64) -> bool {
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

    pub(super) fn start(&mut self, owner: &Owner) {
        self.running += 1;
        *self.groups.entry(owner.group.clone()).or_default() += 1;
        let user = self.users.entry(owner.user.clone()).or_default();
        user.running += 1;
        user.groups.entry(owner.group.clone()).or_default().running += 1;
    }

    pub(super) fn end(&mut self, owner: &Owner) {
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
