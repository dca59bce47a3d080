//! What one call uses: CPU time, memory, and traffic with each of its upstreams.
//!
//! [`Usage`](crate::Usage) counts a whole job, which can be several calls of several engines. A [`CallUsage`] belongs to
//! one call, so that it can be attributed to one version of one engine.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What one call has used so far.
#[derive(Debug, Default)]
pub struct CallUsage {
    cpu_nanos: AtomicU64,
    peak_memory_bytes: AtomicUsize,
    /// One row for each upstream that the call has reached. A request looks up its row once.
    traffic: Mutex<Vec<Arc<TrafficRow>>>,
}

/// The traffic of a call with one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The upstream's name, as the component declares it. `None`: images at other hosts than the upstreams'.
    pub upstream: Option<Arc<str>>,
    /// Requests that were sent, WebSockets and retries included.
    pub requests: u64,
    /// Requests without a complete response, and those with a status of 400 or more.
    pub failed_requests: u64,
    /// Length of the request bodies and of the messages sent over WebSockets.
    pub sent_bytes: u64,
    /// Length of the decoded response bodies and of the messages received over WebSockets.
    pub received_bytes: u64,
}

/// Counts the traffic with one upstream.
#[derive(Debug, Default)]
pub(crate) struct TrafficRow {
    upstream: Option<Arc<str>>,
    requests: AtomicU64,
    failed_requests: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

/// A request that was sent, in the traffic of its upstream.
#[derive(Debug)]
pub(crate) struct CountedRequest {
    row: Arc<TrafficRow>,
    has_failed: bool,
}

impl CallUsage {
    /// CPU time of the guest and of the host functions that it called. Known when the call has ended.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// The largest size of the guest's memories and tables together, in bytes.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> usize {
        self.peak_memory_bytes.load(Ordering::Relaxed)
    }

    /// The traffic with each upstream that the call has sent a request to.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        self.rows().iter().map(|row| row.read()).collect()
    }

    pub(crate) fn add_cpu_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn record_memory(&self, bytes: usize) {
        self.peak_memory_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// The row of a granted upstream; `None` is the row of other hosts with images.
    pub(crate) fn traffic_row(&self, upstream: Option<&str>) -> Arc<TrafficRow> {
        let mut rows = self.rows();
        if let Some(row) = rows.iter().find(|row| row.upstream.as_deref() == upstream) {
            return row.clone();
        }
        let row = Arc::new(TrafficRow {
            upstream: upstream.map(Arc::from),
            ..TrafficRow::default()
        });
        rows.push(row.clone());
        row
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Arc<TrafficRow>>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrafficRow {
    fn read(&self) -> Traffic {
        Traffic {
            upstream: self.upstream.clone(),
            requests: self.requests.load(Ordering::Relaxed),
            failed_requests: self.failed_requests.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
        }
    }
}

impl CountedRequest {
    /// Counts a request with a body of this length.
    pub(crate) fn start(row: Arc<TrafficRow>, body_bytes: usize) -> Self {
        row.requests.fetch_add(1, Ordering::Relaxed);
        let request = Self {
            row,
            has_failed: false,
        };
        request.add_sent(body_bytes);
        request
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        let sent_bytes = &self.row.sent_bytes;
        sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        let received_bytes = &self.row.received_bytes;
        received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts the request as failed, once.
    pub(crate) fn fail(&mut self) {
        if !self.has_failed {
            self.has_failed = true;
            self.row.failed_requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_usage_has_one_row_for_each_upstream() {
        let usage = CallUsage::default();
        for upstream in [Some("api"), None, Some("api"), Some("files")] {
            let row = usage.traffic_row(upstream);
            let mut request = CountedRequest::start(row, 10);
            request.add_received(5);
            if upstream == Some("api") {
                request.fail();
                request.fail();
            }
        }
        let row = |upstream: Option<&str>, requests, failed_requests| Traffic {
            upstream: upstream.map(Arc::from),
            requests,
            failed_requests,
            sent_bytes: 10 * requests,
            received_bytes: 5 * requests,
        };
        assert_eq!(
            usage.traffic(),
            [
                row(Some("api"), 2, 2),
                row(None, 1, 0),
                row(Some("files"), 1, 0)
            ]
        );
    }

    #[test]
    fn call_usage_adds_time_and_retains_the_largest_memory() {
        let usage = CallUsage::default();
        for (millis, bytes) in [(2, 100), (3, 300), (0, 200)] {
            usage.add_cpu_time(Duration::from_millis(millis));
            usage.record_memory(bytes);
        }
        assert_eq!(usage.cpu_time(), Duration::from_millis(5));
        assert_eq!(usage.peak_memory_bytes(), 300);
    }
}
