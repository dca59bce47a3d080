//! The origin at which a client reached the server, as an extractor.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::uri::Authority;

use super::client_ip::peer_ip;
use crate::app::App;
use crate::files::link::FileLinks;
use crate::settings::Settings;

/// The origin at which the client reached the server, such as `https://images.example`: by the headers of a trusted
/// proxy, or else of the request. Empty if the request names no host.
pub(super) struct RequestOrigin(String);

impl FromRequestParts<Arc<App>> for RequestOrigin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self(origin(parts, app).unwrap_or_default()))
    }
}

impl RequestOrigin {
    /// The links of a response to the request: below `WEBUI_URL`, or else below this origin.
    pub(super) fn links(self, app: &App, settings: &Settings) -> FileLinks {
        FileLinks {
            signer: app.accounts.links.clone(),
            base_url: settings.public_url.clone().unwrap_or(self.0),
            lifetime_secs: settings.link_secs,
        }
    }
}

/// `None` if the host is not one: what a client writes there goes only into its own links.
fn origin(parts: &Parts, app: &App) -> Option<String> {
    let (peer, proxies) = (peer_ip(parts), &app.clients.proxies);
    let host: Authority = match proxies.requested_host(peer, &parts.headers) {
        Some(host) => host.parse().ok()?,
        None => parts.uri.authority()?.clone(),
    };
    if host.host().is_empty() || host.as_str().contains('@') {
        return None;
    }
    let scheme = proxies.requested_scheme(peer, &parts.headers);
    Some(format!("{scheme}://{host}"))
}
