//! The rate of a user's requests for images and chat completions.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use pinhole_ground::guard::Guard;

/// Users whose requests are remembered. Beyond that, those who have been idle for a minute are forgotten.
const MAX_USERS: usize = 10_000;

/// Limits the requests of each user. A user may send those of one minute at once.
pub struct RequestRate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl RequestRate {
    #[must_use]
    pub fn per_minute(requests: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(requests)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request. The error is the time to wait.
    pub fn count(&self, user_id: &str) -> Result<(), Duration> {
        if self.limiter.len() > MAX_USERS {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(&user_id.to_owned()) {
            Err(refused) if Guard::RequestRate.applies(true) => {
                Err(refused.wait_time_from(self.clock.now()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_each_user_alone() {
        let rate = RequestRate::per_minute(NonZeroU32::new(3).unwrap());
        for _ in 0..3 {
            rate.count("ada").unwrap();
        }
        let wait = rate.count("ada").unwrap_err();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        rate.count("bea").unwrap();
    }
}
