//! Limits of the connections of clients.

use std::time::Duration;

/// Connections of all clients, unless the operator sets another number.
pub const DEFAULT_CONNECTIONS: usize = 10_000;
/// One IP address has at most this part of all connections.
const IP_ADDRESS_PART: usize = 4;
/// How long a connection may be idle: longer than reverse proxies keep theirs open (Caddy: two minutes), so
/// that they rarely send a request on a connection that the server is closing.
const IDLE_TIME: Duration = Duration::from_secs(150);
/// From the first byte of a request's head to its last.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Length of the head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// 16 KiB in a second, over 15 seconds.
const BODY_RATE: MinRate = MinRate {
    bytes: 240 << 10,
    time: Duration::from_secs(15),
};
/// Time in which the body of a request must arrive.
pub const MAX_BODY_TIME: Duration = Duration::from_secs(300);
/// 16 KiB in a second, over 30 seconds.
const RESPONSE_RATE: MinRate = MinRate {
    bytes: 480 << 10,
    time: Duration::from_secs(30),
};

/// Limits of the connections of clients.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections of all clients.
    pub max_connections: usize,
    /// Connections of one IP address.
    pub max_connections_per_ip: usize,
    /// How long a connection may be idle before and between requests.
    pub idle_time: Duration,
    /// From the first byte of a request's head to its last.
    pub head_time: Duration,
    /// Length of the head of a request.
    pub max_head_bytes: usize,
    /// Of the body of a request.
    pub body_rate: MinRate,
    /// Time that the server may wait for a body in total.
    pub body_time: Duration,
    /// Of the bytes that a client reads.
    pub response_rate: MinRate,
}

/// A minimum rate: for each of these portions, the peer makes the server wait at most this time.
///
/// Earlier portions that were faster do not allow a later one to be slower.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// Length of a portion.
    pub bytes: usize,
    pub time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::with_connections(DEFAULT_CONNECTIONS)
    }
}

impl ConnectionLimits {
    /// The limits with this number of connections.
    #[must_use]
    pub fn with_connections(max_connections: usize) -> Self {
        Self {
            max_connections,
            max_connections_per_ip: max_connections.div_ceil(IP_ADDRESS_PART),
            idle_time: IDLE_TIME,
            head_time: HEAD_TIME,
            max_head_bytes: MAX_HEAD_BYTES,
            body_rate: BODY_RATE,
            body_time: MAX_BODY_TIME,
            response_rate: RESPONSE_RATE,
        }
    }
}
