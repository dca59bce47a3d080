//! What has happened to one exchange.

use std::time::Duration;

use tokio::time::Instant;

use crate::case::{Exchange, Moment};
use crate::display::counted;

#[derive(Clone, Default)]
pub(super) struct ExchangeState {
    pub(super) requests: usize,
    pub(super) last_request: Option<Instant>,
    pub(super) replies: usize,
    /// The start of the last reply.
    pub(super) last_reply: Option<Instant>,
    pub(super) open_requests: usize,
    /// The open requests when the job ended.
    pub(super) open_at_end: usize,
}

impl ExchangeState {
    /// The failure if a request at this time is too early after the last one.
    pub(super) fn check_gap(&self, exchange: &Exchange, now: Instant) -> Option<String> {
        let min_gap = Duration::from_millis(exchange.min_gap_ms());
        let gap = now - self.last_request?;
        (gap < min_gap).then(|| {
            let gap_ms = gap.as_millis();
            format!("expected at least {min_gap:?} between two requests, got {gap_ms} ms")
        })
    }

    /// The failure if a request of the next exchange at this time is too early after this reply.
    pub(super) fn check_delay(&self, next: &Exchange, now: Instant) -> Option<String> {
        let min_delay = Duration::from_millis(next.at_least_ms_after_reply);
        if min_delay.is_zero() {
            return None;
        }
        let Some(replied) = self.last_reply else {
            return Some("arrived before the reply of the previous exchange".to_owned());
        };
        let delay = now - replied;
        (delay < min_delay).then(|| {
            let delay_ms = delay.as_millis();
            format!(
                "expected at least {min_delay:?} after the reply of the previous exchange, got {delay_ms} ms"
            )
        })
    }
}

impl Moment {
    /// What must happen, for a failure.
    pub(super) fn describe(&self) -> String {
        match (&self.requested, &self.replied) {
            (Some(name), _) => {
                let requests = counted(self.times.unwrap_or(1), "request");
                format!("{requests} of exchange {name:?}")
            }
            (_, Some(name)) => format!("the reply of exchange {name:?}"),
            _ if self.cancelled.is_some() => "the end of the job by its caller".to_owned(),
            _ => counted(self.reports.unwrap_or(0), "progress report"),
        }
    }
}
