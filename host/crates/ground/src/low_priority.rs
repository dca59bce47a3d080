//! Long computations: each runs on a thread of its own at low priority, so that requests and timers do not wait
//! for it.
//!
//! The callers limit how many run at once. Starting a thread takes a few microseconds, the computation
//! milliseconds.

use std::io;
use std::thread;

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// The nice value of the threads, from 0 to 19 on Linux. The server's other threads have about nine times their
/// weight, but other busy programs do not starve them.
pub const LOW_PRIORITY: i32 = 10;

/// Runs a computation to its end, even if the caller goes away. Fails if no thread can be started, or if the
/// computation panics.
pub async fn compute<T: Send + 'static>(
    computation: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("low-priority".to_owned())
        .spawn(move || {
            // On Linux a priority belongs to a thread. If it is refused, the thread runs without it.
            setpriority_process(None, LOW_PRIORITY).ok();
            sender.send(computation()).ok();
        })?;
    receiver
        .await
        .map_err(|_| io::Error::other("the computation crashed"))
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn computation_has_low_priority() {
        let before = getpriority_process(None).unwrap();
        let during = compute(|| getpriority_process(None).unwrap()).await;
        assert_eq!(during.unwrap(), before.max(LOW_PRIORITY));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn panic_of_a_computation_is_an_error() {
        let crashed = compute(|| panic!("as a decoder might")).await;
        assert!(crashed.unwrap_err().to_string().contains("crashed"));
    }
}
