//! The response to requests that still run when the server stops.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorFormat};
use crate::app::App;

/// Time in which a handler whose job was stopped can still respond by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Responds with 503 in place of a handler that the shutdown interrupts.
pub(super) async fn respond(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let format = ErrorFormat::of(request.uri());
    let stopped = async {
        app.jobs.stopped().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        response = next.run(request) => response,
        () = stopped => ApiError::shutting_down().in_format(format).into_response(),
    }
}
