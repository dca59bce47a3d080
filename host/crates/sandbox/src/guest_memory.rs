//! The memories and tables of a guest.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::call_usage::CallUsage;
use crate::limits::{LimitExceeded, Limits};
use crate::wasmtime_engine::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use pinhole_ground::guard::Guard;
use pinhole_ground::memory::{MAX_JOB_WAIT, MemoryFull, MemoryLease};

/// Size of a table element in bytes.
const TABLE_ELEMENT_BYTES: usize = 16;

/// Memory that must be free before a guest starts, in bytes: as much as most guests use.
const START_BYTES: usize = 2 << 20;

/// Counts the total size of all memories and tables of a store, in its call and in the process.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    used_bytes: usize,
    max_bytes: usize,
    lease: MemoryLease,
    call_usage: Arc<CallUsage>,
}

impl GuestMemory {
    pub(crate) fn new(limits: &Limits, lease: MemoryLease, call_usage: Arc<CallUsage>) -> Self {
        Self {
            used_bytes: 0,
            max_bytes: limits.memory_bytes,
            lease,
            call_usage,
        }
    }

    /// Waits for the memory that a guest starts with. Nothing has been sent yet, so a refusal costs nothing.
    pub(crate) async fn start(&mut self) -> Result<(), MemoryFull> {
        self.lease.grow_within(START_BYTES, MAX_JOB_WAIT).await
    }

    fn grow(&mut self, bytes: usize) -> Result<bool, LimitExceeded> {
        let (used, max) = (self.used_bytes.saturating_add(bytes), self.max_bytes);
        Guard::Memory.refuse_if(used > max, || {
            format!("it needs more than {max} bytes of memory")
        })?;
        if used > self.lease.bytes() {
            self.lease.resize_job(used)?;
        }
        self.used_bytes = used;
        self.call_usage.record_memory(used);
        Ok(true)
    }
}

impl ResourceLimiter for GuestMemory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current))?)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current);
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES))?)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_ground::memory::{Holder, ProcessMemory};

    #[test]
    fn guest_memory_counts_memories_and_tables_together() {
        let process = ProcessMemory::default();
        let call_usage = Arc::<CallUsage>::default();
        let mut memory = GuestMemory {
            used_bytes: 0,
            max_bytes: 100,
            lease: process.share(Holder::Server).job(),
            call_usage: call_usage.clone(),
        };
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 20, None).unwrap());
        assert!(!memory.memory_growing(20, 40, Some(30)).unwrap());
        assert!(memory.table_growing(0, 1, None).unwrap());
        let error = memory.table_growing(1, 2, None).unwrap_err();
        let LimitExceeded(refusal) = error.downcast_ref().unwrap();
        assert_eq!(refusal.guard, Some(Guard::Memory));
        assert_eq!(refusal.reason, "it needs more than 100 bytes of memory");
        assert_eq!(process.held_bytes(), 96);
        assert_eq!(call_usage.peak_memory_bytes(), 96);
    }
}
