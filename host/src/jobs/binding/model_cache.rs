//! The models that a binding's upstream lists, cached: each request spends the operator's key.

use std::sync::Arc;
use std::time::Duration;

use pinhole_sandbox::contract::Model;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::jobs::error::Error;

/// How long a list of models is cached.
const MAX_LIST_AGE: Duration = Duration::from_secs(300);
/// How long a failure to list the models is cached.
const MAX_FAILURE_AGE: Duration = Duration::from_secs(10);

/// The cached list of one binding. It belongs to a snapshot of the settings, so a change of them starts an
/// empty one.
#[derive(Default)]
pub(in crate::jobs) struct ModelCache(Mutex<Option<CachedList>>);

struct CachedList {
    requested_at: Instant,
    models: Result<Arc<[Model]>, Error>,
}

impl ModelCache {
    /// The cached models. If they are too old, the result of this request.
    pub(in crate::jobs) async fn get(
        &self,
        request: impl Future<Output = Result<Vec<Model>, Error>>,
    ) -> Result<Arc<[Model]>, Error> {
        // Locked during the request: concurrent callers wait for its result.
        let mut cached = self.0.lock().await;
        if let Some(list) = cached.as_ref().filter(|list| list.is_fresh()) {
            return list.models.clone();
        }
        let models = request.await.map(Arc::from);
        *cached = Some(CachedList {
            requested_at: Instant::now(),
            models: models.clone(),
        });
        models
    }
}

impl CachedList {
    fn is_fresh(&self) -> bool {
        let max_age = match self.models {
            Ok(_) => MAX_LIST_AGE,
            Err(_) => MAX_FAILURE_AGE,
        };
        self.requested_at.elapsed() < max_age
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn model_cache_requests_once_and_forgets_failures_sooner() {
        let (cache, requests) = (ModelCache::default(), AtomicUsize::new(0));
        let get = async |succeeds: bool| {
            let request = async {
                requests.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                if succeeds { Ok(Vec::new()) } else { Err(Error::Disabled("no")) }
            };
            cache.get(request).await.is_ok()
        };
        assert_eq!(join_all((0..50).map(|_| get(false))).await, [false; 50]);
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        tokio::time::advance(MAX_FAILURE_AGE).await;
        assert_eq!(join_all((0..50).map(|_| get(true))).await, [true; 50]);
        tokio::time::advance(MAX_LIST_AGE - Duration::from_secs(1)).await;
        assert!(get(false).await);
        assert_eq!(requests.load(Ordering::Relaxed), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!get(false).await);
    }
}
