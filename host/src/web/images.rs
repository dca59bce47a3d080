//! Open WebUI's image API: generates and edits images, stores them and returns their URLs.

mod config;
mod engines;
mod request;
pub(super) mod schema;
mod valid_json;
mod verify;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use pinhole_sandbox::contract::{Model, ModelAbilities};
use pinhole_sandbox::{Edit, JobContext};

use super::auth::{self, ImageCreator};
use super::error::ApiError;
use super::extractors::Json;
use super::keyed_job::{IdempotencyKey, KeyedJob};
use super::settings::SETTINGS_JSON;
use super::source_images::{EDIT_JSON, load_image, load_sources};
use crate::app::App;
use crate::files::lookup::ImageReference;
use crate::jobs::{self, CompletedJob, ImageDetails, JobPlan, JobRequest, Operation};
use crate::store::{self, FileRow};

use request::{EditBody, EditRequest, GenerationRequest, IMAGE, MASK};
use valid_json::ValidJson;

pub(super) use verify::PlacementRow;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(generate))
        .routes(routes!(edit).layer(Extension(EDIT_JSON)))
        .routes(routes!(list_models))
        .routes(routes!(engines::list))
        .routes(routes!(verify::verify_configured))
        .routes(routes!(verify::verify_url))
        .routes(routes!(verify::describe_verification))
        .routes(routes!(config::describe))
        .routes(routes!(config::update).layer(Extension(SETTINGS_JSON)))
}

/// A stored image.
#[derive(Serialize, ToSchema)]
struct StoredImage {
    /// URL of the bytes, relative to this server.
    url: String,
    id: String,
    name: String,
    content_type: String,
    /// Not part of Open WebUI's API: the prompt as the upstream rewrote it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
    /// Not part of Open WebUI's API: makes the same image again, if the engine says it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Not part of Open WebUI's API: true if the upstream's safety system marked the image.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flagged: bool,
    /// Not part of Open WebUI's API: in what the images of the job differ from the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl StoredImage {
    fn new(file: FileRow, details: &ImageDetails, completed: &CompletedJob) -> Self {
        Self {
            seed: details.seed,
            flagged: details.flagged,
            revised_prompt: completed.revised_prompt.clone(),
            warnings: completed.warnings.clone(),
            url: file.url(),
            id: file.id,
            name: file.name,
            content_type: file.media_type,
        }
    }
}

/// A model of an engine.
#[derive(Serialize, ToSchema)]
pub(super) struct ImageModel {
    id: String,
    name: String,
    /// Not part of Open WebUI's API: what the model supports, if its engine says it for each model.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    abilities: Option<ImageModelAbilities>,
}

/// What a model supports.
#[derive(Serialize, ToSchema)]
struct ImageModelAbilities {
    edit: bool,
    mask: bool,
    negative_prompt: bool,
    seed: bool,
    steps: bool,
    strength: bool,
    #[schema(minimum = 1)]
    max_count: u32,
    #[schema(minimum = 0)]
    max_sources: u32,
    /// `WxH`; empty if the engine accepts each size, or uses the nearest.
    sizes: Vec<String>,
    /// Such as `16:9`; empty if unknown.
    aspect_ratios: Vec<String>,
}

impl From<&ModelAbilities> for ImageModelAbilities {
    fn from(abilities: &ModelAbilities) -> Self {
        let sizes = abilities.sizes.iter();
        Self {
            edit: abilities.edit,
            mask: abilities.mask,
            negative_prompt: abilities.negative_prompt,
            seed: abilities.seed,
            steps: abilities.steps,
            strength: abilities.strength,
            max_count: abilities.max_count,
            max_sources: abilities.max_sources,
            sizes: sizes
                .map(|it| format!("{}x{}", it.width, it.height))
                .collect(),
            aspect_ratios: abilities.aspect_ratios.clone(),
        }
    }
}

impl From<&Model> for ImageModel {
    fn from(model: &Model) -> Self {
        Self {
            id: model.id.clone(),
            name: model.name.clone(),
            abilities: model.abilities.as_ref().map(Into::into),
        }
    }
}

/// `POST /api/v1/images/generations`
#[utoipa::path(
    post,
    path = "/api/v1/images/generations",
    tag = "images",
    operation_id = "generate_images",
    summary = "Generate and store images",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and fields within 24 hours gets the same images. At most 200 bytes.")),
    request_body = GenerationRequest,
    responses(
        (status = 200, description = "the images", body = [StoredImage]),
        (status = 403, description = "image generation is disabled, or the user lacks the permission"),
        (status = 413, description = "the user's storage is full"),
        (status = 422, description = "fields of the body are invalid"),
        (status = 429, description = "the user has sent too many requests"),
        (status = 507, description = "the server's disk is full"),
    ),
)]
async fn generate(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    key: IdempotencyKey,
    ValidJson(request): ValidJson<GenerationRequest>,
) -> Result<Json<Vec<StoredImage>>, ApiError> {
    let (engine, model) = (request.engine(), request.model());
    let waited = app.jobs.snapshot_for(Operation::Generate, engine, model);
    let snapshot = waited.await.map_err(bracketed)?;
    if !snapshot.settings.enabled {
        return Err(ApiError::prohibited());
    }
    app.files.require_image_room(&user, 0).await?;
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let plan =
        JobPlan::new(snapshot, Operation::Generate, engine, model, requester).map_err(bracketed)?;
    let request = request.into_job_request(&plan.binding.component.description);
    respond(
        app,
        user,
        key,
        PlannedJob {
            plan,
            request,
            edit: None,
        },
    )
    .await
}

