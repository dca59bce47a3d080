//! Limits attempts to sign up or in, by IP address and by account, in fixed windows.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use pinhole_ground::ip_network::network_of;
use pinhole_ground::rate_limit::RateLimit;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::cluster::{Cluster, Quota, RateScope};

/// Length of a window.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(180);
/// Attempts from one IP address in a window. Many users may share an address.
pub const MAX_ATTEMPTS_PER_IP: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Attempts on one account in a window.
///
/// Source: Open WebUI `routers/auths.py`, `signin_rate_limiter`.
pub const MAX_ATTEMPTS_PER_ACCOUNT: NonZeroU32 = NonZeroU32::new(15).expect("not zero");

/// Recent attempts.
pub(super) struct AttemptLimits {
    ips: RateLimit<Option<IpAddr>>,
    accounts: RateLimit<String>,
    cluster: Option<Cluster>,
}

impl AttemptLimits {
    pub(super) fn new(cluster: Option<Cluster>) -> Self {
        Self {
            ips: RateLimit::new(MAX_ATTEMPTS_PER_IP.get(), ATTEMPT_WINDOW),
            accounts: RateLimit::new(MAX_ATTEMPTS_PER_ACCOUNT.get(), ATTEMPT_WINDOW),
            cluster,
        }
    }

    /// Counts an attempt. The error is the time to wait. All unknown addresses share one window.
    pub(super) async fn count_ip(&self, ip: Option<IpAddr>) -> Result<(), Duration> {
        let network = ip.map(network_of);
        self.ips.count(network, Instant::now())?;
        let key = network.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        let scope = RateScope::SignInNetwork;
        self.count_all(scope, &key, MAX_ATTEMPTS_PER_IP).await
    }

    /// Counts an attempt. The error is the time to wait. The account need not exist.
    pub(super) async fn count_account(&self, email: &str) -> Result<(), Duration> {
        self.accounts.count(email.to_owned(), Instant::now())?;
        // Redis gets no email.
        let key = hex(&Sha256::digest(email));
        let scope = RateScope::SignInAccount;
        self.count_all(scope, &key, MAX_ATTEMPTS_PER_ACCOUNT).await
    }

    /// Counts an attempt on all hosts.
    async fn count_all(
        &self,
        scope: RateScope,
        key: &str,
        max: NonZeroU32,
    ) -> Result<(), Duration> {
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        let quota = Quota {
            max,
            window: ATTEMPT_WINDOW,
        };
        match cluster.count(scope, key, quota).await {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }
}
