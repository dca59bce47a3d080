//! An edit that comes as JSON: its pictures are data URLs, or files of the caller.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::app::App;
use pinhole_sandbox::Edit;
use pinhole_images::Image;
use crate::store::User;
use crate::web::error::{ApiError, json_value};
use crate::web::image_reference::{at_address, check_room, stored};

/// Where a picture is: one of the two.
#[derive(Deserialize)]
struct Reference {
    /// A data URL, or the address of a stored file.
    image_url: Option<String>,
    /// The id of a stored file.
    file_id: Option<String>,
}

/// Reads a body with `images` and, perhaps, `mask`, and loads what they name.
pub(super) async fn read(
    app: &App,
    user: &User,
    mut body: Map<String, Value>,
) -> Result<(Fields, Edit), ApiError> {
    let images = body.remove("images");
    let mask = body.remove("mask");
    let fields = json_value(Value::Object(body))?;
    let images: Option<Vec<Reference>> = named("images", images)?;
    let mask: Option<Reference> = named("mask", mask)?;
    let mut sources = Vec::new();
    for image in images.unwrap_or_default() {
        check_room(&sources)?;
        sources.push(load(app, user, "images", image).await?);
    }
    let mask = match mask {
        Some(mask) => Some(load(app, user, "mask", mask).await?),
        None => None,
    };
    Ok((fields, Edit { sources, mask }))
}

fn named<T: serde::de::DeserializeOwned>(
    field: &str,
    value: Option<Value>,
) -> Result<Option<T>, ApiError> {
    serde_json::from_value(value.unwrap_or_default())
        .map_err(|error| ApiError::invalid(field, format!("{field} cannot be used: {error}")))
}

async fn load(
    app: &App,
    user: &User,
    field: &str,
    reference: Reference,
) -> Result<Image, ApiError> {
    match (&reference.image_url, &reference.file_id) {
        (Some(address), None) => at_address(app, user, field, address).await,
        (None, Some(id)) => stored(app, user, field, id).await,
        _ => {
            let message = format!("{field} needs either image_url or file_id");
            Err(ApiError::invalid(field, message))
        }
    }
}
