//! The client's IP address, as an extractor.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;

use crate::app::App;
use crate::clients::{self, Clients};

/// The client's IP address: that of the connection, or the one that a trusted proxy names. `None` if the request
/// came through no connection.
pub(super) struct ClientIp(pub(super) Option<clients::ClientIp>);

impl ClientIp {
    pub(super) fn new(parts: &Parts, clients: &Clients) -> Self {
        let client = peer_ip(parts).map(|peer| clients.proxies.client_ip(peer, &parts.headers));
        Self(client)
    }
}

impl FromRequestParts<Arc<App>> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self::new(parts, &app.clients))
    }
}

/// The IP address of the connection.
pub(super) fn peer_ip(parts: &Parts) -> Option<IpAddr> {
    let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    connection.map(|ConnectInfo(address)| address.ip())
}
