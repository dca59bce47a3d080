//! What the server does with a bucket as a whole: checks at start and while it runs, and signed URLs.

use std::time::Duration;

use anyhow::{Context, Result};
use url::Url;

use super::Files;
use super::objects::{Bucket, BucketError, CHECK_INTERVAL, Objects, SignedHeaders};
use super::storage_provider::StorageProvider;
use crate::store::FileRow;

/// How long a signed URL of the bucket works, at most.
const SIGNED_URL_LIFETIME: Duration = Duration::from_secs(60);

/// Fails unless a small object can be written to the bucket and read. The error is one line for the operator, with
/// the variables to check. A directory needs no such check.
pub async fn check_provider(provider: &StorageProvider) -> Result<()> {
    match provider {
        StorageProvider::Local => Ok(()),
        StorageProvider::Bucket(config) => Bucket::open(config)?.require_usable().await,
    }
}

/// Is this a failure of the bucket, which another moment may cure?
#[must_use]
pub fn is_bucket_failure(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    let inner = cause.and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<BucketError>())
}

impl Files {
    /// Checks the bucket at intervals. Never returns if there is one.
    pub async fn watch_bucket(self) {
        let Objects::Bucket(bucket) = &self.objects else {
            return;
        };
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        loop {
            interval.tick().await;
            bucket.check_health().await;
        }
    }

    /// Checks the bucket once, as [`Self::watch_bucket`] does.
    pub async fn check_bucket(&self) {
        if let Objects::Bucket(bucket) = &self.objects {
            bucket.check_health().await;
        }
    }

    /// Can bytes be written and read, as far as the last checks show?
    #[must_use]
    pub fn is_available(&self) -> bool {
        match &self.objects {
            Objects::Folder(_) => true,
            Objects::Bucket(bucket) => bucket.require_available().is_ok(),
        }
    }

    /// A URL of the bucket at which anyone reads the file for a minute, and at most for this time. `None` if the
    /// operator has not allowed that, or the bytes are not in the bucket yet.
    pub async fn signed_url(
        &self,
        file: &FileRow,
        headers: SignedHeaders<'_>,
        max_lifetime: Duration,
    ) -> Result<Option<Url>> {
        let Objects::Bucket(bucket) = &self.objects else {
            return Ok(None);
        };
        if self.spool.contains(&file.id) {
            return Ok(None);
        }
        let lifetime = SIGNED_URL_LIFETIME.min(max_lifetime);
        let signed = bucket.signed_url(&file.id, headers, lifetime).await;
        signed.with_context(|| format!("cannot sign a URL of image {}", file.id))
    }
}
