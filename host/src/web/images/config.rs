//! The settings of the image API in the format of Open WebUI's form: all at once, by the names of their
//! environment variables. Secrets are masked.

mod form;
mod image_settings;
mod workflow_nodes;

use std::sync::Arc;

use axum::extract::State;

use super::valid_json::ValidJson;
use crate::app::App;
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

use form::Form;
use image_settings::ImageSettings;

/// `GET /api/v1/images/config`
#[utoipa::path(
    get,
    path = "/api/v1/images/config",
    tag = "images",
    operation_id = "describe_image_settings",
    summary = "Read the image settings. For administrators",
    responses((status = 200, description = "the settings; a secret that is set is `********`", body = ImageSettings)),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<ImageSettings>, ApiError> {
    Ok(Json(Form::new(&app).await?.into_settings()))
}

/// `POST /api/v1/images/config/update`
///
/// Applies all changes or none. A value that equals the displayed one changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/images/config/update",
    tag = "images",
    operation_id = "change_image_settings",
    summary = "Change the image settings. For administrators",
    request_body = ImageSettings,
    responses(
        (status = 200, description = "the new settings", body = ImageSettings),
        (status = 400, description = "the server or an engine cannot use the settings; nothing is changed"),
        (status = 422, description = "fields are missing or have the wrong type"),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    ValidJson(settings): ValidJson<ImageSettings>,
) -> Result<Json<ImageSettings>, ApiError> {
    let changes = Form::new(&app).await?.changes(settings)?;
    app.change_settings(&user, changes).await?;
    Ok(Json(Form::new(&app).await?.into_settings()))
}
