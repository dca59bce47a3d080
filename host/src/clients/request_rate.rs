//! The rate of a user's requests for images and chat completions.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use pinhole_ground::guard::Guard;

use crate::cluster::{Cluster, Quota as SharedQuota, RateScope};

/// Users whose requests are remembered. Beyond that, those who have been idle for a minute are forgotten.
const MAX_USERS: usize = 10_000;

/// Limits the requests of each user. A user may send those of one minute at once, to all hosts together.
pub struct RequestRate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    quota: SharedQuota,
    cluster: Option<Cluster>,
}

impl RequestRate {
    #[must_use]
    pub fn per_minute(requests: NonZeroU32, cluster: Option<Cluster>) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(requests)),
            clock: DefaultClock::default(),
            quota: SharedQuota {
                max: requests,
                window: Duration::from_secs(60),
            },
            cluster,
        }
    }

    /// Counts a request. The error is the time to wait.
    pub async fn count(&self, user_id: &str) -> Result<(), Duration> {
        self.count_own(user_id)?;
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        let scope = RateScope::Requests;
        match cluster.count(scope, user_id, self.quota).await {
            Some(wait) if Guard::RequestRate.applies(!wait.is_zero()) => Err(wait),
            _ => Ok(()),
        }
    }

    /// Counts a request to this host.
    fn count_own(&self, user_id: &str) -> Result<(), Duration> {
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

    #[tokio::test]
    async fn rate_limits_each_user_alone() {
        let rate = RequestRate::per_minute(NonZeroU32::new(3).unwrap(), None);
        for _ in 0..3 {
            rate.count("ada").await.unwrap();
        }
        let wait = rate.count("ada").await.unwrap_err();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        rate.count("bea").await.unwrap();
    }
}
