//! The queue for decoding images, and the memory of their pixels: each decode uses a processor and much
//! memory.

use std::fmt;

use pinhole_ground::fair_queue::{FairQueue, Permit, QueueFull, QueueLimits, QueuedJob};
use pinhole_ground::guard::Refusal;
use pinhole_ground::low_priority;
use pinhole_ground::memory::{Holder, MemoryFull, ProcessMemory};
use pinhole_ground::metrics;

/// Images that are decoded at once for users, in the whole process; more wait.
const MAX_USER_DECODES: usize = 2;
/// Images that are decoded at once for engines. It is a limit of its own, so that engines never delay
/// users.
const MAX_ENGINE_DECODES: usize = 1;
/// Images that wait to be decoded.
const MAX_WAITING_DECODES: usize = 1024;
/// Images of one user that wait to be decoded.
const MAX_WAITING_DECODES_PER_USER: usize = 128;
/// Images that wait to be decoded for engines. Each belongs to a running job, so a job never finds the
/// queue full.
const MAX_WAITING_ENGINE_DECODES: usize = 10_000;

/// For what an image is decoded, and for which user; `None` is the server itself.
#[derive(Clone, Copy, Debug)]
pub enum DecodeFor<'a> {
    User(Option<&'a str>),
    /// An engine that runs a job of this user.
    Engine(Option<&'a str>),
}

/// Limits how many images are decoded at once, fairly between users. Clones share the limit; a process
/// has one.
#[derive(Clone)]
pub struct Decoder {
    user: FairQueue,
    engine: FairQueue,
    memory: ProcessMemory,
}

/// Why pixels were not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The image is invalid or exceeds a limit.
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    MemoryFull(MemoryFull),
}

/// Permission to decode one image.
pub struct DecodePermit {
    memory: ProcessMemory,
    _permit: Permit,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(ProcessMemory::default())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder whose pixels are counted in this memory.
    #[must_use]
    pub fn new(memory: ProcessMemory) -> Self {
        // A decode is short, so no slot is reserved: a user without one waits for the next.
        let limits = QueueLimits {
            slots: MAX_USER_DECODES,
            slots_per_user: MAX_USER_DECODES,
            reserved_slots: 0,
            waiting: MAX_WAITING_DECODES,
            waiting_per_user: MAX_WAITING_DECODES_PER_USER,
            items: "images",
        };
        Self {
            user: FairQueue::new(limits),
            engine: FairQueue::new(QueueLimits {
                slots: MAX_ENGINE_DECODES,
                slots_per_user: MAX_ENGINE_DECODES,
                waiting: MAX_WAITING_ENGINE_DECODES,
                waiting_per_user: MAX_WAITING_ENGINE_DECODES,
                ..limits
            }),
            memory,
        }
    }

    /// The memory of the process.
    #[must_use]
    pub fn memory(&self) -> &ProcessMemory {
        &self.memory
    }

    /// Waits until an image may be decoded. Read its bytes afterwards, so that waiting costs no memory.
    ///
    /// Fails if too many images wait already.
    pub async fn acquire(&self, decode_for: DecodeFor<'_>) -> Result<DecodePermit, QueueFull> {
        let (queue, user) = match decode_for {
            DecodeFor::User(user) => (&self.user, user),
            DecodeFor::Engine(user) => (&self.engine, user),
        };
        let job = QueuedJob { user, group: None };
        let permit = queue.acquire(job).await?;
        Ok(DecodePermit {
            memory: self.memory.clone(),
            _permit: permit,
        })
    }
}

impl DecodePermit {
    /// Runs a function that decodes pixels at low priority, as soon as this number of bytes is free. A panic of a
    /// decoder becomes an error.
    pub async fn run<T: Send + 'static>(
        self,
        bytes: usize,
        decode: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, DecodeError> {
        // The permits limit how much it is for all users, so it counts for none of them.
        let share = self.memory.share(Holder::Server);
        let lease = share.lease(bytes).await.map_err(|full| match full {
            MemoryFull::User => DecodeError::MemoryFull(MemoryFull::All),
            other => DecodeError::MemoryFull(other),
        })?;
        metrics::count_decoded_image();
        let decoding = low_priority::compute(move || {
            let decoded = decode();
            drop((self, lease));
            decoded
        });
        decoding
            .await
            .unwrap_or_else(|_| Err("the decoder of this image crashed".into()))
            .map_err(DecodeError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn acquire(decoder: &Decoder, user: &str) -> DecodePermit {
        decoder.acquire(DecodeFor::User(Some(user))).await.unwrap()
    }

    #[tokio::test]
    async fn decoder_returns_a_panic_as_error_and_frees_its_permit() {
        let decoder = Decoder::default();
        for _ in 0..=MAX_USER_DECODES {
            let permit = acquire(&decoder, "a").await;
            let crashed = permit.run(0, || -> Result<(), _> { panic!("as a decoder might") });
            assert!(crashed.await.unwrap_err().to_string().contains("crashed"));
        }
        let decoded = acquire(&decoder, "a").await.run(0, || Ok(7)).await;
        assert_eq!(decoded, Ok(7));
    }

    #[tokio::test]
    async fn decoder_for_engines_never_delays_users() {
        let decoder = Decoder::default();
        let of_engine = DecodeFor::Engine(Some("a"));
        let _permit = decoder.acquire(of_engine).await.unwrap();
        let mut waiting = std::pin::pin!(decoder.acquire(of_engine));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two images are decoded for engines"),
            _ = acquire(&decoder, "a") => {}
        }
    }

    #[tokio::test]
    async fn decoder_serves_a_user_before_another_users_many_images() {
        let decoder = Decoder::default();
        let first = (acquire(&decoder, "a").await, acquire(&decoder, "a").await);
        let mut many: Vec<_> = (0..40).map(|_| Box::pin(acquire(&decoder, "a"))).collect();
        for waiting in &mut many {
            tokio::select! {
                biased;
                _ = waiting => panic!("three images are decoded"),
                () = std::future::ready(()) => {}
            }
        }
        let mut other = std::pin::pin!(acquire(&decoder, "b"));
        tokio::select! {
            biased;
            _ = &mut other => panic!("three images are decoded"),
            () = std::future::ready(()) => {}
        }
        drop(first.0);
        let _decoding = other.await;
    }

    #[tokio::test]
    async fn decoder_counts_pixels_while_it_decodes() {
        let memory = ProcessMemory::new(100);
        let decoder = Decoder::new(memory.clone());
        let counted = memory.clone();
        let decode = move || Ok(counted.held_bytes());
        let decoded = acquire(&decoder, "a").await.run(50, decode).await;
        assert_eq!((decoded, memory.held_bytes()), (Ok(50), 0));
        let refused = acquire(&decoder, "a").await.run(51, || Ok(()));
        let too_large = MemoryFull::TooLarge { max_bytes: 50 };
        assert_eq!(refused.await, Err(DecodeError::MemoryFull(too_large)));
    }
}
