//! An edit that comes as JSON: its pictures are data URLs, or files of the caller.

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{check_room, picture};
use crate::app::App;
use crate::engine::Edit;
use crate::images::Image;
use crate::store::User;
use crate::web::error::{ApiError, json_value};

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
    let refused = |message| Err(ApiError::invalid(field, message));
    let id = match (&reference.image_url, &reference.file_id) {
        (Some(url), None) if is_data_url(url) => {
            let Some(bytes) = decode(url) else {
                return refused(format!("{field} has a data URL that is not base64"));
            };
            return picture(field, bytes.into());
        }
        (Some(url), None) => match file_id(url) {
            Some(id) => id,
            None => {
                return refused(format!(
                    "{field} names an address that is not fetched: send a data URL, a form, or the \
                     address of a stored file (/api/v1/files/…/content)"
                ));
            }
        },
        (None, Some(id)) => id,
        _ => return refused(format!("{field} needs either image_url or file_id")),
    };
    let found = stored(app, user, id).await;
    match found.map_err(|error| ApiError::internal(&error))? {
        Some(bytes) => picture(field, bytes),
        None => refused(format!("{field} names a file that is not there")),
    }
}

/// The bytes of a file that this user may have.
async fn stored(app: &App, user: &User, id: &str) -> Result<Option<Bytes>> {
    let Some(row) = app.files.find(id, user).await? else {
        return Ok(None);
    };
    let Some(chunks) = app.files.read(&row, 0..row.length()).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = chunks.try_collect().await?;
    Ok(Some(chunks.concat().into()))
}

fn is_data_url(url: &str) -> bool {
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn decode(url: &str) -> Option<Vec<u8>> {
    let (head, text) = url.split_once(',')?;
    head.ends_with(";base64")
        .then(|| base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok())?
}

/// The id in the address of a stored file, as an answer of ours gives it.
fn file_id(url: &str) -> Option<&str> {
    let id = url.strip_prefix("/api/v1/files/")?;
    let id = id.strip_suffix("/content").unwrap_or(id);
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_files_are_known_by_their_path() {
        for (url, expected) in [
            ("/api/v1/files/5/content", Some("5")),
            ("/api/v1/files/5", Some("5")),
            ("/api/v1/files/", None),
            ("/api/v1/files//content", None),
            ("/api/v1/files/../x/content", None),
            ("http://127.0.0.1/api/v1/files/5/content", None),
            ("x", None),
        ] {
            assert_eq!(file_id(url), expected, "{url}");
        }
    }

    #[test]
    fn only_base64_is_decoded() {
        for (url, expected) in [
            ("data:image/png;base64,AQI=", Some(&[1, 2][..])),
            ("DATA:image/png;base64,AQI", Some(&[1, 2])),
            ("data:image/png;base64,*", None),
            ("data:image/png,AQI=", None),
            ("data:", None),
        ] {
            let decoded = is_data_url(url).then(|| decode(url)).flatten();
            assert_eq!(decoded.as_deref(), expected, "{url}");
        }
        assert!(!is_data_url("dat") && !is_data_url("http://x"));
    }
}
