//! Events as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::{Stream, stream};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::LiveUser;
use super::error::ApiError;
use crate::app::App;
use crate::chat::event::{Full, GAP};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only this chat's events; without it, all of the user's.
    chat_id: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// `GET /api/events?chat_id=`: the user's events from now on, each as Open WebUI's `events`
/// message in JSON and with an id. After `Last-Event-ID`, which browsers send when they connect
/// again, from the next one on. It ends when what the caller showed counts no longer.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "events",
    operation_id = "listen",
    summary = "The caller's events from now on, or from the one after `Last-Event-ID`",
    params(Filter, ("Last-Event-ID" = Option<String>, Header, description = "The last event that was heard.")),
    responses(
        (status = 200, description = "each as Open WebUI's `events` message, with an id", content_type = "text/event-stream", body = String),
        (status = 429, description = "the caller listens too often"),
        (status = 503, description = "the server has as many listeners as it can serve"),
    ),
)]
async fn listen(
    State(app): State<Arc<App>>,
    caller: LiveUser,
    filter: Result<Query<Filter>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let LiveUser { user, session: presence } = caller;
    let Query(Filter { chat_id }) =
        filter.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    // Bytes that are no text are the id of nothing.
    let last = headers.get("last-event-id");
    let last = last.map(|id| id.to_str().unwrap_or_default());
    let listener = app.events.listen(&user.id, last).map_err(|full| {
        let status = match full {
            Full::User => StatusCode::TOO_MANY_REQUESTS,
            Full::Server => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::new(status, full.to_string())
    })?;
    let events = stream::unfold(
        (app, listener, presence, chat_id),
        async |(app, mut listener, presence, chat_id)| {
            loop {
                let heard = tokio::select! {
                    heard = listener.next() => heard,
                    () = presence.over() => return None,
                };
                if chat_id.is_none() || chat_id == heard.chat_id || heard.kind == GAP {
                    let sent = Sent::default()
                        .id(app.events.id(&heard))
                        .data(heard.json.get());
                    return Some((Ok(sent), (app, listener, presence, chat_id)));
                }
            }
        },
    );
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
