//! The bytes of installed components: one file for each digest in the data directory, and one object in the bucket if
//! files are stored in one, so that other hosts find it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cap_std::fs::{Dir, DirEntry};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::{data_dir, disk};
use pinhole_sandbox::{MAX_COMPONENT_BYTES, digest};

use crate::crash_point::CrashPoint;
use crate::files::{ComponentBucket, StorageProvider};

/// The directory in the data directory.
const DIRECTORY: &str = "components";
const SUFFIX: &str = ".wasm";
/// Time after which a component without a row is removed: its installation did not end.
const ORPHAN_TIME: Duration = Duration::from_secs(3600);

/// The bytes of installed components, by digest.
pub(super) struct ComponentBytes {
    directory: Dir,
    bucket: Option<ComponentBucket>,
}

impl ComponentBytes {
    /// Opens the directory, or creates it for its owner alone.
    pub(super) fn open(data: &Path, provider: &StorageProvider) -> Result<Self> {
        let data = data_dir::create(data)?;
        Ok(Self {
            directory: data_dir::create_in(&data, DIRECTORY)?,
            bucket: ComponentBucket::open(provider)?,
        })
    }

    /// Stores a component for all hosts.
    pub(super) async fn save(&self, digest: &str, bytes: &[u8]) -> Result<(), Refusal> {
        self.save_here(digest, bytes)?;
        if let Some(bucket) = &self.bucket {
            let stored = bucket.save(digest, bytes.to_vec().into()).await;
            stored.map_err(|error| format!(
                "cannot be stored in the bucket of the files ({error}): repair the bucket, and install the component again"
            ))?;
        }
        Ok(())
    }

