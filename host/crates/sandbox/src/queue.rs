//! The queue for engine slots: which jobs run, and which wait.
//!
//! As many jobs run as there are slots, and one user's jobs use at most a share of them. Further jobs
//! wait in order of arrival. A user whose share is in use waits for a slot of the share first, so the
//! jobs of others are not delayed. The number of waiting jobs is limited.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use pinhole_ground::guard::Guard;
use pinhole_ground::metrics::Load;

/// Waiting jobs for each slot, both of one user's share and of all slots.
pub const MAX_WAITING_PER_SLOT: usize = 4;

/// All slots of a process.
pub(super) struct Slots {
    all: Queue,
    share: usize,
    /// By user id; `None` is the server itself. Contains only users with a job.
    users: Mutex<HashMap<Option<String>, Weak<Queue>>>,
}

/// A number of slots, and the jobs that wait for one of them.
struct Queue {
    slots: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
}

/// Permission to run one job, released when dropped.
pub(super) struct Slot {
    _all: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    /// Makes the user's next job use the same share.
    _user: Arc<Queue>,
}

/// Too many jobs wait. The number is the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueFull {
    User(usize),
    All(usize),
}

impl Slots {
    pub(super) fn new(count: u32, share: u32) -> Self {
        Self {
            all: Queue::new(count as usize),
            share: share as usize,
            users: Mutex::default(),
        }
    }

    /// Waits for a slot of the user's share, then for one of all slots.
    pub(super) async fn acquire(&self, user: Option<&str>) -> Result<Slot, QueueFull> {
        let user_queue = self.user_queue(user);
        let share = user_queue.wait().await.map_err(QueueFull::User)?;
        let all = self.all.wait().await.map_err(QueueFull::All)?;
        Ok(Slot {
            _all: all,
            _share: share,
            _user: user_queue,
        })
    }

    pub(super) fn load(&self) -> Load {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let users_waiting: usize = users
            .values()
            .filter_map(Weak::upgrade)
            .map(|queue| queue.waiting())
            .sum();
        Load {
            used: self.all.used(),
            waiting: self.all.waiting() + users_waiting,
        }
    }

    /// Waits until all slots are free.
    pub(super) async fn all_free(&self) {
        let count = u32::try_from(self.all.count).unwrap_or(u32::MAX);
        self.all.slots.acquire_many(count).await.ok();
    }

    fn user_queue(&self, user: Option<&str>) -> Arc<Queue> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let user = user.map(str::to_owned);
        if let Some(queue) = users.get(&user).and_then(Weak::upgrade) {
            return queue;
        }
        users.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Queue::new(Guard::UserShare.limit(self.share)));
        users.insert(user, Arc::downgrade(&queue));
        queue
    }
}

impl Queue {
    fn new(count: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            count,
            waiting: AtomicUsize::new(0),
        }
    }

    fn used(&self) -> usize {
        self.count.saturating_sub(self.slots.available_permits())
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits in order of arrival. The error is the number of jobs that can wait.
    async fn wait(&self) -> Result<OwnedSemaphorePermit, usize> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        let max_waiting = self.count.saturating_mul(MAX_WAITING_PER_SLOT);
        let position = Position::enter(&self.waiting);
        if Guard::Queue.applies(position.ahead >= max_waiting) {
            return Err(max_waiting);
        }
        // The semaphore is never closed.
        self.slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| max_waiting)
    }
}

/// A position in a queue, left when dropped.
struct Position<'a> {
    waiting: &'a AtomicUsize,
    /// Jobs ahead of this one.
    ahead: usize,
}

impl<'a> Position<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Self {
        let ahead = waiting.fetch_add(1, Ordering::Relaxed);
        Self { waiting, ahead }
    }
}

impl Drop for Position<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    type Waiting<'a> = BoxFuture<'a, Result<Slot, QueueFull>>;

    fn start_waiting<'a>(slots: &'a Slots, user: &'a str) -> Waiting<'a> {
        let mut waiting = slots.acquire(Some(user)).boxed();
        assert!((&mut waiting).now_or_never().is_none(), "{user} has a slot");
        waiting
    }

    fn acquire_now(slots: &Slots, user: &str) -> Slot {
        match slots.acquire(Some(user)).now_or_never() {
            Some(Ok(slot)) => slot,
            Some(Err(full)) => panic!("{full:?}"),
            None => panic!("no slot is free"),
        }
    }

    #[test]
    fn slots_limit_a_user_to_their_share() {
        let slots = Slots::new(4, 2);
        let first = acquire_now(&slots, "a");
        let _second = acquire_now(&slots, "a");
        let mut third = start_waiting(&slots, "a");
        let _of_b = (acquire_now(&slots, "b"), acquire_now(&slots, "b"));
        drop(first);
        assert!((&mut third).now_or_never().is_some());
    }

    #[test]
    fn slots_serve_waiting_jobs_in_order_of_arrival() {
        let slots = Slots::new(1, 1);
        let first = acquire_now(&slots, "a");
        let mut b = start_waiting(&slots, "b");
        let mut c = start_waiting(&slots, "c");
        drop(first);
        assert!((&mut c).now_or_never().is_none());
        let second = (&mut b).now_or_never().unwrap();
        drop(second);
        assert!((&mut c).now_or_never().is_some());
    }

    #[test]
    fn slots_limit_waiting_jobs_and_forget_abandoned_ones() {
        let slots = Slots::new(2, 1);
        let _slot = acquire_now(&slots, "a");
        let mut queue: Vec<_> = (0..4).map(|_| start_waiting(&slots, "a")).collect();
        let refusal = |user| slots.acquire(Some(user)).now_or_never().unwrap().err();
        assert_eq!(refusal("a"), Some(QueueFull::User(4)));
        queue.pop();
        queue.push(start_waiting(&slots, "a"));
        // Another user gets the second slot. After that, eight jobs wait for the two slots.
        let _of_b = acquire_now(&slots, "b");
        let users = ["c", "d", "e", "f", "g", "h", "i", "j"];
        queue.extend(users.map(|user| start_waiting(&slots, user)));
        assert_eq!(refusal("k"), Some(QueueFull::All(8)));
    }

    #[test]
    fn slots_forget_users_without_a_job() {
        let slots = Slots::new(2, 1);
        for n in 0..100 {
            drop(acquire_now(&slots, &n.to_string()));
        }
        assert_eq!(slots.users.lock().unwrap().len(), 1);
    }
}
