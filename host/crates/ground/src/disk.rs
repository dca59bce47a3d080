//! The disk of a directory: its free space, and errors of an exhausted system.

use std::io::{self, ErrorKind};

use cap_std::fs::{Dir, File};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Length from which a file system writes a file faster if it knows the length first, in bytes.
const MIN_ALLOCATED_BYTES: u64 = 256 << 10;

/// The space that this process may still use on the disk of a directory, in bytes.
pub fn free_bytes(directory: &Dir) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Allocates the space of a new file, so that the file system finds it once and not for each page. A file system
/// that cannot do it writes more slowly.
pub fn allocate(file: &File, bytes: u64) {
    if bytes >= MIN_ALLOCATED_BYTES {
        rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes).ok();
    }
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
