//! The limit on how many images are decoded at once.

use std::sync::Arc;

use pinhole_ground::guard::Refusal;
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
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            user: Arc::new(Semaphore::new(MAX_USER_DECODES)),
            engine: Arc::new(Semaphore::new(MAX_ENGINE_DECODES)),
        }
    }
}

impl Decoder {
    /// Runs a function that decodes pixels on a blocking thread of the runtime, as soon as a permit is
    /// free. A panic of a decoder becomes an error.
    pub async fn run<T: Send + 'static>(
        &self,
        decode_for: DecodeFor,
        runtime: &Handle,
        decode: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let semaphore = match decode_for {
            DecodeFor::User => &self.user,
            DecodeFor::Engine => &self.engine,
        };
        // The semaphore is never closed.
        let permit = semaphore
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| error.to_string())?;
        metrics::count_decoded_image();
        let decoding = runtime.spawn_blocking(move || {
            let decoded = decode();
            drop(permit);
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

    #[tokio::test]
    async fn decoder_returns_a_panic_as_error_and_frees_its_permit() {
        let (decoder, runtime) = (Decoder::default(), Handle::current());
        for _ in 0..=MAX_USER_DECODES {
            let crashed = decoder.run(DecodeFor::User, &runtime, || -> Result<(), _> {
                panic!("as a decoder might")
            });
            assert!(crashed.await.unwrap_err().reason.contains("crashed"));
        }
        let decoded = decoder.run(DecodeFor::User, &runtime, || Ok(7)).await;
        assert_eq!(decoded, Ok(7));
    }

    #[tokio::test]
    async fn decoder_for_engines_never_delays_users() {
        let (decoder, runtime) = (Decoder::default(), Handle::current());
        let _permit = decoder.engine.acquire().await.unwrap();
        let mut engine = std::pin::pin!(decoder.run(DecodeFor::Engine, &runtime, || Ok(1)));
        let user = decoder.run(DecodeFor::User, &runtime, || Ok(2));
        let first = tokio::select! {
            biased;
            decoded = &mut engine => decoded,
            decoded = user => decoded,
        };
        assert_eq!(first, Ok(2));
    }
}
