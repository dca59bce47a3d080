//! An edit as JSON. `POST /v1/images/edits` also accepts a form; see `edit_form`.

use serde_json::Value;
use utoipa::ToSchema;

use pinhole_sandbox::Edit;

use super::image_fields::{ImageFields, Route};
use super::image_request::ImageRequest;
use super::source_reference::parse_source;
use crate::app::App;
use crate::store::User;
use crate::web::error::ApiError;
use crate::web::json_body::JsonBody;
use crate::web::source_images::{check_source_limits, load_image};

/// An edit as JSON.
#[derive(ToSchema)]
pub(super) struct ImageEditRequest {
    /// The images to edit. Other APIs' `image`, a data URL or a list of them, means the same.
    #[schema(min_items = 1, max_items = 16, value_type = Vec<EditImage>)]
    images: Vec<Value>,
    /// A PNG of the same size with an alpha channel. Its transparent areas may change.
    #[schema(value_type = Option<EditImage>)]
    mask: Option<Value>,
    #[serde(flatten)]
    #[schema(inline)]
    pub(super) request: ImageRequest,
}

/// An image by its URL or its id. Exactly one of them is required.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct EditImage {
    /// A data URL, or the URL of a stored file.
    image_url: Option<String>,
    /// The id of a stored file.
    file_id: Option<String>,
}

impl ImageEditRequest {
    pub(super) fn parse(body: &JsonBody) -> Result<Self, ApiError> {
        let mut fields: ImageFields = body.parse()?;
        let mut take = |name: &str| fields.0.remove(name).filter(|value| !value.is_null());
        let images = match (take("images"), take("image")) {
            (Some(_), Some(_)) => {
                let message = "image contradicts images: send one of them";
                return Err(ApiError::invalid("image", message));
            }
            (Some(Value::Array(images)), _) | (_, Some(Value::Array(images))) => images,
            (Some(_), _) => {
                let message = "images cannot be used: it must be a list";
                return Err(ApiError::invalid("images", message));
            }
            (_, Some(image)) => vec![image],
            (None, None) => Vec::new(),
        };
        let mask = take("mask");
        Ok(Self {
            images,
            mask,
            request: fields.into_request(Route::Edits)?,
        })
    }

    /// Loads the images and the mask.
    pub(super) async fn load(
        self,
        app: &App,
        user: &User,
    ) -> Result<(ImageRequest, Edit), ApiError> {
        let mut sources = Vec::new();
        for image in &self.images {
            check_source_limits(&sources)?;
            let reference = parse_source("images", image)?;
            sources.push(load_image(app, user, "images", &reference).await?);
        }
        let mask = match &self.mask {
            Some(mask) => {
                let reference = parse_source("mask", mask)?;
                Some(load_image(app, user, "mask", &reference).await?)
            }
            None => None,
        };
        Ok((self.request, Edit { sources, mask }))
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;
    use crate::files::lookup::MAX_SOURCES;

    #[test]
    fn schema_states_source_limit() {
        let schema = serde_json::to_string(&ImageEditRequest::schema()).unwrap();
        assert!(
            schema.contains(&format!(r#""maxItems":{MAX_SOURCES}"#)),
            "{schema}"
        );
    }
}
