//! The source images of an edit: images that a request contains or refers to. An error names the field
//! of the request.

use bytes::Bytes;

use pinhole_images::Image;

use super::error::ApiError;
use super::json_body::JsonLimits;
use crate::app::App;
use crate::files::lookup::{self, ImageReference, LookupError, MAX_SOURCES};
use crate::jobs::MAX_SOURCE_BYTES;
use crate::store::User;

/// Length of the body of an edit, in bytes: its images may be encoded in base64.
pub const MAX_EDIT_BODY_BYTES: usize = MAX_SOURCE_BYTES / 3 * 4 + (1 << 20);

/// Limits of an edit as JSON. A string may be an image.
pub(super) const EDIT_JSON: JsonLimits = JsonLimits::long(MAX_EDIT_BODY_BYTES, 20_000);

/// Fails if no further source is allowed. Call it before the next source is loaded.
pub(super) fn check_source_limits(sources: &[Image]) -> Result<(), ApiError> {
    if sources.len() >= MAX_SOURCES {
        let message = format!("more than {MAX_SOURCES} source images: send fewer");
        return Err(ApiError::invalid("image", message));
    }
    let bytes: usize = sources.iter().map(|image| image.bytes().len()).sum();
    if bytes > MAX_SOURCE_BYTES {
        let message = format!(
            "the source images have more than {MAX_SOURCE_BYTES} bytes together: send fewer or smaller ones"
        );
        return Err(ApiError::invalid("image", message));
    }
    Ok(())
}

/// Checks an image that the request contains.
pub(super) fn parse_image(field: &str, bytes: Bytes) -> Result<Image, ApiError> {
    lookup::parse_image(bytes).map_err(|error| lookup_error(field, error))
}

/// Loads an image that the request refers to, if the user may read it.
pub(super) async fn load_image(
    app: &App,
    user: &User,
    field: &str,
    reference: &ImageReference<'_>,
) -> Result<Image, ApiError> {
    reference
        .load(&app.files, user)
        .await
        .map_err(|error| lookup_error(field, error))
}

/// Loads the images that the request names, within the limits of an edit.
pub(super) async fn load_sources(
    app: &App,
    user: &User,
    field: &str,
    names: &[String],
) -> Result<Vec<Image>, ApiError> {
    let mut sources = Vec::new();
    for name in names {
        check_source_limits(&sources)?;
        sources.push(load_image(app, user, field, &ImageReference::parse(name)).await?);
    }
    Ok(sources)
}

fn lookup_error(field: &str, error: LookupError) -> ApiError {
    match error {
        LookupError::Internal(error) => ApiError::internal(&error),
        LookupError::MemoryFull(full) => full.into(),
        error => ApiError::invalid(field, format!("{field} {error}")),
    }
}
