//! The host memory of a call: bodies and images that the host holds for the guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{LimitExceeded, Limits};
use pinhole_ground::guard::Guard;

/// Limits the bytes that a call holds at one time, and those that it receives from start to end.
///
/// Clones share one budget.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget {
    held: Arc<AtomicUsize>,
    /// Never decreases: released bytes count too.
    received: Arc<AtomicUsize>,
    max_held: usize,
    max_received: usize,
}

/// Bytes of a [`MemoryBudget`], released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            held: Arc::default(),
            received: Arc::default(),
            max_held: limits.held_bytes,
            max_received: limits.taken_bytes,
        }
    }

    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation, LimitExceeded> {
        let mut reservation = Reservation {
            budget: self.clone(),
            bytes: 0,
        };
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

impl Reservation {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        let MemoryBudget {
            max_held,
            max_received,
            ..
        } = self.budget;
        let held = self.budget.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        let received = self.budget.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        Guard::HeldBytes.refuse_if(held > max_held, || {
            format!("it holds more than {max_held} bytes of responses and images")
        })?;
        Guard::TakenBytes.refuse_if(received > max_received, || {
            format!("it received more than {max_received} bytes of responses and images")
        })?;
        Ok(())
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

    #[test]
    fn memory_budget_releases_dropped_reservations_but_counts_all_received_bytes() {
        let check = |reserved: Result<Reservation, LimitExceeded>, guard, gist| {
            let LimitExceeded(refusal) = reserved.unwrap_err();
            assert_eq!(refusal.guard, Some(guard));
            assert!(refusal.reason.contains(gist), "{refusal}");
        };
        let budget = MemoryBudget::new(&Limits {
            held_bytes: 100,
            taken_bytes: 250,
            ..Limits::job(Duration::ZERO)
        });
        let mut first = budget.reserve(30).unwrap();
        first.grow(50).unwrap();
        check(budget.reserve(30), Guard::HeldBytes, "more than 100 bytes");
        drop(first);
        assert!(budget.reserve(100).is_ok());
        // Nothing is held at this point, but 210 bytes were received.
        check(
            budget.reserve(100),
            Guard::TakenBytes,
            "more than 250 bytes",
        );
    }
}