/// `POST /api/v1/images/edit`
#[utoipa::path(
    post,
    path = "/api/v1/images/edit",
    tag = "images",
    operation_id = "edit_images",
    summary = "Edit images and store the results",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and fields within 24 hours gets the same images. At most 200 bytes.")),
    request_body = EditBody,
    responses(
        (status = 200, description = "the images", body = [StoredImage]),
        (status = 403, description = "image editing is disabled, or the user lacks the permission"),
        (status = 413, description = "the user's storage is full"),
        (status = 422, description = "fields of the body are invalid"),
        (status = 429, description = "the user has sent too many requests"),
        (status = 507, description = "the server's disk is full"),
    ),
)]
async fn edit(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    key: IdempotencyKey,
    ValidJson(body): ValidJson<EditBody>,
) -> Result<Json<Vec<StoredImage>>, ApiError> {
    let EditRequest {
        image,
        mask,
        generation,
    } = body.into_request();
    let (engine, model) = (generation.engine(), generation.model());
    let waited = app.jobs.snapshot_for(Operation::Edit, engine, model);
    let snapshot = waited.await.map_err(bracketed)?;
    if !snapshot.settings.edit.enabled {
        return Err(ApiError::prohibited());
    }
    app.files.require_image_room(&user, 0).await?;
    let sources = load_sources(&app, &user, IMAGE, &image.into_vec())
        .await
        .map_err(ApiError::bracketed)?;
    let mask = match mask {
        Some(name) => {
            let reference = ImageReference::parse(&name);
            let loaded = load_image(&app, &user, MASK, &reference).await;
            Some(loaded.map_err(ApiError::bracketed)?)
        }
        None => None,
    };
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let plan =
        JobPlan::new(snapshot, Operation::Edit, engine, model, requester).map_err(bracketed)?;
    let request = generation.into_job_request(&plan.binding.component.description);
    let edit = Some(Edit { sources, mask });
    respond(
        app,
        user,
        key,
        PlannedJob {
            plan,
            request,
            edit,
        },
    )
    .await
}

/// `GET /api/v1/images/models`
#[utoipa::path(
    get,
    path = "/api/v1/images/models",
    tag = "images",
    operation_id = "list_image_models",
    summary = "List the models of the engine that generates for the user",
    responses(
        (status = 200, description = "the models in the upstream's order", body = [ImageModel]),
        (status = 400, description = "the upstream cannot list its models, or the user may use no engine"),
        (status = 403, description = "the user lacks the permission to generate images"),
        (status = 429, description = "too many requests of the user in a minute"),
    ),
)]
async fn list_models(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
) -> Result<Json<Vec<ImageModel>>, ApiError> {
    app.jobs.count_model_list(&user.id)?;
    let snapshot = app.jobs.complete_snapshot().await?;
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let binding = snapshot.listed_binding(&requester).map_err(bracketed)?;
    let models = app.jobs.listed_models(binding).await.map_err(bracketed)?;
    Ok(Json(models.iter().map(ImageModel::from).collect()))
}

/// A job that has not started.
struct PlannedJob {
    plan: JobPlan,
    request: JobRequest,
    /// `None`: the job generates.
    edit: Option<Edit>,
}

/// Runs a job and stores its images.
///
/// Source: Open WebUI 0.6.43 returns `url` alone; later releases return the other fields too.
async fn respond(
    app: Arc<App>,
    user: store::User,
    key: IdempotencyKey,
    job: PlannedJob,
) -> Result<Json<Vec<StoredImage>>, ApiError> {
    let PlannedJob {
        plan,
        request,
        edit,
    } = job;
    let (completed, files) = if let Some(key) = key.into_key().map_err(ApiError::bracketed)? {
        let keyed = KeyedJob {
            app,
            user,
            plan,
            request,
            edit,
            key,
        };
        keyed.run().await.map_err(ApiError::bracketed)?
    } else {
        let context = JobContext::new(uuid::Uuid::new_v4().to_string());
        let completed = match edit {
            None => app.jobs.generate(&plan, request, &context).await,
            Some(edit) => app.jobs.edit(&plan, request, edit, &context).await,
        };
        let completed = completed.map_err(bracketed)?;
        let saved = completed.save(&app.files, &app.store, &user, None).await;
        let files = saved.map_err(|error| ApiError::internal(&error).without_retry())?;
        (completed, files)
    };
    let entry = |(file, details)| StoredImage::new(file, details, &completed);
    let entries = files.into_iter().zip(&completed.image_details).map(entry);
    Ok(Json(entries.collect()))
}

/// The error of a job in Open WebUI's format. If the server shuts down, it is 503 as in all APIs.
pub(super) fn bracketed(error: jobs::Error) -> ApiError {
    if error.is_shutdown() {
        return error.into();
    }
    ApiError::from(error).bracketed()
}
