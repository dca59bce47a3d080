//! Measures whether a peer is too slow.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::clients::MinRate;

/// Measures how long a peer makes the server wait. Time in which the server does not wait does not count.
pub(super) struct Pace {
    rate: MinRate,
    /// Bytes of the current portion.
    bytes: usize,
    /// Waiting time that is left for the portion.
    portion_left: Duration,
    /// Waiting time that is left for the whole transfer.
    total_left: Duration,
    waiting_since: Option<Instant>,
    /// Ends when the waiting time ends.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(rate: MinRate, total: Duration) -> Self {
        Self {
            rate,
            bytes: 0,
            portion_left: rate.time,
            total_left: total,
            waiting_since: None,
            timer: None,
        }
    }

    /// The peer has sent or taken these bytes.
    pub(super) fn advance(&mut self, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            let waited = since.elapsed();
            self.portion_left = self.portion_left.saturating_sub(waited);
            self.total_left = self.total_left.saturating_sub(waited);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= self.rate.bytes {
            self.start_portion();
        }
    }

    /// The server does not wait for the peer any more. The next wait is the first of a portion.
    pub(super) fn pause(&mut self) {
        self.waiting_since = None;
        self.start_portion();
    }

    /// The server waits for the peer. Ready if the peer is too slow.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            let end = now + self.portion_left.min(self.total_left);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(end),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(end))),
            }
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(())
    }

    fn start_portion(&mut self) {
        self.bytes = 0;
        self.portion_left = self.rate.time;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, sleep};

    use super::*;

    const RATE: MinRate = MinRate {
        bytes: 100,
        time: Duration::from_secs(10),
    };
    const TOTAL: Duration = Duration::from_secs(60);

    /// Bytes and the waiting time before them, in seconds. Returns the time until the peer was too slow;
    /// `None` if it never was.
    async fn run(arrivals: &[(usize, u64)]) -> Option<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, TOTAL);
        for (bytes, secs) in arrivals {
            let wait = sleep(Duration::from_secs(*secs));
            tokio::select! {
                biased;
                () = wait => pace.advance(*bytes),
                () = poll_fn(|context| pace.poll_too_slow(context)) => {
                    return Some(start.elapsed().as_secs());
                }
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn pace_refuses_stalls_drips_and_endless_transfers() {
        assert_eq!(run(&[(100, 9), (100, 9), (100, 9)]).await, None);
        assert_eq!(run(&[(50, 5), (50, 4), (50, 5), (50, 4)]).await, None);
        let stalled = run(&[(1_000_000, 1), (1, 30)]).await;
        assert_eq!(stalled, Some(11), "a fast start gives no credit");
        let drips = [(1, 4); 20];
        assert_eq!(run(&drips).await, Some(10), "drips");
        let slow = [(100, 9); 20];
        assert_eq!(run(&slow).await, Some(60), "in total");
    }

    #[tokio::test(start_paused = true)]
    async fn pace_does_not_count_time_in_which_the_server_does_not_wait() {
        let mut pace = Pace::new(RATE, TOTAL);
        for _ in 0..10 {
            advance(Duration::from_secs(100)).await;
            let is_too_slow = poll_fn(|context| Poll::Ready(pace.poll_too_slow(context))).await;
            assert!(is_too_slow.is_pending());
            pace.advance(1);
        }
    }
}
