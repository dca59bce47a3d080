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
        if let Some(list) = cached.as_ref().filter(|list| list.is_fresh(Instant::now())) {
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

impl ModelCache {
    /// The model with this id, if the list is cached. Requests nothing.
    pub(in crate::jobs) fn known(&self, id: &str) -> Option<Model> {
        let cached = self.0.try_lock().ok()?;
        let models = cached.as_ref()?.models.as_ref().ok()?;
        models.iter().find(|model| model.id == id).cloned()
    }
}

impl CachedList {
    fn is_fresh(&self, now: Instant) -> bool {
        let max_age = match self.models {
            Ok(_) => MAX_LIST_AGE,
            Err(_) => MAX_FAILURE_AGE,
        };
        now.duration_since(self.requested_at) < max_age
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn model_cache_requests_once_for_concurrent_callers() {
        let (cache, requests) = (ModelCache::default(), AtomicUsize::new(0));
        let get = || {
            cache.get(async {
                requests.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(Error::Disabled("no"))
            })
        };
        let results = join_all((0..50).map(|_| get())).await;
        assert!(results.iter().all(Result::is_err));
        assert_eq!(requests.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn cached_list_ages_and_a_failure_sooner() {
        let requested_at = Instant::now();
        for (models, max_age) in [
            (Ok(Arc::from([])), MAX_LIST_AGE),
            (Err(Error::Disabled("no")), MAX_FAILURE_AGE),
        ] {
            let list = CachedList {
                requested_at,
                models,
            };
            let is_fresh_after = |age| list.is_fresh(requested_at + age);
            assert!(is_fresh_after(max_age - Duration::from_secs(1)));
            assert!(!is_fresh_after(max_age));
        }
    }
}
