//! A file whose only purpose is its length: on a full disk it is cut, so that what frees space can be
//! written.
//!
//! Deleting a row needs space for SQLite's log. Without ballast, a full disk could not be emptied through
//! the server, and a session could not be revoked. Not covered: other programs that fill the freed space
//! again before the server uses it. The ballast is cut in steps for that reason.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::{Dir, File, OpenOptions};

use crate::data_dir::private_file;
use crate::disk::free_bytes;

/// The name of the file in the data directory.
const FILE: &str = "ballast";
/// Length of the file, in bytes.
pub const BALLAST_BYTES: u64 = 16 << 20;
/// How much one step frees, in bytes: several times what a removal of files or a session needs.
const STEP_BYTES: u64 = 2 << 20;
/// A disk with less free space is full, in bytes.
const FULL_BELOW_BYTES: u64 = 2 << 20;

/// The ballast of a data directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Ballast {
    directory: Arc<Dir>,
    /// Held while the file changes.
    change: Arc<Mutex<()>>,
}

impl Ballast {
    #[must_use]
    pub fn new(directory: Dir) -> Self {
        Self {
            directory: Arc::new(directory),
            change: Arc::default(),
        }
    }

    /// Frees space if the disk is full. Returns false if it is full and no ballast is left.
    pub fn make_room(&self) -> io::Result<bool> {
        if free_bytes(&self.directory)? >= FULL_BELOW_BYTES {
            return Ok(true);
        }
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match self.open(OpenOptions::new().write(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length == 0 {
            return Ok(false);
        }
        file.set_len(length.saturating_sub(STEP_BYTES))?;
        Ok(true)
    }

    /// Restores the ballast, if the disk then still has this much free space.
    pub fn restore(&self, reserved_bytes: u64) -> io::Result<()> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.open(private_file().append(true).create(true))?;
        let missing = BALLAST_BYTES.saturating_sub(file.metadata()?.len());
        let needed = reserved_bytes.max(FULL_BELOW_BYTES).saturating_add(missing);
        if missing == 0 || free_bytes(&self.directory)? < needed {
            return Ok(());
        }
        // Random, because some file systems store no zeros.
        let mut bytes = vec![0; usize::try_from(missing).map_err(io::Error::other)?];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        file.write_all(&bytes)
    }

    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        self.directory.open_with(FILE, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir;

    #[test]
    fn ballast_is_restored_only_beyond_the_reserve() {
        let directory = tempfile::tempdir().unwrap();
        let data = data_dir::open(directory.path()).unwrap();
        let ballast = Ballast::new(data.try_clone().unwrap());
        ballast.restore(u64::MAX).unwrap();
        assert_eq!(data.metadata(FILE).unwrap().len(), 0);
        ballast.restore(0).unwrap();
        ballast.restore(0).unwrap();
        assert_eq!(data.metadata(FILE).unwrap().len(), BALLAST_BYTES);
        // This disk is not full.
        assert!(ballast.make_room().unwrap());
        assert_eq!(data.metadata(FILE).unwrap().len(), BALLAST_BYTES);
    }
}
