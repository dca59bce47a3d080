//! What the server believes and allows of its clients: proxies, origins, connections and rates.

mod allowed_origins;
mod connection_limits;
mod request_rate;
mod trusted_proxies;

use std::num::NonZeroU32;
use std::sync::Arc;

use pinhole_ground::guard::Guard;
use pinhole_ground::shares::Shares;

use crate::cluster::Cluster;

pub use allowed_origins::AllowedOrigins;
pub use connection_limits::{ConnectionLimits, DEFAULT_CONNECTIONS, MAX_BODY_TIME, MinRate};
pub use request_rate::RequestRate;
pub use trusted_proxies::{ClientIp, TrustedProxies};

/// Chat completions of one user at the same time.
pub const MAX_CHATS: usize = 20;
/// Chat completions of all users at the same time.
pub const MAX_ALL_CHATS: usize = 1_000;

/// What the operator sets for clients.
#[derive(Clone, Debug)]
pub struct ClientRules {
    /// `PINHOLE_TRUSTED_PROXIES`: the proxies that name the IP addresses of clients.
    pub proxies: TrustedProxies,
    /// `CORS_ALLOW_ORIGIN`: the origins of pages that may call the server from a browser.
    pub origins: AllowedOrigins,
    /// `PINHOLE_CONNECTIONS` is the number; the other limits are fixed.
    pub limits: ConnectionLimits,
    /// `PINHOLE_REQUESTS_PER_MINUTE`: requests of a user for images and chat completions.
    pub requests_per_minute: NonZeroU32,
    /// `PINHOLE_SOCKET_POLLING`: sockets may use long polling, and not only WebSocket.
    pub has_polling: bool,
}

/// What the server believes and allows of its clients.
pub struct Clients {
    pub proxies: TrustedProxies,
    pub origins: AllowedOrigins,
    pub limits: ConnectionLimits,
    /// Of requests for images and chat completions, by user.
    pub rate: RequestRate,
    /// Sockets may use long polling.
    pub has_polling: bool,
    /// Running chat completions, by user.
    pub chats: Arc<Shares<String>>,
}

impl Clients {
    #[must_use]
    pub fn new(rules: ClientRules, cluster: Option<Cluster>) -> Self {
        Self {
            proxies: rules.proxies,
            origins: rules.origins,
            limits: rules.limits,
            rate: RequestRate::per_minute(rules.requests_per_minute, cluster),
            has_polling: rules.has_polling,
            chats: Shares::new(
                Guard::ChatShare.limit(MAX_ALL_CHATS),
                Guard::ChatShare.limit(MAX_CHATS),
            ),
        }
    }
}
