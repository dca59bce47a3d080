//! Limits attempts to sign up or in, by IP address and by account, in fixed windows.

use std::net::IpAddr;
use std::time::Duration;

use pinhole_ground::ip_network::network_of;
use pinhole_ground::rate_limit::RateLimit;
use tokio::time::Instant;

/// Length of a window.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(180);
/// Attempts from one IP address in a window. Many users may share an address.
pub const MAX_ATTEMPTS_PER_IP: u32 = 60;
/// Attempts on one account in a window.
///
/// Source: Open WebUI `routers/auths.py`, `signin_rate_limiter`.
pub const MAX_ATTEMPTS_PER_ACCOUNT: u32 = 15;

/// Recent attempts.
pub(super) struct AttemptLimits {
    ips: RateLimit<Option<IpAddr>>,
    accounts: RateLimit<String>,
}

impl AttemptLimits {
    pub(super) fn new() -> Self {
        Self {
            ips: RateLimit::new(MAX_ATTEMPTS_PER_IP, ATTEMPT_WINDOW),
            accounts: RateLimit::new(MAX_ATTEMPTS_PER_ACCOUNT, ATTEMPT_WINDOW),
        }
    }

    /// Counts an attempt. The error is the time to wait. All unknown addresses share one window.
    pub(super) fn count_ip(&self, ip: Option<IpAddr>) -> Result<(), Duration> {
        self.ips.count(ip.map(network_of), Instant::now())
    }

    /// Counts an attempt. The error is the time to wait. The account need not exist.
    pub(super) fn count_account(&self, email: &str) -> Result<(), Duration> {
        self.accounts.count(email.to_owned(), Instant::now())
    }
}
