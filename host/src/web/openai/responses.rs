//! `POST /v1/responses`: an image by the image generation tool.
//!
//! There is no language model between the client and the image: the tool is always called, and its prompt is the
//! newest text of the user.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use pinhole_sandbox::Edit;

use super::image_job::ImageJob;
use super::image_model::ImageModel;
use super::image_request::Delivery;
use super::image_tool::ImageTool;
use super::response_object::ResponseObject;
use super::responses_request::ResponsesRequest;
use super::source_reference::parse_source;
use crate::app::App;
use crate::store::User;
use crate::web::auth::ImageCreator;
use crate::web::error::{ApiError, OpenAiError};
use crate::web::extractors::Json;
use crate::web::source_images::load_image;

/// A response with one `image_generation_call` for each image in `output`.
#[derive(Serialize, ToSchema)]
#[schema(as = Response)]
pub(super) struct ResponseBody {
    id: String,
    /// Always `response`.
    object: &'static str,
    /// Seconds since 1970.
    created_at: i64,
    /// Always `completed`; other responses are errors.
    status: &'static str,
    model: String,
    output: Vec<Map<String, Value>>,
    usage: Map<String, Value>,
    /// OpenAI's other fields.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// `POST /v1/responses`
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    operation_id = "create_response",
    summary = "Generate or edit an image with the image generation tool",
    request_body = ResponsesRequest,
    responses(
        (status = 200, description = "the response with the image, or a stream of its events", content(
            (ResponseBody = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "image generation or editing is disabled, or the user lacks the permission"),
        (status = 429, description = "the user has sent too many requests, the upstream limits the rate, or a quota is exhausted"),
        (status = 502, description = "the upstream or the engine failed"),
        (status = 503, description = "the upstream or the engine is unavailable"),
        (status = 504, description = "the job exceeded its time limit"),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    Json(mut request): Json<ResponsesRequest>,
) -> Result<Response, OpenAiError> {
    request.check()?;
    let tool = request.take_tool()?;
    let (tool, model) = find_model(&app, &user, tool, request.model.as_deref()).await?;
    let is_stream = request.stream.unwrap_or(false);
    let repeated_tool = tool.to_json();
    let (job, delivery) = plan_job(app, user, &request, tool, model).await?;
    let response = ResponseObject::new(&request, repeated_tool, job.edit.is_some());
    drop(request);
    match delivery {
        Delivery::Stream { partial_images } if is_stream => {
            job.stream(response.into_stream(partial_images)).await
        }
        _ => Ok(response.completed(job.run().await?)?.into_response()),
    }
}

/// The image model: the tool's, or the request's if that is one. Others are names of language models, which the
/// tool does not need.
async fn find_model(
    app: &App,
    user: &User,
    tool: Option<ImageTool>,
    name: Option<&str>,
) -> Result<(ImageTool, ImageModel), ApiError> {
    if let Some(tool) = tool {
        let model = match (&tool.model, name) {
            (Some(model), _) => {
                let found = ImageModel::find(app, user, model).await?;
                found.unwrap_or_else(|| ImageModel {
                    engine: None,
                    model: Some(model.clone()),
                })
            }
            (None, Some(name)) => ImageModel::find(app, user, name).await?.unwrap_or_default(),
            (None, None) => ImageModel::default(),
        };
        return Ok((tool, model));
    }
    let found = match name {
        Some(name) => ImageModel::find(app, user, name).await?,
        None => None,
    };
    let Some(model) = found else {
        let message = "tools must contain {\"type\": \"image_generation\"}: a response is an image";
        return Err(ApiError::invalid("tools", message));
    };
    Ok((ImageTool::new(), model))
}

async fn plan_job(
    app: Arc<App>,
    user: User,
    request: &ResponsesRequest,
    mut tool: ImageTool,
    model: ImageModel,
) -> Result<(Box<ImageJob>, Delivery), ApiError> {
    const MASK: &str = "input_image_mask";
    let conversation = request.conversation()?;
    let prompt = conversation.prompt("input")?;
    let turn = model
        .plan_turn(&app, &user, &conversation, tool.action, "input")
        .await?;
    let mask = match tool.mask.take() {
        Some(_) if turn.sources.is_empty() => {
            let message = format!("{MASK} needs an image to edit: add one to input");
            return Err(ApiError::invalid(MASK, message));
        }
        Some(mask) => Some(load_image(&app, &user, MASK, &parse_source(MASK, &mask)?).await?),
        None => None,
    };
    let image_request = tool.into_request(prompt, request.stream.unwrap_or(false))?;
    let delivery = image_request.delivery(None, false)?;
    let engine = &turn.plan.binding.component.description;
    let mut job_request = image_request.into_job_request(engine);
    job_request.model = model.model;
    let sources = turn.sources;
    let edit = (!sources.is_empty()).then_some(Edit { sources, mask });
    let job = Box::new(ImageJob {
        app,
        user,
        plan: turn.plan,
        request: job_request,
        edit,
        is_stored: false,
        idempotency_key: None,
    });
    Ok((job, delivery))
}
