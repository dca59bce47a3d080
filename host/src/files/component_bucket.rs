//! Components of engines in the bucket of the files, where all hosts find them.

use std::io;

use anyhow::Result;
use bytes::Bytes;
use pinhole_sandbox::MAX_COMPONENT_BYTES;

use super::objects::Bucket;
use super::storage_provider::StorageProvider;

/// Components by digest, in a bucket.
pub(crate) struct ComponentBucket(Bucket);

impl ComponentBucket {
    /// `None` if files are stored in a directory. Sends no request.
    pub(crate) fn open(provider: &StorageProvider) -> Result<Option<Self>> {
        match provider {
            StorageProvider::Local => Ok(None),
            StorageProvider::Bucket(config) => Ok(Some(Self(Bucket::open(config)?))),
        }
    }

    /// Stores a component, also in place of bytes that others have changed.
    pub(crate) async fn save(&self, digest: &str, bytes: Bytes) -> io::Result<()> {
        self.0.put(&object_name(digest), bytes).await
    }

    /// True if there is an object for the digest.
    pub(crate) async fn has(&self, digest: &str) -> io::Result<bool> {
        Ok(self.0.length(&object_name(digest)).await?.is_some())
    }

    /// The bytes under a digest, which the caller checks: others may write into the bucket. `None` without an object.
    pub(crate) async fn get(&self, digest: &str) -> io::Result<Option<Bytes>> {
        self.0.get(&object_name(digest), MAX_COMPONENT_BYTES).await
    }

    /// Removes a component, if it is stored.
    pub(crate) async fn remove(&self, digest: &str) -> io::Result<()> {
        self.0.delete(&object_name(digest)).await
    }
}

/// No file, thumbnail or image of a job has such a name.
fn object_name(digest: &str) -> String {
    format!("{digest}.wasm")
}

#[cfg(test)]
mod tests {
    use super::super::objects::is_object_name;
    use super::*;

    #[test]
    fn component_is_no_file() {
        assert!(!is_object_name(&object_name(&"0".repeat(64))));
    }
}
