//! Events as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::{Stream, stream};
use http::header::HeaderMap;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::auth;
use super::error::ApiError;
use crate::app::App;

#[derive(Deserialize)]
pub(super) struct Filter {
    /// Only this chat's events; without it, all of the user's.
    chat_id: Option<String>,
}

/// `GET /api/events?chat_id=`: the user's events from now on, each as Open WebUI's `events`
/// message in JSON.
pub(super) async fn listen(
    State(app): State<Arc<App>>,
    filter: Result<Query<Filter>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(filter) =
        filter.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let listener = app.events.listen();
    let events = stream::unfold(
        (listener, user, filter),
        async |(mut listener, user, filter)| {
            loop {
                let event = match listener.recv().await {
                    Ok(event) => event,
                    // A slow client loses the oldest; the newest still count.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                };
                let wanted = filter.chat_id.is_none() || filter.chat_id == event.place.chat_id;
                if event.user_id == user.id && wanted {
                    let sent = Sent::default().data(event.json().to_string());
                    return Some((Ok(sent), (listener, user, filter)));
                }
            }
        },
    );
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
