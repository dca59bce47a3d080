//! The host memory of a call: bodies and images that the host holds for the guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{LimitExceeded, Limits};
use pinhole_ground::guard::Guard;
use pinhole_ground::memory::{MemoryLease, MemoryShare};

/// Limits the bytes that a call holds at one time, and those that it receives from start to end, and counts
/// what it holds in its user's share of the process's memory.
///
/// Clones share one budget.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget {
    held: Arc<AtomicUsize>,
    /// Never decreases: released bytes count too.
    received: Arc<AtomicUsize>,
    max_held: usize,
    max_received: usize,
    share: MemoryShare,
}

/// Bytes of a [`MemoryBudget`], released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
    lease: MemoryLease,
}

impl MemoryBudget {
    pub(crate) fn new(limits: &Limits, share: MemoryShare) -> Self {
        Self {
            held: Arc::default(),
            received: Arc::default(),
            max_held: limits.held_bytes,
            max_received: limits.taken_bytes,
            share,
        }
    }

    /// An empty lease, for bytes that no reservation counts.
    pub(crate) fn lease(&self) -> MemoryLease {
        self.share.job()
    }

    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation, LimitExceeded> {
        let mut reservation = self.empty_reservation();
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    pub(crate) fn empty_reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            bytes: 0,
            lease: self.lease(),
        }
    }
}

impl Reservation {
    /// Holds bytes that were received.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.add(bytes, bytes)
    }

    /// Holds bytes that were made of received ones.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.add(bytes, 0)
    }

    fn add(&mut self, held_bytes: usize, received_bytes: usize) -> Result<(), LimitExceeded> {
        let MemoryBudget {
            max_held,
            max_received,
            held,
            received,
            ..
        } = &self.budget;
        let held = held.fetch_add(held_bytes, Ordering::Relaxed) + held_bytes;
        self.bytes += held_bytes;
        let received = received.fetch_add(received_bytes, Ordering::Relaxed) + received_bytes;
        Guard::HeldBytes.refuse_if(held > *max_held, || {
            format!("it holds more than {max_held} bytes of responses and images")
        })?;
        Guard::TakenBytes.refuse_if(received > *max_received, || {
            format!("it received more than {max_received} bytes of responses and images")
        })?;
        self.lease.grow_job(held_bytes)?;
        Ok(())
    }

    /// Releases all but this number of bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let released = self.bytes.saturating_sub(bytes);
        self.bytes -= released;
        self.budget.held.fetch_sub(released, Ordering::Relaxed);
        self.lease.shrink_to(bytes);
    }

    /// Ends the reservation in its call. The lease still counts the bytes for the process.
    pub(crate) fn into_lease(mut self) -> MemoryLease {
        let empty = self.budget.lease();
        std::mem::replace(&mut self.lease, empty)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use pinhole_ground::memory::{Holder, ProcessMemory};

    #[test]
    fn memory_budget_releases_dropped_reservations_but_counts_all_received_bytes() {
        let check = |reserved: Result<Reservation, LimitExceeded>, guard, gist| {
            let LimitExceeded(refusal) = reserved.unwrap_err();
            assert_eq!(refusal.guard, Some(guard));
            assert!(refusal.reason.contains(gist), "{refusal}");
        };
        let limits = Limits {
            held_bytes: 100,
            taken_bytes: 250,
            ..Limits::job(Duration::ZERO)
        };
        let process = ProcessMemory::new(1000);
        let budget = MemoryBudget::new(&limits, process.share(Holder::Server));
        let mut first = budget.reserve(30).unwrap();
        first.grow(50).unwrap();
        check(budget.reserve(30), Guard::HeldBytes, "more than 100 bytes");
        drop(first);
        assert!(budget.reserve(100).is_ok());
        assert_eq!(process.held_bytes(), 0);
        // Nothing is held at this point, but 210 bytes were received.
        check(
            budget.reserve(100),
            Guard::TakenBytes,
            "more than 250 bytes",
        );
    }
}
