//! The limits on how many images are decoded at once, and on the memory of their pixels.

use std::sync::Arc;

use pinhole_ground::guard::Refusal;
use pinhole_ground::memory::{Holder, MemoryFull, ProcessMemory};
use pinhole_ground::metrics;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Images that are decoded at once for users, in the whole process; more wait.
const MAX_USER_DECODES: usize = 2;
/// Images that are decoded at once for engines. It is a limit of its own, so that engines never delay
/// users.
const MAX_ENGINE_DECODES: usize = 1;

/// For whom an image is decoded.
#[derive(Clone, Copy, Debug)]
pub enum DecodeFor {
    User,
    Engine,
}

/// Limits how many images are decoded at once. Clones share the limit; a process has one.
#[derive(Clone)]
pub struct Decoder {
    user: Arc<Semaphore>,
    engine: Arc<Semaphore>,
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

impl Default for Decoder {
    fn default() -> Self {
        Self::new(ProcessMemory::default())
    }
}

impl Decoder {
    /// A decoder whose pixels are counted in this memory.
    #[must_use]
    pub fn new(memory: ProcessMemory) -> Self {
        Self {
            user: Arc::new(Semaphore::new(MAX_USER_DECODES)),
            engine: Arc::new(Semaphore::new(MAX_ENGINE_DECODES)),
            memory,
        }
    }

    /// The memory of the process.
    #[must_use]
    pub fn memory(&self) -> &ProcessMemory {
        &self.memory
    }

    /// Runs a function that decodes pixels on a blocking thread of the runtime, as soon as a permit is
    /// free and this number of bytes too. A panic of a decoder becomes an error.
    pub async fn run<T: Send + 'static>(
        &self,
        decode_for: DecodeFor,
        runtime: &Handle,
        bytes: usize,
        decode: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, DecodeError> {
        let semaphore = match decode_for {
            DecodeFor::User => &self.user,
            DecodeFor::Engine => &self.engine,
        };
        // The semaphore is never closed.
        let permit = semaphore
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| DecodeError::Refused(error.to_string().into()))?;
        // The permits limit how much it is for all users, so it counts for none of them.
        let share = self.memory.share(Holder::Server);
        let lease = share.lease(bytes).await.map_err(|full| match full {
            MemoryFull::User => DecodeError::MemoryFull(MemoryFull::All),
            other => DecodeError::MemoryFull(other),
        })?;
        metrics::count_decoded_image();
        let decoding = runtime.spawn_blocking(move || {
            let decoded = decode();
            drop((permit, lease));
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

    #[tokio::test]
    async fn decoder_returns_a_panic_as_error_and_frees_its_permit() {
        let (decoder, runtime) = (Decoder::default(), Handle::current());
        for _ in 0..=MAX_USER_DECODES {
            let crashed = decoder.run(DecodeFor::User, &runtime, 0, || -> Result<(), _> {
                panic!("as a decoder might")
            });
            assert!(crashed.await.unwrap_err().to_string().contains("crashed"));
        }
        let decoded = decoder.run(DecodeFor::User, &runtime, 0, || Ok(7)).await;
        assert_eq!(decoded, Ok(7));
    }

    #[tokio::test]
    async fn decoder_for_engines_never_delays_users() {
        let (decoder, runtime) = (Decoder::default(), Handle::current());
        let _permit = decoder.engine.acquire().await.unwrap();
        let mut engine = std::pin::pin!(decoder.run(DecodeFor::Engine, &runtime, 0, || Ok(1)));
        let user = decoder.run(DecodeFor::User, &runtime, 0, || Ok(2));
        let first = tokio::select! {
            biased;
            decoded = &mut engine => decoded,
            decoded = user => decoded,
        };
        assert_eq!(first, Ok(2));
    }

    #[tokio::test]
    async fn decoder_counts_pixels_while_it_decodes() {
        let memory = ProcessMemory::new(100);
        let (decoder, runtime) = (Decoder::new(memory.clone()), Handle::current());
        let counted = memory.clone();
        let decode = move || Ok(counted.held_bytes());
        let decoded = decoder.run(DecodeFor::User, &runtime, 50, decode).await;
        assert_eq!((decoded, memory.held_bytes()), (Ok(50), 0));
        let refused = decoder.run(DecodeFor::User, &runtime, 51, || Ok(())).await;
        let too_large = MemoryFull::TooLarge { max_bytes: 50 };
        assert_eq!(refused, Err(DecodeError::MemoryFull(too_large)));
    }
}
