//! An edit as a form. `POST /v1/images/edits` also accepts JSON; see `edit_request`.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;

use pinhole_ground::text::plain;
use pinhole_images::Image;
use pinhole_sandbox::Limits;

use super::image_fields::{ImageFields, Route};
use super::image_request::ImageRequest;
use crate::web::error::ApiError;
use crate::web::form_body::read_slowly;
use crate::web::request_memory::RequestMemory;
use crate::web::source_images::{check_source_limits, parse_image};

const MAX_FIELDS: usize = 64;
/// Length of a field that is not an image, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Length of a field's name in a message, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// Fields whose text is a number.
const NUMBERS: &[&str] = &[
    "n",
    "num_images",
    "num_inference_steps",
    "num_outputs",
    "output_compression",
    "partial_images",
    "seed",
    "steps",
];

/// An edit as a form.
#[derive(ToSchema)]
pub(super) struct ImageEditForm {
    /// The image to edit. For several images, repeat the field as `image[]`.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    pub(super) image: Vec<Image>,
    /// A PNG of the same size with an alpha channel. Its transparent areas may change.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream", required = false)]
    pub(super) mask: Option<Image>,
    /// The other fields are those of a generation, as text.
    #[serde(flatten)]
    #[schema(inline)]
    pub(super) request: ImageRequest,
}

impl<S: Send + Sync> FromRequest<S> for ImageEditForm {
    type Rejection = ApiError;

    /// Reads a form: images from `image` or `image[]`, at most one `mask`, and text fields. A field that
    /// is too long is refused with status 413 while it is read.
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let fields = FormFields::from_request(request, state).await?;
        Ok(Self {
            image: fields.images,
            mask: fields.mask,
            request: fields.texts.into_request(Route::Edits)?,
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for FormFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let memory = RequestMemory::of(request.extensions())?;
        let mut form = Multipart::from_request(read_slowly(request), state)
            .await
            .map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
        let mut fields = Self {
            images: Vec::new(),
            mask: None,
            texts: ImageFields::default(),
            memory,
        };
        for _ in 0..MAX_FIELDS {
            let Some(field) = form.next_field().await.map_err(|it| form_error(&it))? else {
                return Ok(fields);
            };
            fields.read(field).await?;
        }
        let message = format!("the form has more than {MAX_FIELDS} fields");
        Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
    }
}

/// The fields that have been read.
pub(super) struct FormFields {
    pub(super) images: Vec<Image>,
    pub(super) mask: Option<Image>,
    pub(super) texts: ImageFields,
    memory: RequestMemory,
}

impl FormFields {
    async fn read(&mut self, field: Field<'_>) -> Result<(), ApiError> {
        let max_image_bytes = Limits::job(std::time::Duration::ZERO).image.max_bytes;
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            name if is_image(name) => {
                check_source_limits(&self.images)?;
                let bytes = self.read_bytes(field, "image", max_image_bytes).await?;
                self.images.push(parse_image("image", bytes)?);
            }
            "mask" => {
                if self.mask.is_some() {
                    return Err(duplicate("mask"));
                }
                let bytes = self.read_bytes(field, "mask", max_image_bytes).await?;
                self.mask = Some(parse_image("mask", bytes)?);
            }
            _ => {
                let displayed_name = plain(&name, MAX_NAME_BYTES);
                let bytes = self
                    .read_bytes(field, &displayed_name, MAX_TEXT_BYTES)
                    .await?;
                let Ok(text) = std::str::from_utf8(&bytes) else {
                    let message = format!("{displayed_name} is not UTF-8 text");
                    return Err(ApiError::invalid(&displayed_name, message));
                };
                let value = to_json(&name, text)?;
                if self.texts.0.insert(name, value).is_some() {
                    return Err(duplicate(&displayed_name));
                }
            }
        }
        Ok(())
    }

    /// The bytes of a field, counted while they are held.
    async fn read_bytes(
        &self,
        mut field: Field<'_>,
        name: &str,
        max_bytes: usize,
    ) -> Result<Bytes, ApiError> {
        let (mut bytes, mut lease) = (Vec::new(), self.memory.share().request());
        while let Some(chunk) = field.chunk().await.map_err(|it| form_error(&it))? {
            if bytes.len() + chunk.len() > max_bytes {
                let message = format!("{name} has more than the {max_bytes} bytes allowed");
                return Err(ApiError::too_long(name, message));
            }
            lease.grow(chunk.len()).await?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(lease.attach(bytes))
    }
}

/// Is it a name of a source image: `image`, `images`, `image[]`, or `image[0]`?
fn is_image(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("image") else {
        return false;
    };
    let index = rest.strip_prefix('s').unwrap_or(rest);
    let digits = index.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    index.is_empty() || digits.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The JSON value of a field's text. An empty text is null, except for the prompt.
fn to_json(name: &str, text: &str) -> Result<Value, ApiError> {
    Ok(match text {
        "" if name != "prompt" => Value::Null,
        "true" | "false" if name == "stream" => Value::Bool(text == "true"),
        _ if name == "parameters" => serde_json::from_str(text).map_err(|error| {
            ApiError::invalid(name, format!("parameters must be a JSON object: {error}"))
        })?,
        _ if NUMBERS.contains(&name) => text
            .parse::<u64>()
            .map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    })
}

fn duplicate(name: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} occurs twice: send it once"))
}

fn form_error(error: &MultipartError) -> ApiError {
    let status = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        // Also for a body that breaks off, which is not an error of the server.
        _ => StatusCode::BAD_REQUEST,
    };
    let message = format!("the form cannot be read: {}", error.body_text());
    ApiError::new(status, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn form_text_becomes_json() {
        for (name, text, expected) in [
            ("prompt", "5", json!("5")),
            ("prompt", "", json!("")),
            ("size", "", json!(null)),
            ("n", "2", json!(2)),
            ("seed", "18446744073709551615", json!(u64::MAX)),
            // Invalid values are refused later, by name.
            ("n", "-1", json!("-1")),
            ("steps", "many", json!("many")),
            ("stream", "true", json!(true)),
            ("stream", "yes", json!("yes")),
            ("model", "true", json!("true")),
            (
                "parameters",
                r#"{"quality": "high"}"#,
                json!({"quality": "high"}),
            ),
        ] {
            assert_eq!(to_json(name, text).unwrap(), expected, "{name}={text}");
        }
    }

    #[test]
    fn sources_have_the_spellings_of_lists() {
        for (name, expected) in [
            ("image", true),
            ("images", true),
            ("image[]", true),
            ("image[0]", true),
            ("images[15]", true),
            ("image[x]", false),
            ("image[", false),
            ("image_url", false),
            ("mask", false),
        ] {
            assert_eq!(is_image(name), expected, "{name}");
        }
    }
}
