//! Bindings, for administrators: their definitions, who gets which, and tests with values that are not stored.

mod definition;
mod list;
mod resolve;
mod trial;

use std::sync::Arc;

use axum::Extension;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::settings::SETTINGS_JSON;
use crate::app::App;

/// Length of an unknown name that an error repeats, in bytes.
const MAX_NAME_BYTES: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(list::define, list::remove))
        .routes(routes!(list::set_fallbacks))
        .routes(routes!(resolve::resolve))
        .routes(routes!(trial::verify))
        .routes(routes!(trial::list_models))
        .routes(routes!(trial::explain))
        .layer(Extension(SETTINGS_JSON))
}

/// 404: a binding that does not exist.
fn unknown_binding(name: &str) -> ApiError {
    let name = pinhole_ground::text::plain(name, MAX_NAME_BYTES);
    let detail = format!("unknown binding {name}: use one that GET /api/v1/bindings lists");
    ApiError::new(http::StatusCode::NOT_FOUND, detail)
}
