//! Open WebUI's image API: a request in, a job, the addresses of its stored pictures out.

mod config;
mod fields;
mod form;
mod verify;

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use http::header::HeaderMap;
use serde_json::{Value, json};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth;
use super::error::ApiError;
use super::openapi::shape;
use super::settings::MAX_SETTINGS_BODY_BYTES;
use super::image_reference::{MAX_EDIT_BODY_BYTES, check_room, named};
use crate::app::App;
use pinhole_sandbox::JobContext;
use pinhole_images::Image;
use crate::jobs::{self, Finished};
use crate::store::{FileRow, User};

use form::Form;

/// What the field that names pictures to change is called.
const IMAGE: &str = "image";

/// Every route of the image API.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let longer = DefaultBodyLimit::max(MAX_EDIT_BODY_BYTES);
    OpenApiRouter::new()
        .routes(routes!(generate))
        .routes(routes!(edit).layer(longer))
        .routes(routes!(models))
        .routes(routes!(verify::verify_saved))
        .routes(routes!(verify::verify))
        .routes(routes!(config::show))
        .routes(routes!(config::update).layer(DefaultBodyLimit::max(MAX_SETTINGS_BODY_BYTES)))
}

/// `POST /api/v1/images/generations`
#[utoipa::path(
    post,
    path = "/api/v1/images/generations",
    tag = "images",
    operation_id = "generate_images",
    summary = "Make pictures and keep them",
    request_body = shape::Generation,
    responses(
        (status = 200, description = "the pictures", body = [shape::Made]),
        (status = 403, description = "pictures are switched off, or not for this user"),
        (status = 422, description = "fields of the body cannot be used"),
    ),
)]
async fn generate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::painter(&app, &headers).await?;
    let form = Form::read_generation(request).await?;
    if !app.jobs.current().settings.enabled {
        return Err(ApiError::prohibited());
    }
    let asker = auth::asker(&app, &user).await?;
    let request = form.into_request(&app.jobs, asker, false);
    let made = app.jobs.generate(request, &control()).await;
    answer(&app, &user, made).await
}

/// `POST /api/v1/images/edit`
#[utoipa::path(
    post,
    path = "/api/v1/images/edit",
    tag = "images",
    operation_id = "edit_images",
    summary = "Change pictures and keep the new ones",
    request_body = shape::ChangeBody,
    responses(
        (status = 200, description = "the pictures", body = [shape::Made]),
        (status = 403, description = "editing is switched off, or not for this user"),
        (status = 422, description = "fields of the body cannot be used"),
    ),
)]
async fn edit(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::painter(&app, &headers).await?;
    let (form, images) = Form::read_edit(request).await?;
    if !app.jobs.current().settings.edit.enabled {
        return Err(ApiError::prohibited());
    }
    let sources = load(&app, &user, &images).await;
    let sources = sources.map_err(ApiError::bracketed)?;
    let asker = auth::asker(&app, &user).await?;
    let request = form.into_request(&app.jobs, asker, true);
    let made = app.jobs.edit(request, sources, None, &control()).await;
    answer(&app, &user, made).await
}

/// `GET /api/v1/images/models`: those of the engine that generates, as its upstream lists them.
#[utoipa::path(
    get,
    path = "/api/v1/images/models",
    tag = "images",
    operation_id = "list_image_models",
    summary = "The models of the engine that generates",
    responses(
        (status = 200, description = "as its upstream lists them", body = [shape::Model]),
        (status = 400, description = "the upstream cannot be asked"),
    ),
)]
async fn models(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let models = app
        .jobs
        .models(None, Some(&user.id))
        .await
        .map_err(|error| {
            let line = error.for_operator();
            tracing::warn!("the image models cannot be listed: {line}");
            ApiError::from(error).bracketed()
        })?;
    let entries = models.into_iter();
    let entries = entries.map(|model| json!({"id": model.id, "name": model.name}));
    Ok(Json(entries.collect()))
}

/// The pictures to change: data URLs, addresses of stored files and their ids.
async fn load(app: &App, user: &User, images: &[String]) -> Result<Vec<Image>, ApiError> {
    let mut sources = Vec::new();
    for image in images {
        check_room(&sources)?;
        sources.push(named(app, user, IMAGE, image).await?);
    }
    Ok(sources)
}

/// Keeps the pictures and tells where they are.
///
/// Source: Open WebUI 0.6.43 has `url`; later releases add the others.
async fn answer(
    app: &App,
    user: &User,
    made: Result<Finished, jobs::Error>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let finished = made.map_err(|error| ApiError::from(error).bracketed())?;
    let kept = app.keep(user, &finished, json!({})).await;
    let kept = kept.map_err(|error| ApiError::internal(&error))?;
    let entry = |file: &FileRow| {
        json!({
            "url": file.url(),
            "id": file.id,
            "name": file.name,
            "content_type": file.media_type,
        })
    };
    Ok(Json(kept.iter().map(entry).collect()))
}

fn control() -> JobContext {
    JobContext::new(uuid::Uuid::new_v4().to_string())
}
