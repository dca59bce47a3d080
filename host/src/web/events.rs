//! Events of a user as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::LiveUser;
use super::error::ApiError;
use super::extractors::Query;
use crate::accounts::LiveSession;
use crate::app::App;
use crate::event::{GAP, ListenError, Listener};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventFilter {
    /// Only events of this chat. Default: all of the user's events.
    chat_id: Option<String>,
}

impl From<ListenError> for ApiError {
    fn from(error: ListenError) -> Self {
        let status = match error {
            ListenError::UserLimit => StatusCode::TOO_MANY_REQUESTS,
            ListenError::ServerLimit => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// `GET /api/events?chat_id=`. The data of each event is Open WebUI's `events` message. Browsers send
/// `Last-Event-ID` when they reconnect. The stream ends when the caller's key or session becomes
/// invalid.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "events",
    operation_id = "listen",
    summary = "Stream the caller's new events, or all events after `Last-Event-ID`",
    params(EventFilter, ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that the client received.")),
    responses(
        (status = 200, description = "Open WebUI's `events` messages, each with an id", content_type = "text/event-stream", body = String),
        (status = 429, description = "the caller has too many open event streams"),
        (status = 503, description = "the server has too many open event streams"),
    ),
)]
async fn listen(
    State(app): State<Arc<App>>,
    LiveUser { user, session }: LiveUser,
    Query(EventFilter { chat_id }): Query<EventFilter>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    // An id that is not text is unknown.
    let last_id = headers
        .get("last-event-id")
        .map(|id| id.to_str().unwrap_or_default());
    let listener = app.events.listen(&user.id, last_id)?;
    // An event of another host after the response must not be missed.
    listener.wait_until_followed().await;
    let subscription = Subscription {
        app,
        listener,
        session,
        chat_id,
    };
    let events = stream::unfold(subscription, async |mut state| {
        let event = state.next().await?;
        Some((Ok(event), state))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// State of an event stream.
struct Subscription {
    app: Arc<App>,
    listener: Listener,
    session: LiveSession,
    chat_id: Option<String>,
}

impl Subscription {
    /// The next event of the chat. `None` if the session has become invalid.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let received = tokio::select! {
                received = self.listener.next() => received,
                () = self.session.wait_until_invalid() => return None,
            };
            let is_of_chat = self.chat_id.is_none() || self.chat_id == received.chat_id;
            if is_of_chat || received.kind == GAP {
                let event = Event::default()
                    .id(self.app.events.id(&received))
                    .data(received.json.get());
                return Some(event);
            }
        }
    }
}
