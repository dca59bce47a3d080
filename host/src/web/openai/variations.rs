//! `POST /v1/images/variations`: edits of an image whose prompt asks for a variation.
//!
//! Every engine receives a prompt, so that one without images or without edits refuses the request as it refuses
//! other edits.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;

use pinhole_images::Image;
use pinhole_sandbox::Edit;

use super::edit_form::FormFields;
use super::image_fields::{ImageFields, Route};
use super::image_request::ImageRequest;
use super::images_response::ImagesResponse;
use crate::app::App;
use crate::web::auth::ImageCreator;
use crate::web::error::{ApiError, OpenAiError};
use crate::web::images::schema;
use crate::web::keyed_job::IdempotencyKey;
use crate::web::request_origin::RequestOrigin;

/// The prompt of a variation.
const PROMPT: &str = "Create a variation of this image.";

/// An image to vary, as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct ImageVariationForm {
    /// The image.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: Vec<Image>,
    #[schema(inline)]
    #[serde(flatten)]
    request: VariationFields,
}

/// The fields of a variation, as text. Their values are those of an edit.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct VariationFields {
    #[schema(schema_with = schema::model)]
    model: Option<String>,
    #[schema(schema_with = schema::image_count)]
    n: Option<u32>,
    #[schema(schema_with = schema::size)]
    size: Option<String>,
    response_format: Option<String>,
    engine: Option<String>,
}

/// `POST /v1/images/variations`
#[utoipa::path(
    post,
    path = "/v1/images/variations",
    tag = "openai",
    operation_id = "create_image_variation",
    summary = "Create variations of an image",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and fields within 24 hours gets the same images. At most 200 bytes.")),
    request_body(content = ImageVariationForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "the images", body = ImagesResponse),
        (status = 403, description = "image editing is disabled, or the user lacks the permission"),
        (status = 429, description = "the user has sent too many requests, the upstream limits the rate, or a quota is exhausted"),
        (status = 502, description = "the upstream or the engine failed"),
        (status = 503, description = "the upstream or the engine is unavailable"),
        (status = 504, description = "the job exceeded its time limit"),
        (status = 507, description = "the server's disk is full, and `response_format` is `url`"),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    origin: RequestOrigin,
    key: IdempotencyKey,
    variation: Variation,
) -> Result<Response, OpenAiError> {
    let Variation { request, edit } = variation;
    super::respond(app, user, origin, key, request, Some(edit)).await
}

/// The edit that makes a variation.
pub(super) struct Variation {
    request: ImageRequest,
    edit: Edit,
}

impl<S: Send + Sync> FromRequest<S> for Variation {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OpenAiError> {
        let fields = FormFields::from_request(request, state).await?;
        if fields.mask.is_some() {
            return Err(unsupported("mask").into());
        }
        let sources = fields.images;
        if sources.len() != 1 {
            let message = format!("{} images were sent: a variation needs one", sources.len());
            return Err(ApiError::invalid("image", message).into());
        }
        Ok(Self {
            request: parse_fields(fields.texts)?,
            edit: Edit {
                sources,
                mask: None,
            },
        })
    }
}

fn parse_fields(mut fields: ImageFields) -> Result<ImageRequest, ApiError> {
    const FIELDS: [&str; 6] = ["engine", "model", "n", "response_format", "size", "user"];
    let mut names = fields.0.iter().filter(|(_, value)| !value.is_null());
    if let Some((name, _)) = names.find(|(name, _)| !FIELDS.contains(&name.as_str())) {
        return Err(unsupported(name));
    }
    fields.0.insert("prompt".to_owned(), Value::from(PROMPT));
    fields.into_request(Route::Edits)
}

fn unsupported(name: &str) -> ApiError {
    let name = pinhole_ground::text::plain(name, 60);
    let message =
        format!("{name} is not a field of variations: leave it out, or use /v1/images/edits");
    ApiError::invalid(&name, message)
}
