//! Rates that all hosts share.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;

/// How long a request waits for Redis.
const MAX_WAIT: Duration = Duration::from_millis(250);
const COUNT: &str = include_str!("scripts/count.lua");

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum RateScope {
    /// Requests for images and chat completions, by user.
    Requests,
    /// Attempts to sign in, by network.
    SignInNetwork,
    /// Attempts to sign in, by a digest of the email.
    SignInAccount,
}

impl RateScope {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::SignInNetwork => "sign-in-network",
            Self::SignInAccount => "sign-in-account",
        }
    }
}

/// How many are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// At once, and in each window.
    pub max: NonZeroU32,
    pub window: Duration,
}

impl Shared {
    /// Counts one more. Returns the time to wait; zero if it is allowed. `None` if Redis does not respond: then each
    /// host counts by itself.
    ///
    /// Source: the generic cell rate algorithm, ITU-T I.371.
    pub(super) async fn count(
        &self,
        scope: RateScope,
        key: &str,
        quota: Quota,
    ) -> Option<Duration> {
        if !self.link.is_up() {
            return None;
        }
        let window_ms = quota.window.as_secs_f64() * 1000.0;
        let mut command = redis::cmd("EVAL");
        command.arg(COUNT).arg(1);
        command.arg(self.keys.rate(scope.name(), key));
        command.arg(window_ms / f64::from(quota.max.get()));
        command.arg(window_ms);
        match timeout(MAX_WAIT, self.link.query::<u64>(&command)).await {
            Ok(counted) => counted.ok().map(Duration::from_millis),
            Err(_) => {
                // Otherwise each request would wait.
                self.link.reset();
                None
            }
        }
    }
}
