//! The limits of the queue for engine slots.

use pinhole_ground::fair_queue::{FairQueue, QueueLimits, reserved_share};

/// Waiting jobs for each slot, both of one user's share and of all slots.
pub const MAX_WAITING_PER_SLOT: usize = 4;

/// The queue for this number of slots, of which one user's jobs occupy at most a share.
pub(super) fn new_queue(slots: u32, share: u32) -> FairQueue {
    let slots = slots as usize;
    let reserved_slots = reserved_share(slots);
    let share = slots.saturating_sub(reserved_slots).min(share as usize);
    FairQueue::new(QueueLimits {
        slots,
        slots_per_user: share,
        reserved_slots,
        waiting: slots.saturating_mul(MAX_WAITING_PER_SLOT),
        waiting_per_user: share.saturating_mul(MAX_WAITING_PER_SLOT),
        items: "jobs",
    })
}
