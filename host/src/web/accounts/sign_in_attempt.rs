//! Attempts to sign up or in, which are limited and recorded.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;

use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;

use crate::accounts;
use crate::app::App;
use crate::store::SessionClient;
use crate::web::client_ip::ClientIp;
use crate::web::error::ApiError;

/// Length of the name of a client that a session shows, in bytes. A longer one is cut.
const MAX_USER_AGENT_BYTES: usize = 200;

/// An attempt to sign up or in. Extracting it counts it for the client's IP address, before the body
/// is read.
pub(super) struct SignInAttempt {
    ip: Option<IpAddr>,
    user_agent: String,
}

impl FromRequestParts<Arc<App>> for SignInAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let ClientIp(client) = ClientIp::new(parts, &app.clients);
        let user_agent = parts.headers.get(USER_AGENT);
        let user_agent = user_agent.and_then(|name| name.to_str().ok());
        let attempt = Self {
            ip: client.map(|client| client.ip),
            user_agent: plain(user_agent.unwrap_or_default(), MAX_USER_AGENT_BYTES),
        };
        app.accounts
            .count_attempt(attempt.ip)
            .await
            .inspect_err(|error| attempt.record_refusal(app, "an attempt to sign in", error))?;
        Ok(attempt)
    }
}

impl SignInAttempt {
    /// What the user of the session sees of this client.
    pub(super) fn into_client(self) -> SessionClient {
        SessionClient {
            user_agent: self.user_agent,
            ip: self
                .ip
                .map_or_else(String::new, |ip| ip.to_canonical().to_string()),
        }
    }

    /// Records that the attempt was refused.
    pub(super) fn record_refusal(&self, app: &App, purpose: &str, error: &accounts::Error) {
        record_refusal(app, Actor::Client(self.ip), purpose, error);
    }
}

/// Records an attempt that was refused because of its credentials or their number.
pub(super) fn record_refusal(app: &App, actor: Actor<'_>, purpose: &str, error: &accounts::Error) {
    use accounts::Error::{InvalidCredentials, TooManyAttempts, UnknownKey, WrongSetupCode};
    let guard = match error {
        InvalidCredentials | UnknownKey | TooManyAttempts { .. } => None,
        WrongSetupCode => Some(Guard::SetupCode),
        _ => return,
    };
    app.audit.record(&Event {
        kind: RefusalKind::Access,
        guard,
        actor,
        engine: "",
        job: "",
        message: &format!("{purpose}: {error}"),
    });
}
