//! The limits of one call of an engine.

use std::time::Duration;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_images::{ImageLimits, MetadataPolicy};

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Total size of all linear memories and tables.
    pub memory_bytes: usize,
    /// CPU time, host functions included. Waiting for an upstream or for another guest does not count.
    pub running: Duration,
    /// Wall-clock time from start to end, host functions included.
    pub wall: Duration,
    /// Time in which a cancelled engine can still ask its upstream to stop.
    pub grace: Duration,
    /// Calls of host functions, WASI included.
    pub host_calls: u32,
    /// Bytes that one function call copies between guest and host.
    pub copied_bytes: usize,
    /// Handles that are open at the same time.
    pub handles: usize,
    /// Total length of log lines.
    pub log_bytes: usize,
    /// Requests and WebSockets.
    pub requests: u32,
    /// Pending requests, event streams and WebSockets that are open at the same time.
    pub connections: usize,
    /// Length of one request body, or of one message sent over a WebSocket.
    pub request_bytes: usize,
    /// Total length of request bodies and messages sent over WebSockets.
    pub sent_bytes: usize,
    /// Length of one response.
    pub response_bytes: usize,
    /// Total length of bodies and images that are held for the call at the same time.
    pub held_bytes: usize,
    /// Total length of bodies and images that the call receives from start to end.
    pub taken_bytes: usize,
    /// Limits of one image.
    pub image: ImageLimits,
    /// The image metadata that is retained.
    pub metadata: MetadataPolicy,
}

impl Limits {
    /// The limits of a job that takes at most `wall`.
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
            metadata: MetadataPolicy::Essential,
        }
    }

    /// The limits of the call of `describe` at admission.
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
            metadata: MetadataPolicy::Strip,
        }
    }

    /// The wall-clock time that the supervisor enforces.
    pub(crate) fn enforced_wall(&self) -> Duration {
        let micros = usize::try_from(self.wall.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(Guard::WallTime.limit(micros) as u64)
    }
}

/// A limit that a guest exceeded. As the error of a host function, it stops the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LimitExceeded(pub(crate) Refusal);

impl From<Refusal> for LimitExceeded {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}
