//! The disk of a directory: its free space, and errors of an exhausted system.

use std::io::{self, ErrorKind};

use cap_std::fs::Dir;
use rustix::io::Errno;

/// The space that this process may still use on the disk of a directory, in bytes.
pub fn free_bytes(directory: &Dir) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// True if an operation failed because the disk is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// True if an operation failed because the process or the system has too many open files.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}
