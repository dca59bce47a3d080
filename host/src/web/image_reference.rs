//! Pictures that an edit changes: what is wrong with one names the field that brought it.

use bytes::Bytes;

use super::error::ApiError;
use crate::app::App;
use pinhole_images::Image;
use crate::jobs::MAX_SOURCE_BYTES;
use crate::files::lookup::{self, MAX_SOURCES, Unusable};
use crate::store::User;

/// Length of a request that brings pictures, in bytes: they may be in base64.
pub(super) const MAX_EDIT_BODY_BYTES: usize = MAX_SOURCE_BYTES / 3 * 4 + (1 << 20);

/// Is there room for one more picture to change? Asked before it is read.
pub(super) fn check_room(sources: &[Image]) -> Result<(), ApiError> {
    let bytes: usize = sources.iter().map(|image| image.bytes().len()).sum();
    let message = if sources.len() >= MAX_SOURCES {
        format!("more than {MAX_SOURCES} pictures to change were sent: send fewer")
    } else if bytes > MAX_SOURCE_BYTES {
        format!("the pictures to change have more than {MAX_SOURCE_BYTES} bytes together")
    } else {
        return Ok(());
    };
    Err(ApiError::invalid("image", message))
}

/// A picture that a client sent in this field.
pub(super) fn picture(field: &str, bytes: Bytes) -> Result<Image, ApiError> {
    lookup::picture(bytes).map_err(|unusable| refused(field, unusable))
}

/// The picture of a data URL, or of a stored file that this user may have, by its address or id.
pub(super) async fn named(
    app: &App,
    user: &User,
    field: &str,
    name: &str,
) -> Result<Image, ApiError> {
    let image = lookup::named(&app.files, user, name).await;
    image.map_err(|unusable| refused(field, unusable))
}

/// The same, where it cannot be an id.
pub(super) async fn at_address(
    app: &App,
    user: &User,
    field: &str,
    address: &str,
) -> Result<Image, ApiError> {
    let image = lookup::at_address(&app.files, user, address).await;
    image.map_err(|unusable| refused(field, unusable))
}

/// The picture of a stored file that this user may have.
pub(super) async fn stored(
    app: &App,
    user: &User,
    field: &str,
    id: &str,
) -> Result<Image, ApiError> {
    let image = lookup::stored(&app.files, user, id).await;
    image.map_err(|unusable| refused(field, unusable))
}

fn refused(field: &str, unusable: Unusable) -> ApiError {
    match unusable {
        Unusable::Ours(error) => ApiError::internal(&error),
        unusable => ApiError::invalid(field, format!("{field} {unusable}")),
    }
}
