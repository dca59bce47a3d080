//! The memory that a process holds for its users: one budget, of which each user may hold a share.
//!
//! A few large requests could otherwise fill the memory of the process: a value of JSON uses thirty times
//! its text, and an image many times its file. Each kind of data is counted where it enters memory, before
//! it does: bodies while they are read, the values parsed from them, stored chats, images, decoded pixels,
//! and the memory of guests. A [`MemoryLease`] counts it until it is dropped.
//!
//! A request takes memory only while its user holds at most as much as remains free for all others. So one
//! user alone holds at most half of the budget, four users hold a fifth each, and there is always room for
//! one more user. Requests without a key share one share. What does not fit waits a short time and is then
//! refused.
//!
//! A running job may use all that is free, because its upstream may already charge for it. It starts only
//! if it fits by the rule of requests.
//!
//! Not counted: code, the database's cache, and the buffers of connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::guard::{Guard, Refusal};

/// How long a request waits for memory.
pub const MAX_REQUEST_WAIT: Duration = Duration::from_secs(2);
/// How long a job that has a slot waits for memory.
pub const MAX_JOB_WAIT: Duration = Duration::from_secs(30);
/// Interval at which a waiting request tries again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// A user alone may hold one part in this number of the budget.
const PARTS_OF_ONE_USER: usize = 2;

/// The memory budget of a process. Clones share it. The default has no limit.
#[derive(Clone, Debug)]
pub struct ProcessMemory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    max_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Contains only holders of at least one byte.
    by_holder: HashMap<Holder, usize>,
}

/// For whom memory is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user, by id.
    User(Arc<str>),
    /// All requests without a valid key.
    Keyless,
    /// The server itself.
    Server,
}

/// The part of a [`ProcessMemory`] that one holder may use.
#[derive(Clone, Debug)]
pub struct MemoryShare {
    memory: ProcessMemory,
    holder: Holder,
}

/// Counted memory, released when dropped.
#[derive(Debug)]
pub struct MemoryLease {
    share: MemoryShare,
    bytes: usize,
    /// It belongs to a running job.
    is_job: bool,
}

/// Why memory was refused. The texts are for users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFull {
    /// One request needs more than a user may ever hold.
    #[error(
        "the request needs more than the {max_bytes} bytes of memory that one user may hold: send less at once"
    )]
    TooLarge { max_bytes: usize },
    /// The user's other requests hold too much.
    #[error(
        "your other requests hold all the memory that you may use: retry when one has finished"
    )]
    User,
    /// All users together hold too much.
    #[error("the server's memory is in use: retry later")]
    All,
}

/// An owner of bytes that holds their lease.
struct LeasedBytes<T> {
    bytes: T,
    _lease: MemoryLease,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for LeasedBytes<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Default for ProcessMemory {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl ProcessMemory {
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Budget {
            max_bytes,
            held: Mutex::default(),
        }))
    }

    /// The share of a holder.
    #[must_use]
    pub fn share(&self, holder: Holder) -> MemoryShare {
        MemoryShare {
            memory: self.clone(),
            holder,
        }
    }

    /// The share of a user, by id. `None` is the server itself.
    #[must_use]
    pub fn of(&self, user: Option<&str>) -> MemoryShare {
        self.share(user.map_or(Holder::Server, |id| Holder::User(id.into())))
    }

    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held().all
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryShare {
    /// An empty lease for a request.
    #[must_use]
    pub fn request(&self) -> MemoryLease {
        MemoryLease {
            share: self.clone(),
            bytes: 0,
            is_job: false,
        }
    }

    /// An empty lease for a job that starts.
    #[must_use]
    pub fn job(&self) -> MemoryLease {
        let mut lease = self.request();
        lease.is_job = true;
        lease
    }

    /// A lease of a request for this number of bytes. Waits for them.
    pub async fn lease(&self, bytes: usize) -> Result<MemoryLease, MemoryFull> {
        let mut lease = self.request();
        lease.grow(bytes).await?;
        Ok(lease)
    }
}

