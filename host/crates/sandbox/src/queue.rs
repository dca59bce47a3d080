//! Which jobs run: as many as there are slots, and of one user no more than a share of them.
//!
//! Those beyond wait in the order in which they came, and only so many of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use pinhole_ground::guard::Guard;
use pinhole_ground::metrics::Load;

/// Jobs that may wait for each slot: of one user for each of their share, of all for each there is.
const MAX_WAITING_PER_SLOT: usize = 4;

/// All slots of a process.
pub(super) struct Slots {
    all: Line,
    share: usize,
    /// By id; the one without is the server itself. Only those that have a job.
    users: Mutex<HashMap<Option<String>, Weak<Line>>>,
}

/// Slots, and those who wait for one of them.
struct Line {
    slots: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
}

/// The right to run one job; given back when dropped.
pub(super) struct Slot {
    _all: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    /// Kept, so that the user's next job finds the same share.
    _user: Arc<Line>,
}

/// Why a job may not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowded {
    /// So many of this user's jobs wait already.
    User(usize),
    /// So many jobs wait already.
    All(usize),
}

impl Slots {
    pub(super) fn new(count: u32, share: u32) -> Self {
        Self {
            all: Line::new(count as usize),
            share: share as usize,
            users: Mutex::default(),
        }
    }

    /// Waits for a slot. A user beyond their share waits for their own jobs and takes nobody's place.
    pub(super) async fn acquire(&self, user: Option<&str>) -> Result<Slot, Crowded> {
        let line = self.user(user);
        let share = line.wait().await.map_err(Crowded::User)?;
        let all = self.all.wait().await.map_err(Crowded::All)?;
        Ok(Slot {
            _all: all,
            _share: share,
            _user: line,
        })
    }

    /// How many are taken, and how many jobs wait for one.
    pub(super) fn load(&self) -> Load {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |line: &Line| line.waiting.load(Ordering::Relaxed);
        let lines = users.values().filter_map(Weak::upgrade);
        Load {
            used: self
                .all
                .count
                .saturating_sub(self.all.slots.available_permits()),
            waiting: waiting(&self.all) + lines.map(|line| waiting(&line)).sum::<usize>(),
        }
    }

    /// Waits until all are free.
    pub(super) async fn all_free(&self) {
        let count = u32::try_from(self.all.count).unwrap_or(u32::MAX);
        self.all.slots.acquire_many(count).await.ok();
    }

    fn user(&self, user: Option<&str>) -> Arc<Line> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let user = user.map(str::to_owned);
        if let Some(line) = users.get(&user).and_then(Weak::upgrade) {
            return line;
        }
        users.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Line::new(Guard::UserShare.limit(self.share)));
        users.insert(user, Arc::downgrade(&line));
        line
    }
}

impl Line {
    fn new(count: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            count,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits in the order of coming. The error is how many may wait.
    async fn wait(&self) -> Result<OwnedSemaphorePermit, usize> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        let most = self.count.saturating_mul(MAX_WAITING_PER_SLOT);
        let place = Place::take(&self.waiting);
        if place.before >= Guard::Queue.limit(most) {
            return Err(most);
        }
        // It is never closed.
        self.slots.clone().acquire_owned().await.map_err(|_| most)
    }
}

/// A place among those who wait; given up when dropped.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        Self { waiting, before }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    type Waiting<'a> = BoxFuture<'a, Result<Slot, Crowded>>;

    /// One that cannot have a slot yet.
    fn waiting<'a>(slots: &'a Slots, user: &'a str) -> Waiting<'a> {
        let mut waiting = slots.acquire(Some(user)).boxed();
        assert!((&mut waiting).now_or_never().is_none(), "{user} has a slot");
        waiting
    }

    fn taken(slots: &Slots, user: &str) -> Slot {
        let slot = slots.acquire(Some(user)).now_or_never();
        match slot.expect("a slot is free") {
            Ok(slot) => slot,
            Err(crowded) => panic!("{crowded:?}"),
        }
    }

    #[test]
    fn nobody_takes_more_than_their_share() {
        let slots = Slots::new(4, 2);
        let first = taken(&slots, "a");
        let _second = taken(&slots, "a");
        let mut third = waiting(&slots, "a");
        let (_theirs, _too) = (taken(&slots, "b"), taken(&slots, "b"));
        drop(first);
        assert!((&mut third).now_or_never().is_some());
    }

    #[test]
    fn those_who_wait_get_a_slot_in_the_order_in_which_they_came() {
        let slots = Slots::new(1, 1);
        let first = taken(&slots, "a");
        let mut b = waiting(&slots, "b");
        let mut c = waiting(&slots, "c");
        drop(first);
        assert!((&mut c).now_or_never().is_none());
        let second = (&mut b).now_or_never().unwrap();
        drop(second);
        assert!((&mut c).now_or_never().is_some());
    }

    #[test]
    fn only_so_many_wait_and_who_gives_up_makes_room() {
        let slots = Slots::new(2, 1);
        let _slot = taken(&slots, "a");
        let mut line: Vec<_> = (0..4).map(|_| waiting(&slots, "a")).collect();
        let refused = slots.acquire(Some("a")).now_or_never().unwrap();
        assert_eq!(refused.err(), Some(Crowded::User(4)));
        line.pop();
        line.push(waiting(&slots, "a"));
        // Another user has a slot, and when all are taken eight wait for them.
        let _theirs = taken(&slots, "b");
        let users = ["c", "d", "e", "f", "g", "h", "i", "j"];
        line.extend(users.map(|user| waiting(&slots, user)));
        let refused = slots.acquire(Some("k")).now_or_never().unwrap();
        assert_eq!(refused.err(), Some(Crowded::All(8)));
    }

    #[test]
    fn users_without_a_job_are_forgotten() {
        let slots = Slots::new(2, 1);
        for n in 0..100 {
            drop(taken(&slots, &n.to_string()));
        }
        assert_eq!(slots.users.lock().unwrap().len(), 1);
    }
}
