//! OpenAI's API: a request in, a job or a turn, JSON or a stream of events out.

mod chat;
mod fields;
mod form;
mod models;
mod reference;
mod reply;
mod stream;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth;
use super::error::{ApiError, OpenAiError, json_body};
use super::openapi::shape;
use super::image_reference::MAX_EDIT_BODY_BYTES;
use crate::app::App;
use pinhole_sandbox::{JobContext, Edit};
use crate::jobs::{self, Finished, JobRequest};
use crate::store::User;

use fields::{Delivery, Fields};

pub(super) use fields::speaks_openai;

/// Every route of OpenAI's API.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let longer = DefaultBodyLimit::max(MAX_EDIT_BODY_BYTES);
    OpenApiRouter::new()
        .routes(routes!(generate))
        .routes(routes!(edit).layer(longer))
        .routes(routes!(chat::complete))
        .routes(routes!(models::list))
        .routes(routes!(models::find))
}

/// `POST /v1/images/generations`
#[utoipa::path(
    post,
    path = "/v1/images/generations",
    tag = "openai",
    operation_id = "create_image",
    summary = "Make pictures",
    request_body = shape::ImageRequest,
    responses(
        (status = 200, description = "the pictures, or a stream of drafts and pictures", content(
            (shape::ImageAnswer = "application/json"),
            (String = "text/event-stream"),
        )),
        shape::JobRefusals,
    ),
)]
async fn generate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, OpenAiError> {
    let user = auth::painter(&app, &headers).await?;
    let fields: Fields = json_body(request).await?;
    answer(app, &user, fields, None).await
}

/// `POST /v1/images/edits`: a form, or JSON with `images` and `mask`.
#[utoipa::path(
    post,
    path = "/v1/images/edits",
    tag = "openai",
    operation_id = "create_image_edit",
    summary = "Change pictures",
    request_body(content(
        (shape::ImageEditForm = "multipart/form-data"),
        (shape::ImageEdit = "application/json"),
    )),
    responses(
        (status = 200, description = "the pictures, or a stream of drafts and pictures", content(
            (shape::ImageAnswer = "application/json"),
            (String = "text/event-stream"),
        )),
        shape::JobRefusals,
    ),
)]
async fn edit(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, OpenAiError> {
    let user = auth::painter(&app, &headers).await?;
    let content_type = headers.get(CONTENT_TYPE);
    let (fields, edit) =
        match content_type.is_some_and(|it| it.as_bytes().starts_with(b"multipart/")) {
            true => form::read(request).await?,
            false => {
                let body: Map<String, Value> = json_body(request).await?;
                reference::read(&app, &user, body).await?
            }
        };
    answer(app, &user, fields, Some(edit)).await
}

/// Pictures are stored only where a `url` is asked for.
async fn answer(
    app: Arc<App>,
    user: &User,
    fields: Fields,
    edit: Option<Edit>,
) -> Result<Response, OpenAiError> {
    let delivery = fields.delivery()?;
    let asker = auth::asker(&app, user).await?;
    let request = fields.into_request(&app.jobs, asker, edit.is_some());
    let control = JobContext::new(uuid::Uuid::new_v4().to_string());
    match delivery {
        Delivery::Stream { partial_images } => {
            let (progress, edits) = (control.progress.subscribe(), edit.is_some());
            let most = partial_images.saturating_mul(request.count.unwrap_or(1));
            let job = async move { make(&app, request, edit, &control).await };
            stream::reply(job.boxed(), progress, edits, most).await
        }
        Delivery::Base64 => {
            let finished = make(&app, request, edit, &control).await?;
            Ok(reply::base64(finished))
        }
        Delivery::Url => {
            let finished = make(&app, request, edit, &control).await?;
            let kept = app.keep(user, &finished, json!({})).await;
            let kept = kept.map_err(|error| ApiError::internal(&error))?;
            Ok(reply::urls(&finished, &kept))
        }
    }
}

async fn make(
    app: &App,
    request: JobRequest,
    edit: Option<Edit>,
    control: &JobContext,
) -> Result<Finished, jobs::Error> {
    match edit {
        None => app.jobs.generate(request, control).await,
        Some(Edit { sources, mask }) => app.jobs.edit(request, sources, mask, control).await,
    }
}
