//! The settings of the C library's allocator.
//!
//! By default, it raises the length from which a block is mapped by itself to that of the largest block that
//! was freed, up to 32 MiB. Afterwards, such blocks come from the heap of a thread, which cannot be returned
//! to the system while a later block is in use. A few large requests then leave the server with several times
//! the memory that it may hold.
//!
//! The heap of a thread is returned from its end. If that happens for a few MiB, images of usual size cost a
//! quarter more, because each of them gets new pages. So there are few heaps, each with a larger end.

/// Length from which a block is returned to the system as soon as it is freed, in bytes. Images of usual size
/// are shorter, because mapping costs more than reuse.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: i32 = 4 << 20;
/// Length of the unused end of a heap from which it is returned to the system, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIMMED_BYTES: i32 = 16 << 20;
/// Heaps of the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: i32 = 2;

/// Returns large blocks to the system. Call it before there are any.
pub(super) fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(
        unsafe_code,
        reason = "a function of the C library, which has no other preconditions"
    )]
    // SAFETY: mallopt may be called at any time, from any thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIMMED_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Unused bytes of the heaps. With fewer, nothing is returned.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const UNUSED_BYTES: usize = 16 << 20;
/// Change of the unused bytes since the last call. With a smaller one, nothing is returned.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const CHANGED_BYTES: usize = 1 << 20;

/// Returns unused pages within the heaps to the system, if there are many and their number has changed since the last
/// call. `last` is the result of that call: the unused bytes.
///
/// It takes some milliseconds, in which other threads may wait: call it when no call runs.
pub(super) fn return_unused_pages(last: usize) -> usize {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(
        unsafe_code,
        reason = "functions of the C library, which have no preconditions"
    )]
    // SAFETY: both may be called at any time, from any thread.
    unsafe {
        let unused = libc::mallinfo2().fordblks;
        if unused > UNUSED_BYTES && unused.abs_diff(last) > CHANGED_BYTES {
            libc::malloc_trim(0);
        }
        unused
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    last
}
