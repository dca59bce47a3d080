//! This process among those that use the database: its name, and until when its jobs are certainly its own.

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
}

impl HostLease {
    pub(super) fn new(host: String) -> Self {
        Self {
            host,
            until: watch::Sender::new(Instant::now() + MAX_ORDER_TIME),
        }
    }

    /// Until when engines may order.
    pub(super) fn until(&self) -> watch::Receiver<Instant> {
        self.until.subscribe()
    }

    /// The leases were extended by a statement that began at this time.
    pub(super) fn extend(&self, began: Instant) {
        self.until.send_replace(began + MAX_ORDER_TIME);
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
}
