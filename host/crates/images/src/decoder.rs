//! The queue for decoding images: each decode uses a processor and much memory.

use pinhole_ground::fair_queue::{FairQueue, Permit, QueueFull, QueueLimits, QueuedJob};
use pinhole_ground::guard::Refusal;
use pinhole_ground::metrics;
use tokio::runtime::Handle;

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
}

/// Permission to decode one image.
pub struct DecodePermit {
    _permit: Permit,
}

impl Default for Decoder {
    fn default() -> Self {
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
        }
    }
}

impl Decoder {
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
        Ok(DecodePermit { _permit: permit })
    }
}

impl DecodePermit {
    /// Runs a function that decodes pixels on a blocking thread of the runtime. A panic of a decoder
    /// becomes an error.
    pub async fn run<T: Send + 'static>(
        self,
        runtime: &Handle,
        decode: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        metrics::count_decoded_image();
        let decoding = runtime.spawn_blocking(move || {
            let decoded = decode();
            drop(self);
            decoded
        });
        decoding
            .await
            .unwrap_or_else(|_| Err("the decoder of this image crashed".into()))
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
        let (decoder, runtime) = (Decoder::default(), Handle::current());
        for _ in 0..=MAX_USER_DECODES {
            let permit = acquire(&decoder, "a").await;
            let crashed = permit.run(&runtime, || -> Result<(), _> {
                panic!("as a decoder might")
            });
            assert!(crashed.await.unwrap_err().reason.contains("crashed"));
        }
        let decoded = acquire(&decoder, "a").await.run(&runtime, || Ok(7)).await;
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
}
