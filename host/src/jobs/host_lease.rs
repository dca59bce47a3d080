//! This process among those that use the database: its name, and until when its jobs are certainly its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Time between two extensions of the leases.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long the engines of this process order after an extension. Shorter than a lease, so that they stop before
/// another host takes the jobs.
const MAX_ORDER_TIME: Duration = Duration::from_secs(25);

/// The hold of this process on its jobs.
#[derive(Debug)]
pub(super) struct HostLease {
    /// Unique for each start.
    pub(super) host: String,
    until: watch::Sender<Instant>,
    /// From when this process takes the jobs of others. `None` while it cannot extend its own leases.
    takes_from: Mutex<Option<Instant>>,
}

impl HostLease {
    pub(super) fn new(host: String) -> Self {
        Self {
            host,
            until: watch::Sender::new(Instant::now() + MAX_ORDER_TIME),
            takes_from: Mutex::new(Some(Instant::now())),
        }
    }

    /// Until when engines may order.
    pub(super) fn until(&self) -> watch::Receiver<Instant> {
        self.until.subscribe()
    }

    /// The leases were extended by a statement that began at this time.
    pub(super) fn extend(&self, began: Instant) {
        self.until.send_replace(began + MAX_ORDER_TIME);
        let mut takes_from = self
            .takes_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        takes_from.get_or_insert(began + HEARTBEAT);
    }

    /// The leases could not be extended. If no host reached the database, all leases have expired although all hosts
    /// run: they need time to extend them before others take their jobs.
    pub(super) fn miss_extension(&self) {
        let mut takes_from = self
            .takes_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *takes_from = None;
    }

    /// True if this process may take the jobs of others.
    pub(super) fn may_take(&self, now: Instant) -> bool {
        let takes_from = self
            .takes_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        takes_from.is_some_and(|from| now >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LEASE_SECS;

    #[test]
    fn orders_stop_before_the_lease_expires() {
        let lease = Duration::from_secs(LEASE_SECS.unsigned_abs());
        assert!(HEARTBEAT * 2 < MAX_ORDER_TIME && MAX_ORDER_TIME < lease);
    }

    #[test]
    fn jobs_are_not_taken_until_other_hosts_could_extend_their_leases() {
        let lease = HostLease::new("a".to_owned());
        let start = Instant::now();
        assert!(lease.may_take(start));
        lease.miss_extension();
        assert!(!lease.may_take(start + HEARTBEAT * 2));
        lease.extend(start);
        lease.extend(start + HEARTBEAT / 2);
        assert!(!lease.may_take(start + HEARTBEAT / 2));
        assert!(lease.may_take(start + HEARTBEAT));
    }
}
