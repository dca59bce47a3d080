//! Engines: what a user may use, and their versions, which administrators install, replace and roll back while the server
//! runs.
//!
//! The control socket serves these routes too.

mod bindings;
mod changes;
mod details;
mod install;
mod log_stream;
mod stats;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use crate::app::App;
use crate::releases::ReleaseError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(bindings::list))
        .routes(routes!(bindings::list_models))
        .routes(routes!(install::install))
        .routes(routes!(install::update))
        .routes(routes!(details::describe, changes::remove))
        .routes(routes!(details::history))
        .routes(routes!(log_stream::stream_log))
        .routes(routes!(stats::stats))
        .routes(routes!(changes::roll_back))
        .routes(routes!(changes::pin))
        .routes(routes!(changes::unpin))
        .routes(routes!(changes::promote))
        .routes(routes!(changes::abort))
        .routes(routes!(changes::grant))
        .routes(routes!(changes::change_requests))
}

/// Makes a change to its end, also if the client disconnects.
async fn uninterrupted<T: Send + 'static>(
    change: impl Future<Output = Result<T, ReleaseError>> + Send + 'static,
) -> Result<T, ApiError> {
    let made = tokio::spawn(change).await;
    Ok(made.map_err(anyhow::Error::from)??)
}
