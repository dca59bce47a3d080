//! OpenAI's API: images, chat completions and responses, as JSON or as a stream of events.
//!
//! Each dialect converts its request to an `ImageJob`, and the job's outcome to its response.

mod aspect_ratio;
mod chat;
mod chat_images;
mod chat_request;
mod conversation;
mod edit_form;
mod edit_request;
mod image_fields;
mod image_job;
mod image_json;
mod image_model;
mod image_request;
mod image_stream;
mod image_tool;
mod images_response;
mod job_stream;
mod models;
mod response_object;
mod responses;
mod responses_request;
mod source_reference;
mod usage;
mod variations;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use pinhole_sandbox::Edit;

use super::auth::{self, ImageCreator};
use super::chat::COMPLETION_JSON;
use super::error::OpenAiError;
use super::extractors::Json;
use super::json_body::JsonBody;
use super::keyed_job::IdempotencyKey;
use super::request_origin::RequestOrigin;
use super::source_images::{EDIT_JSON, MAX_EDIT_BODY_BYTES};
use crate::app::App;
use crate::jobs::{JobPlan, Operation};
use crate::store::User;

use edit_form::ImageEditForm;
use edit_request::ImageEditRequest;
use image_fields::{ImageFields, Route};
use image_job::ImageJob;
use image_request::{Delivery, ImageRequest};
use image_stream::image_events;
use images_response::{ImagesResponse, base64_response, url_response};

pub(super) use image_request::is_openai_engine;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    // As a form, and as JSON.
    let edit_limits = (
        DefaultBodyLimit::max(MAX_EDIT_BODY_BYTES),
        Extension(EDIT_JSON),
    );
    OpenApiRouter::new()
        .routes(routes!(generate))
        .routes(routes!(edit).layer(edit_limits))
        .routes(routes!(variations::create).layer(DefaultBodyLimit::max(MAX_EDIT_BODY_BYTES)))
        .routes(routes!(responses::create).layer(Extension(EDIT_JSON)))
        .routes(routes!(chat::complete).layer(Extension(COMPLETION_JSON)))
        .routes(routes!(models::list))
        .routes(routes!(models::find))
}

/// `POST /v1/images/generations`
#[utoipa::path(
    post,
    path = "/v1/images/generations",
    tag = "openai",
    operation_id = "create_image",
    summary = "Generate images",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and fields within 24 hours gets the same images. At most 200 bytes.")),
    request_body = ImageRequest,
    responses(
        (status = 200, description = "the images, or a stream of previews and images", content(
            (ImagesResponse = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "image generation is disabled, or the user lacks the permission"),
        (status = 429, description = "the user has sent too many requests, the upstream limits the rate, or a quota is exhausted"),
        (status = 502, description = "the upstream or the engine failed"),
        (status = 503, description = "the upstream or the engine is unavailable"),
        (status = 504, description = "the job exceeded its time limit"),
        (status = 507, description = "the server's disk is full, and `response_format` is `url`"),
    ),
)]
async fn generate(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    origin: RequestOrigin,
    key: IdempotencyKey,
    Json(fields): Json<ImageFields>,
) -> Result<Response, OpenAiError> {
    let request = fields.into_request(Route::Generations)?;
    respond(app, user, origin, key, request, None).await
}

/// `POST /v1/images/edits`
#[utoipa::path(
    post,
    path = "/v1/images/edits",
    tag = "openai",
    operation_id = "create_image_edit",
    summary = "Edit images",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and fields within 24 hours gets the same images. At most 200 bytes.")),
    request_body(content(
        (ImageEditForm = "multipart/form-data"),
        (ImageEditRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "the images, or a stream of previews and images", content(
            (ImagesResponse = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "image editing is disabled, or the user lacks the permission"),
        (status = 429, description = "the user has sent too many requests, the upstream limits the rate, or a quota is exhausted"),
        (status = 502, description = "the upstream or the engine failed"),
        (status = 503, description = "the upstream or the engine is unavailable"),
        (status = 504, description = "the job exceeded its time limit"),
        (status = 507, description = "the server's disk is full, and `response_format` is `url`"),
    ),
)]
async fn edit(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    origin: RequestOrigin,
    key: IdempotencyKey,
    body: EditBody,
) -> Result<Response, OpenAiError> {
    let (request, edit) = match body {
        EditBody::Form(ImageEditForm {
            image,
            mask,
            request,
        }) => {
            let sources = image;
            (request, Edit { sources, mask })
        }
        EditBody::Json(request) => request.load(&app, &user).await?,
    };
    respond(app, user, origin, key, request, Some(edit)).await
}

/// The body of an edit.
enum EditBody {
    Form(ImageEditForm),
    Json(ImageEditRequest),
}

impl<S: Send + Sync> FromRequest<S> for EditBody {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OpenAiError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        if content_type.is_some_and(|it| it.as_bytes().starts_with(b"multipart/")) {
            return Ok(Self::Form(
                ImageEditForm::from_request(request, state).await?,
            ));
        }
        let body = JsonBody::read(request).await?;
        let edit = ImageEditRequest::parse(&body)?;
        body.hold_memory();
        Ok(Self::Json(edit))
    }
}

/// Runs the job. Images are stored only if the client wants URLs, or sends an idempotency key.
async fn respond(
    app: Arc<App>,
    user: User,
    origin: RequestOrigin,
    key: IdempotencyKey,
    request: ImageRequest,
    edit: Option<Edit>,
) -> Result<Response, OpenAiError> {
    let idempotency_key = key.into_key()?;
    let operation = match edit {
        None => Operation::Generate,
        Some(_) => Operation::Edit,
    };
    let (engine, model) = (request.engine(), request.model());
    let snapshot = app.jobs.snapshot_for(operation, engine, model).await?;
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let plan = JobPlan::new(snapshot, operation, engine, model, requester)?;
    let settings = &plan.snapshot.settings;
    let delivery = request.delivery(plan.binding.default_model(), settings.prefers_urls)?;
    let links = origin.links(&app, settings);
    let request = request.into_job_request(&plan.binding.component.description);
    let count = request.count.unwrap_or(1);
    let job = Box::new(ImageJob {
        app,
        user,
        plan,
        request,
        edit,
        is_stored: delivery == Delivery::Url,
        idempotency_key,
    });
    match delivery {
        Delivery::Stream { partial_images } => {
            let max_previews = partial_images.saturating_mul(count);
            job.stream(image_events(operation, max_previews)).await
        }
        Delivery::Base64 => Ok(base64_response(&job.run().await?.completed)?),
        Delivery::Url => {
            let outcome = job.run().await?;
            Ok(Json(url_response(&outcome.completed, &outcome.files, &links)).into_response())
        }
    }
}

/// Sets a member of a JSON object.
fn set_member(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
