//! The source images of an edit: images that a request contains or refers to. An error names the field
//! of the request.

use bytes::Bytes;

use pinhole_images::Image;

use super::error::ApiError;
use crate::app::App;
use crate::files::lookup::{self, MAX_SOURCES, Unusable};
use crate::jobs::MAX_SOURCE_BYTES;
use crate::store::User;

/// Length of the body of an edit, in bytes: its images may be encoded in base64.
pub(super) const MAX_EDIT_BODY_BYTES: usize = MAX_SOURCE_BYTES / 3 * 4 + (1 << 20);

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

/// An image that the request contains.
pub(super) fn parse_image(field: &str, bytes: Bytes) -> Result<Image, ApiError> {
    lookup::picture(bytes).map_err(|unusable| refusal(field, unusable))
}

/// Loads an image by its reference: a data URL, or the URL or id of a stored file that the user may
/// read.
pub(super) async fn load_reference(
    app: &App,
    user: &User,
    field: &str,
    reference: &str,
) -> Result<Image, ApiError> {
    lookup::named(&app.files, user, reference)
        .await
        .map_err(|unusable| refusal(field, unusable))
}

/// Loads an image by a data URL, or by the URL of a stored file that the user may read.
pub(super) async fn load_url(
    app: &App,
    user: &User,
    field: &str,
    url: &str,
) -> Result<Image, ApiError> {
    lookup::at_address(&app.files, user, url)
        .await
        .map_err(|unusable| refusal(field, unusable))
}

/// Loads the image of a stored file that the user may read.
pub(super) async fn load_file(
    app: &App,
    user: &User,
    field: &str,
    id: &str,
) -> Result<Image, ApiError> {
    lookup::stored(&app.files, user, id)
        .await
        .map_err(|unusable| refusal(field, unusable))
}

fn refusal(field: &str, unusable: Unusable) -> ApiError {
    match unusable {
        Unusable::Ours(error) => ApiError::internal(&error),
        unusable => ApiError::invalid(field, format!("{field} {unusable}")),
    }
}
