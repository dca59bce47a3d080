//! Measures whether a peer is too slow.

use std::pin::Pin;
use std::task::{Context, Poll};
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
        self.advance_at(bytes, Instant::now());
    }

    /// The server does not wait for the peer any more. The next wait is the first of a portion.
    pub(super) fn pause(&mut self) {
        self.waiting_since = None;
        self.start_portion();
    }

    /// The server waits for the peer. Ready if the peer is too slow.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_first = self.waiting_since.is_none();
        let deadline = self.deadline(Instant::now());
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if is_first {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }

    fn advance_at(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            let waited = now.duration_since(since);
            self.portion_left = self.portion_left.saturating_sub(waited);
            self.total_left = self.total_left.saturating_sub(waited);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= self.rate.bytes {
            self.start_portion();
        }
    }

    /// When the peer is too slow, if the server waits now.
    fn deadline(&mut self, now: Instant) -> Instant {
        let since = *self.waiting_since.get_or_insert(now);
        since + self.portion_left.min(self.total_left)
    }

    fn start_portion(&mut self) {
        self.bytes = 0;
        self.portion_left = self.rate.time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate {
        bytes: 100,
        time: Duration::from_secs(10),
    };
    const TOTAL: Duration = Duration::from_secs(60);

    /// Bytes and the time that the server waits for them, in seconds. Checks after how many seconds the peer is
    /// too slow.
    fn check(name: &str, arrivals: &[(usize, u64)], expected: Option<u64>) {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(RATE, TOTAL), start);
        let is_too_slow = |(bytes, secs): &(usize, u64)| {
            let deadline = pace.deadline(now);
            now += Duration::from_secs(*secs);
            pace.advance_at(*bytes, now);
            (deadline < now).then(|| deadline.duration_since(start).as_secs())
        };
        let too_slow = arrivals.iter().find_map(is_too_slow);
        assert_eq!(too_slow, expected, "{name}");
    }

    #[test]
    fn pace_refuses_stalls_drips_and_endless_transfers() {
        check("steady", &[(100, 9), (100, 9), (100, 9)], None);
        check("halves", &[(50, 5), (50, 4), (50, 5), (50, 4)], None);
        check("no credit", &[(1_000_000, 1), (1, 30)], Some(11));
        check("drips", &[(1, 4); 20], Some(10));
        check("endless", &[(100, 9); 20], Some(60));
    }

    #[test]
    fn pace_counts_only_the_time_in_which_the_server_waits() {
        let (mut pace, mut now) = (Pace::new(RATE, TOTAL), Instant::now());
        for _ in 0..10 {
            assert!(pace.deadline(now) > now);
            pace.advance_at(1, now);
            now += Duration::from_secs(100);
        }
    }
}
