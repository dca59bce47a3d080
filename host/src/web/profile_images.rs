//! Profile images, which web clients show next to messages: one for all users, and one for all models.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::User;
use crate::app::App;

const USER_IMAGE: &str = include_str!("profile_images/user.svg");
const MODEL_IMAGE: &str = include_str!("profile_images/model.svg");

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(user_image))
        .routes(routes!(model_image))
}

/// `GET /api/v1/users/{id}/profile/image`. Unknown users have one too, so that it shows nothing about them.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/profile/image",
    tag = "people",
    operation_id = "user_image",
    summary = "Return the image that clients show for every user",
    params(("id" = String, Path, description = "Any id.")),
    responses((status = 200, description = "the image", content_type = "image/svg+xml", body = String)),
)]
async fn user_image(_: State<Arc<App>>, _: User) -> Response {
    svg(USER_IMAGE)
}

/// `GET /api/v1/models/model/profile/image?id=`
#[utoipa::path(
    get,
    path = "/api/v1/models/model/profile/image",
    tag = "chat",
    operation_id = "model_image",
    summary = "Return the image that clients show for every model",
    responses((status = 200, description = "the image", content_type = "image/svg+xml", body = String)),
)]
async fn model_image(_: State<Arc<App>>, _: User) -> Response {
    svg(MODEL_IMAGE)
}

fn svg(text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (CACHE_CONTROL, "private, max-age=86400"),
    ];
    (headers, text).into_response()
}
