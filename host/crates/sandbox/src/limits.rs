//! What one call of an engine may use. A store cannot be made without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use pinhole_ground::guard::Guard;
use pinhole_images::{ImageLimits, Metadata};

/// How often a running guest is interrupted to be counted and to let others run.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Bytes that one element of a table costs.
const TABLE_ELEMENT_BYTES: usize = 16;

/// The limits of one call. All of them always hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All linear memories and tables of the call together, in bytes.
    pub memory_bytes: usize,
    /// Time that it may compute, host functions included: CPU time, so neither waiting for an upstream nor
    /// for other guests counts.
    pub running: Duration,
    /// Time from start to end, host calls included.
    pub wall: Duration,
    /// Time in which a cancelled engine may still tell its upstream to stop.
    pub grace: Duration,
    /// Calls of host functions, WASI's included.
    pub host_calls: u32,
    /// Bytes that one call may copy between guest and host.
    pub copied_bytes: usize,
    /// Handles open at the same time.
    pub handles: usize,
    /// Bytes of log lines.
    pub log_bytes: usize,
    /// Requests and WebSockets.
    pub requests: u32,
    /// Requests under way, streams of events and WebSockets at the same time.
    pub connections: usize,
    /// Length of one request's body, or of one message that is sent over a WebSocket, in bytes.
    pub request_bytes: usize,
    /// All such bodies and messages together, in bytes.
    pub sent_bytes: usize,
    /// Length of one answer, in bytes.
    pub response_bytes: usize,
    /// Bodies and images held for the call at the same time, in bytes.
    pub held_bytes: usize,
    /// Bodies and images that the call takes in from start to end, in bytes.
    pub taken_bytes: usize,
    /// What one image may be.
    pub image: ImageLimits,
    /// What stays of an image's metadata.
    pub metadata: Metadata,
}

impl Limits {
    /// Of a job that may take `wall` in all.
    #[must_use]
    pub const fn job(wall: Duration) -> Self {
        Self {
            memory_bytes: 256 << 20,
            running: Duration::from_secs(10),
            wall,
            grace: Duration::from_secs(5),
            host_calls: 200_000,
            copied_bytes: 64 << 20,
            handles: 1024,
            log_bytes: 64 << 10,
            requests: 10_000,
            connections: 48,
            request_bytes: 64 << 20,
            sent_bytes: 512 << 20,
            response_bytes: 64 << 20,
            held_bytes: 256 << 20,
            taken_bytes: 1 << 30,
            image: ImageLimits {
                max_bytes: 32 << 20,
                max_pixels: 64 << 20,
            },
            metadata: Metadata::Essential,
        }
    }

    /// Of the one call of `describe` at admission.
    #[must_use]
    pub const fn describe() -> Self {
        Self {
            memory_bytes: 256 << 20,
            running: Duration::from_secs(1),
            wall: Duration::from_secs(20),
            grace: Duration::ZERO,
            host_calls: 100,
            copied_bytes: 1 << 20,
            handles: 8,
            log_bytes: 4 << 10,
            requests: 0,
            connections: 0,
            request_bytes: 0,
            sent_bytes: 0,
            response_bytes: 0,
            held_bytes: 1 << 20,
            taken_bytes: 1 << 20,
            image: ImageLimits {
                max_bytes: 0,
                max_pixels: 0,
            },
            metadata: Metadata::Strip,
        }
    }
}

/// A limit that a guest has broken. Ends the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it needs more than {0} bytes of memory")]
    Memory(usize),
    #[error("it ran for more than {0:?}")]
    Running(Duration),
    #[error("it called the host more than {0} times")]
    HostCalls(u32),
    #[error("it holds more than {0} bytes of answers and images")]
    Held(usize),
    #[error("it took in more than {0} bytes of answers and images")]
    Taken(usize),
}

/// Counts what all memories and tables of a store have grown to.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    max: usize,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            used: 0,
            max: limits.memory_bytes,
        }
    }

    fn grow(&mut self, by: usize) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(by);
        if used > Guard::Memory.limit(self.max) {
            return Err(Broken::Memory(self.max).into());
        }
        self.used = used;
        Ok(true)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
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
        self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES))
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

/// What bodies and images a call holds, in bytes, shared by everything it holds.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    used: Arc<AtomicUsize>,
    /// Never less: what was given back counts too.
    taken: Arc<AtomicUsize>,
    max: usize,
    max_taken: usize,
}

/// A part of a call's [`Holding`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of: Holding,
    bytes: usize,
}

impl Holding {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            used: Arc::default(),
            taken: Arc::default(),
            max: limits.held_bytes,
            max_taken: limits.taken_bytes,
        }
    }

    pub(crate) fn take(&self, bytes: usize) -> Result<Held, Broken> {
        let mut held = Held {
            of: self.clone(),
            bytes: 0,
        };
        held.grow(bytes)?;
        Ok(held)
    }
}

impl Held {
    /// Takes so many more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Broken> {
        let used = self.of.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        let taken = self.of.taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > Guard::HeldBytes.limit(self.of.max) {
            return Err(Broken::Held(self.of.max));
        }
        match taken > Guard::TakenBytes.limit(self.of.max_taken) {
            true => Err(Broken::Taken(self.of.max_taken)),
            false => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut memory = Memory { used: 0, max: 100 };
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 20, None).unwrap());
        assert!(!memory.memory_growing(20, 40, Some(30)).unwrap());
        assert!(memory.table_growing(0, 1, None).unwrap());
        let error = memory.table_growing(1, 2, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Broken::Memory(100)));
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let holding = Holding::new(&Limits {
            held_bytes: 100,
            taken_bytes: 250,
            ..Limits::job(Duration::ZERO)
        });
        let mut first = holding.take(30).unwrap();
        first.grow(50).unwrap();
        assert_eq!(holding.take(30).unwrap_err(), Broken::Held(100));
        drop(first);
        assert!(holding.take(100).is_ok());
        // Each counts when all is added up, though none is held any more.
        assert_eq!(holding.take(100).unwrap_err(), Broken::Taken(250));
    }
}
