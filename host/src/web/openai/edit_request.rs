//! An edit as JSON. `POST /v1/images/edits` also accepts a form; see `edit_form`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use pinhole_images::Image;
use pinhole_sandbox::Edit;

use super::image_request::ImageRequest;
use crate::app::App;
use crate::files::lookup::ImageReference;
use crate::store::User;
use crate::web::error::ApiError;
use crate::web::json_body::JsonBody;
use crate::web::source_images::{check_source_limits, load_image};

/// An edit as JSON.
#[derive(ToSchema)]
pub(super) struct ImageEditRequest {
    /// The images to edit.
    #[schema(min_items = 1, max_items = 16)]
    images: Vec<EditImage>,
    /// A PNG of the same size with an alpha channel. Its transparent areas may change.
    mask: Option<EditImage>,
    #[serde(flatten)]
    #[schema(inline)]
    pub(super) request: ImageRequest,
}

/// An image by its URL or its id. Exactly one of them is required.
#[derive(Deserialize, ToSchema)]
struct EditImage {
    /// A data URL, or the URL of a stored file.
    image_url: Option<String>,
    /// The id of a stored file.
    file_id: Option<String>,
}

/// The images of a body, as its text has them.
#[derive(Deserialize)]
struct RawImages<'a> {
    #[serde(borrow)]
    images: Option<&'a RawValue>,
    #[serde(borrow)]
    mask: Option<&'a RawValue>,
}

impl ImageEditRequest {
    /// Parses a body twice: for its images, and for its other fields.
    pub(super) fn parse(body: &JsonBody) -> Result<Self, ApiError> {
        let request = body.parse()?;
        let RawImages { images, mask } = serde_json::from_slice(body.text())
            .map_err(|error| ApiError::invalid("images", format!("invalid JSON body: {error}")))?;
        Ok(Self {
            images: parse_field("images", images)?.unwrap_or_default(),
            mask: parse_field("mask", mask)?,
            request,
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
            sources.push(image.load(app, user, "images").await?);
        }
        let mask = match &self.mask {
            Some(mask) => Some(mask.load(app, user, "mask").await?),
            None => None,
        };
        Ok((self.request, Edit { sources, mask }))
    }
}

impl EditImage {
    async fn load(&self, app: &App, user: &User, field: &str) -> Result<Image, ApiError> {
        let reference = match (&self.image_url, &self.file_id) {
            (Some(url), None) => ImageReference::parse_url(url),
            (None, Some(id)) => ImageReference::StoredFile(id.clone()),
            _ => {
                let message = format!("{field} needs either image_url or file_id");
                return Err(ApiError::invalid(field, message));
            }
        };
        load_image(app, user, field, &reference).await
    }
}

fn parse_field<T: DeserializeOwned>(
    field: &str,
    value: Option<&RawValue>,
) -> Result<Option<T>, ApiError> {
    serde_json::from_str(value.map_or("null", RawValue::get))
        .map_err(|error| ApiError::invalid(field, format!("{field} cannot be used: {error}")))
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