    /// Puts a component of the data directory into the bucket if it is missing there: files were stored in a directory
    /// before.
    pub(super) async fn share(&self, digest: &str, bytes: &[u8]) {
        let Some(bucket) = &self.bucket else { return };
        let shared = match bucket.has(digest).await {
            Ok(true) => Ok(()),
            Ok(false) => bucket.save(digest, bytes.to_vec().into()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = shared {
            tracing::warn!(
                "cannot store the component sha256:{digest} in the bucket, where other hosts find it: {error}"
            );
        }
    }

    /// Stores a component in the data directory. Does nothing if it is stored.
    pub(super) fn save_here(&self, digest: &str, bytes: &[u8]) -> Result<(), Refusal> {
        if self.read_here(digest).is_ok() {
            return Ok(());
        }
        CrashPoint::Compiled.reach("");
        data_dir::write_whole(&self.directory, &file_name(digest), bytes)
            .map_err(|error| Refusal::from(describe_failure(&error)))?;
        CrashPoint::Stored.reach("");
        Ok(())
    }

    /// Reads a component, which another host may have stored in the bucket. Fails if it is missing, or if it has other
    /// bytes than those that were stored.
    pub(super) async fn read(&self, expected: &str) -> Result<Vec<u8>, Refusal> {
        let refusal = match (self.read_here(expected), &self.bucket) {
            (Err(refusal), Some(_)) => refusal,
            (read, _) => return read,
        };
        match self.fetch(expected).await? {
            Some(bytes) => Ok(bytes),
            None => Err(refusal),
        }
    }

    /// Reads a component from the bucket, and stores it in the data directory. `None` if it is not there.
    async fn fetch(&self, expected: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(bucket) = &self.bucket else {
            return Ok(None);
        };
        let found = bucket.get(expected).await.map_err(|error| {
            format!("cannot be read from the bucket of the files ({error}): repair the bucket")
        })?;
        let Some(bytes) = found else { return Ok(None) };
        Guard::KeptCopy.refuse_if(digest(&bytes) != expected, || {
            format!(
                "is not the installed component (the object {} of the bucket was changed): install the component again",
                file_name(expected)
            )
        })?;
        self.save_here(expected, &bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Reads a component from the data directory.
    fn read_here(&self, expected: &str) -> Result<Vec<u8>, Refusal> {
        let name = file_name(expected);
        let mut bytes = Vec::new();
        self.directory
            .open(&name)
            .and_then(|file| file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                format!("cannot be read ({DIRECTORY}/{name} in the data directory: {error}): install the component again")
            })?;
        Guard::KeptCopy.refuse_if(digest(&bytes) != expected, || {
            format!("is not the installed component ({DIRECTORY}/{name} in the data directory was changed): install the component again")
        })?;
        Ok(bytes)
    }

    /// Removes a component, if it is stored.
    pub(super) async fn remove(&self, digest: &str) {
        self.directory.remove_file(file_name(digest)).ok();
        let Some(bucket) = &self.bucket else { return };
        if let Err(error) = bucket.remove(digest).await {
            tracing::warn!("cannot remove the component sha256:{digest} from the bucket: {error}");
        }
    }

    /// Removes superfluous components from the data directory. Returns their digests. `is_stored` returns `None` for one that has no row: it
    /// stays for [`ORPHAN_TIME`], because it may be installed just now. So does a file that is not complete.
    pub(super) fn remove_unused(
        &self,
        is_stored: impl Fn(&str) -> Option<bool>,
    ) -> Result<Vec<String>> {
        let failure = || format!("cannot clean up {DIRECTORY} in the data directory");
        let mut removed = Vec::new();
        for entry in self.directory.entries().with_context(failure)? {
            let entry = entry.with_context(failure)?;
            let name = entry.file_name();
            let Some(text) = name.to_str() else { continue };
            let Some(digest) = text.strip_suffix(SUFFIX) else {
                if data_dir::is_incomplete(text) && !is_young(&entry) {
                    self.directory.remove_file(&name).with_context(failure)?;
                }
                continue;
            };
            if !is_stored(digest).unwrap_or_else(|| is_young(&entry)) {
                self.directory.remove_file(&name).with_context(failure)?;
                removed.push(digest.to_owned());
            }
        }
        Ok(removed)
    }
}

/// Why a component cannot be stored, and what to do.
fn describe_failure(error: &std::io::Error) -> String {
    if disk::is_full(error) {
        return "cannot be stored, because the disk of the data directory is full: free space, and install it again"
            .to_owned();
    }
    format!(
        "cannot be stored in {DIRECTORY} in the data directory ({error}): repair the directory, and install the component again"
    )
}

/// True if a file was written a short time ago, or if that is unknown.
fn is_young(entry: &DirEntry) -> bool {
    let written = entry.metadata().and_then(|it| it.modified());
    let age = written.map(|written| SystemTime::now().duration_since(written.into_std()));
    !matches!(age, Ok(Ok(age)) if age > ORPHAN_TIME)
}

/// The path of a stored component, for another process.
pub(super) fn path(data: &Path, digest: &str) -> PathBuf {
    data.join(DIRECTORY).join(file_name(digest))
}

fn file_name(digest: &str) -> String {
    format!("{digest}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_bytes_refuse_a_changed_file() {
        let data = tempfile::tempdir().unwrap();
        let bytes = ComponentBytes::open(data.path(), &StorageProvider::Local).unwrap();
        let name = digest(b"one");
        assert!(
            bytes
                .read_here(&name)
                .unwrap_err()
                .reason
                .contains("install the component again")
        );
        bytes.save_here(&name, b"one").unwrap();
        assert_eq!(bytes.read_here(&name).unwrap(), b"one");
        bytes.directory.write(file_name(&name), "two").unwrap();
        let refusal = bytes.read_here(&name).unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::KeptCopy));
        // Storing it repairs the file.
        bytes.save_here(&name, b"one").unwrap();
        assert_eq!(bytes.read_here(&name).unwrap(), b"one");
        for kept in [Some(true), None] {
            assert!(bytes.remove_unused(|_| kept).unwrap().is_empty());
        }
        let old = std::time::SystemTime::now() - 2 * ORPHAN_TIME;
        let file = bytes.directory.open(file_name(&name)).unwrap().into_std();
        file.set_modified(old).unwrap();
        let removed = std::slice::from_ref(&name);
        assert_eq!(bytes.remove_unused(|_| None).unwrap(), removed);
        bytes.save_here(&name, b"one").unwrap();
        assert_eq!(bytes.remove_unused(|_| Some(false)).unwrap(), removed);
        assert!(bytes.read_here(&name).is_err());
    }

    #[test]
    fn incomplete_component_is_removed_after_a_while() {
        let data = tempfile::tempdir().unwrap();
        let bytes = ComponentBytes::open(data.path(), &StorageProvider::Local).unwrap();
        let name = format!(".{}.0", file_name(&digest(b"one")));
        bytes.directory.write(&name, "o").unwrap();
        assert!(bytes.remove_unused(|_| None).unwrap().is_empty());
        assert!(bytes.directory.exists(&name));
        let old = SystemTime::now() - 2 * ORPHAN_TIME;
        let file = bytes.directory.open(&name).unwrap().into_std();
        file.set_modified(old).unwrap();
        assert!(bytes.remove_unused(|_| None).unwrap().is_empty());
        assert!(!bytes.directory.exists(&name));
    }

    #[test]
    fn failure_to_store_a_component_says_what_to_do() {
        let full = describe_failure(&std::io::ErrorKind::StorageFull.into());
        assert!(full.contains("is full: free space"), "{full}");
        let other = describe_failure(&std::io::ErrorKind::PermissionDenied.into());
        assert!(other.contains("repair the directory"), "{other}");
    }
}
