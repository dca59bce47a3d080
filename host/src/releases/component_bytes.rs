//! The bytes of installed components: one file for each digest in the data directory.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cap_std::fs::{Dir, DirEntry};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::{data_dir, disk};
use pinhole_sandbox::{MAX_COMPONENT_BYTES, digest};

use super::crash_point::CrashPoint;

/// The directory in the data directory.
const DIRECTORY: &str = "components";
const SUFFIX: &str = ".wasm";
/// Time after which a component without a row is removed: its installation did not end.
const ORPHAN_TIME: Duration = Duration::from_secs(3600);

/// The bytes of installed components, by digest.
pub(super) struct ComponentBytes(Dir);

impl ComponentBytes {
    /// Opens the directory, or creates it for its owner alone.
    pub(super) fn open(data: &Path) -> Result<Self> {
        let data = data_dir::create(data)?;
        Ok(Self(data_dir::create_in(&data, DIRECTORY)?))
    }

    /// Stores a component. Does nothing if it is stored.
    pub(super) fn save(&self, digest: &str, bytes: &[u8]) -> Result<(), Refusal> {
        if self.read(digest).is_ok() {
            return Ok(());
        }
        CrashPoint::Compiled.reach("");
        data_dir::write_whole(&self.0, &file_name(digest), bytes)
            .map_err(|error| Refusal::from(describe_failure(&error)))?;
        CrashPoint::Stored.reach("");
        Ok(())
    }

    /// Reads a component. Fails if it is missing, or if the file has other bytes than those that were stored.
    pub(super) fn read(&self, expected: &str) -> Result<Vec<u8>, Refusal> {
        let name = file_name(expected);
        let mut bytes = Vec::new();
        self.0
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
    pub(super) fn remove(&self, digest: &str) {
        self.0.remove_file(file_name(digest)).ok();
    }

    /// Removes superfluous components. Returns their digests. `is_stored` returns `None` for one that has no row: it
    /// stays for [`ORPHAN_TIME`], because it may be installed just now. So does a file that is not complete.
    pub(super) fn remove_unused(
        &self,
        is_stored: impl Fn(&str) -> Option<bool>,
    ) -> Result<Vec<String>> {
        let failure = || format!("cannot clean up {DIRECTORY} in the data directory");
        let mut removed = Vec::new();
        for entry in self.0.entries().with_context(failure)? {
            let entry = entry.with_context(failure)?;
            let name = entry.file_name();
            let Some(text) = name.to_str() else { continue };
            let Some(digest) = text.strip_suffix(SUFFIX) else {
                if data_dir::is_incomplete(text) && !is_young(&entry) {
                    self.0.remove_file(&name).with_context(failure)?;
                }
                continue;
            };
            if !is_stored(digest).unwrap_or_else(|| is_young(&entry)) {
                self.0.remove_file(&name).with_context(failure)?;
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
        let bytes = ComponentBytes::open(data.path()).unwrap();
        let name = digest(b"one");
        assert!(
            bytes
                .read(&name)
                .unwrap_err()
                .reason
                .contains("install the component again")
        );
        bytes.save(&name, b"one").unwrap();
        assert_eq!(bytes.read(&name).unwrap(), b"one");
        bytes.0.write(file_name(&name), "two").unwrap();
        let refusal = bytes.read(&name).unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::KeptCopy));
        // Storing it repairs the file.
        bytes.save(&name, b"one").unwrap();
        assert_eq!(bytes.read(&name).unwrap(), b"one");
        for kept in [Some(true), None] {
            assert!(bytes.remove_unused(|_| kept).unwrap().is_empty());
        }
        let old = std::time::SystemTime::now() - 2 * ORPHAN_TIME;
        let file = bytes.0.open(file_name(&name)).unwrap().into_std();
        file.set_modified(old).unwrap();
        let removed = std::slice::from_ref(&name);
        assert_eq!(bytes.remove_unused(|_| None).unwrap(), removed);
        bytes.save(&name, b"one").unwrap();
        assert_eq!(bytes.remove_unused(|_| Some(false)).unwrap(), removed);
        assert!(bytes.read(&name).is_err());
    }

    #[test]
    fn incomplete_component_is_removed_after_a_while() {
        let data = tempfile::tempdir().unwrap();
        let bytes = ComponentBytes::open(data.path()).unwrap();
        let name = format!(".{}.0", file_name(&digest(b"one")));
        bytes.0.write(&name, "o").unwrap();
        assert!(bytes.remove_unused(|_| None).unwrap().is_empty());
        assert!(bytes.0.exists(&name));
        let old = SystemTime::now() - 2 * ORPHAN_TIME;
        let file = bytes.0.open(&name).unwrap().into_std();
        file.set_modified(old).unwrap();
        assert!(bytes.remove_unused(|_| None).unwrap().is_empty());
        assert!(!bytes.0.exists(&name));
    }

    #[test]
    fn failure_to_store_a_component_says_what_to_do() {
        let full = describe_failure(&std::io::ErrorKind::StorageFull.into());
        assert!(full.contains("is full: free space"), "{full}");
        let other = describe_failure(&std::io::ErrorKind::PermissionDenied.into());
        assert!(other.contains("repair the directory"), "{other}");
    }
}