impl MemoryLease {
    /// The share that it belongs to.
    #[must_use]
    pub fn share(&self) -> &MemoryShare {
        &self.share
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds bytes by the rule of requests. Waits for them, at most [`MAX_REQUEST_WAIT`].
    pub async fn grow(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        self.grow_within(bytes, MAX_REQUEST_WAIT).await
    }

    /// Adds bytes by the rule of requests. Waits for them, at most this long.
    pub async fn grow_within(&mut self, bytes: usize, wait: Duration) -> Result<(), MemoryFull> {
        let first = self.try_grow(bytes);
        let Err(MemoryFull::User | MemoryFull::All) = first else {
            return first;
        };
        let deadline = Instant::now() + wait;
        loop {
            tokio::time::sleep(RETRY_INTERVAL).await;
            let result = self.try_grow(bytes);
            if result.is_ok() || Instant::now() >= deadline {
                return result;
            }
        }
    }

    /// Adds bytes by the rule of requests, now.
    pub fn try_grow(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        let max_bytes = self.share.memory.max_bytes();
        let max_of_one = max_bytes / PARTS_OF_ONE_USER;
        let own = self.bytes.saturating_add(bytes);
        if Guard::MemoryOfUser.applies(own > max_of_one && !self.is_job) {
            return Err(MemoryFull::TooLarge {
                max_bytes: max_of_one,
            });
        }
        let mut held = self.share.memory.held();
        let of_holder = held.of(&self.share.holder).saturating_add(bytes);
        let all = held.all.saturating_add(bytes);
        if all > Guard::MemoryOfAll.limit(max_bytes) {
            return Err(MemoryFull::All);
        }
        if Guard::MemoryOfUser.applies(of_holder > max_bytes.saturating_sub(all)) {
            // Would it fit if this were the user's only request?
            let of_others = all - of_holder;
            if own <= max_bytes.saturating_sub(of_others).saturating_sub(own) {
                return Err(MemoryFull::User);
            }
            return Err(MemoryFull::All);
        }
        held.add(&self.share.holder, bytes);
        self.bytes = own;
        Ok(())
    }

    /// Adds bytes of a running job, now: all that is free.
    pub fn grow_job(&mut self, bytes: usize) -> Result<(), Refusal> {
        let max = self.share.memory.max_bytes();
        let mut held = self.share.memory.held();
        let all = held.all.saturating_add(bytes);
        Guard::MemoryOfAll.refuse_if(all > max, || {
            format!("all users together hold more than {max} bytes of memory")
        })?;
        held.add(&self.share.holder, bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Grows or shrinks to this number of bytes of a running job.
    pub fn resize_job(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.bytes {
            return self.grow_job(bytes - self.bytes);
        }
        self.shrink_to(bytes);
        Ok(())
    }

    /// Releases all but this number of bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let released = self.bytes.saturating_sub(bytes);
        self.bytes -= released;
        let mut held = self.share.memory.held();
        held.remove(&self.share.holder, released);
    }

    /// Holds the lease until the last clone of the bytes is dropped.
    #[must_use]
    pub fn attach(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(LeasedBytes {
            bytes,
            _lease: self,
        })
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl Held {
    fn of(&self, holder: &Holder) -> usize {
        self.by_holder.get(holder).copied().unwrap_or(0)
    }

    fn add(&mut self, holder: &Holder, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.all = self.all.saturating_add(bytes);
        match self.by_holder.get_mut(holder) {
            Some(held) => *held = held.saturating_add(bytes),
            None => _ = self.by_holder.insert(holder.clone(), bytes),
        }
    }

    fn remove(&mut self, holder: &Holder, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        let Some(held) = self.by_holder.get_mut(holder) else {
            return;
        };
        *held = held.saturating_sub(bytes);
        if *held == 0 {
            self.by_holder.remove(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as a user gets, in steps of one byte.
    fn fill(memory: &ProcessMemory, user: &str) -> (MemoryLease, MemoryFull) {
        let mut lease = memory.of(Some(user)).request();
        loop {
            if let Err(full) = lease.try_grow(1) {
                return (lease, full);
            }
        }
    }

    #[test]
    fn users_hold_as_much_as_remains_free() {
        let memory = ProcessMemory::new(1200);
        let (a, a_full) = fill(&memory, "a");
        assert_eq!(
            (a.bytes(), a_full),
            (600, MemoryFull::TooLarge { max_bytes: 600 })
        );
        let (b, b_full) = fill(&memory, "b");
        assert_eq!((b.bytes(), b_full), (300, MemoryFull::All));
        let (c, _) = fill(&memory, "c");
        assert_eq!(c.bytes(), 150);
        drop((a, b, c));
        assert_eq!(memory.held_bytes(), 0);
        assert!(memory.held().by_holder.is_empty());
    }

    #[test]
    fn refusal_names_who_holds_the_memory() {
        let memory = ProcessMemory::new(100);
        let share = memory.of(Some("a"));
        let (mut first, mut second) = (share.request(), share.request());
        first.try_grow(40).unwrap();
        assert_eq!(second.try_grow(20), Err(MemoryFull::User));
        let mut other = memory.share(Holder::Keyless).request();
        other.try_grow(30).unwrap();
        assert_eq!(other.try_grow(1), Err(MemoryFull::All));
        assert_eq!(
            other.try_grow(21),
            Err(MemoryFull::TooLarge { max_bytes: 50 })
        );
    }

    #[test]
    fn running_job_uses_all_that_is_free() {
        let memory = ProcessMemory::new(100);
        let mut job = memory.of(Some("a")).job();
        job.try_grow(50).unwrap();
        assert_eq!(job.try_grow(1), Err(MemoryFull::All));
        job.grow_job(50).unwrap();
        let refusal = job.grow_job(1).unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::MemoryOfAll));
        job.shrink_to(10);
        assert_eq!(memory.held_bytes(), 10);
    }

    #[test]
    fn attached_lease_ends_with_the_last_clone() {
        let memory = ProcessMemory::new(100);
        let mut lease = memory.of(Some("a")).request();
        lease.try_grow(3).unwrap();
        let bytes = lease.attach(vec![1, 2, 3]);
        let slice = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((&slice[..], memory.held_bytes()), (&[2][..], 3));
        drop(slice);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn lease_waits_for_memory() {
        let memory = ProcessMemory::new(100);
        let share = memory.of(Some("a"));
        let first = share.lease(50).await.unwrap();
        let mut second = share.request();
        let refused = second.grow_within(1, Duration::ZERO).await;
        assert_eq!(refused, Err(MemoryFull::User));
        let (waiting, ()) = tokio::join!(second.grow(1), async { drop(first) });
        assert_eq!(waiting, Ok(()));
    }
}
