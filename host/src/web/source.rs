//! Pictures that an edit changes, as clients bring them or name them.

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Uri;

use super::error::ApiError;
use crate::app::App;
use crate::engine::Limits;
use crate::images::Image;
use crate::jobs::MAX_SOURCE_BYTES;
use crate::store::User;

/// Length of a request that brings pictures, in bytes: they may be in base64.
pub(super) const MAX_EDIT_BODY_BYTES: usize = MAX_SOURCE_BYTES / 3 * 4 + (1 << 20);
/// Pictures to change that one request may bring.
const MAX_SOURCES: usize = 16;

/// Length of a file's id, in bytes. Longer ones are nobody's.
const MAX_ID_BYTES: usize = 100;

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
    let limits = Limits::job(std::time::Duration::ZERO).image;
    Image::from_bytes(bytes, limits)
        .map_err(|why| ApiError::invalid(field, format!("{field} cannot be used: {why}")))
}

/// The picture of a data URL, or of the address of a stored file that this user may have.
///
/// Nothing is fetched: a client that can send an address can send the bytes.
pub(super) async fn at_address(
    app: &App,
    user: &User,
    field: &str,
    address: &str,
) -> Result<Image, ApiError> {
    let refused = |message| Err(ApiError::invalid(field, message));
    if is_data_url(address) {
        return match decode(address) {
            Some(bytes) => picture(field, bytes.into()),
            None => refused(format!("{field} has a data URL that is not base64")),
        };
    }
    match file_id(address) {
        Some(id) => stored(app, user, field, &id).await,
        None => refused(format!(
            "{field} names an address that is not fetched: send the picture itself, or the address \
             of a stored file (/api/v1/files/…/content)"
        )),
    }
}

/// The picture of a stored file that this user may have.
pub(super) async fn stored(
    app: &App,
    user: &User,
    field: &str,
    id: &str,
) -> Result<Image, ApiError> {
    let found = read(app, user, id).await;
    match found.map_err(|error| ApiError::internal(&error))? {
        Some(bytes) => picture(field, bytes),
        None => {
            let message = format!("{field} names a file that is not there");
            Err(ApiError::invalid(field, message))
        }
    }
}

async fn read(app: &App, user: &User, id: &str) -> Result<Option<Bytes>> {
    if id.len() > MAX_ID_BYTES {
        return Ok(None);
    }
    let Some(row) = app.files.find(id, user).await? else {
        return Ok(None);
    };
    let Some(chunks) = app.files.read(&row, 0..row.length()).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = chunks.try_collect().await?;
    Ok(Some(chunks.concat().into()))
}

fn is_data_url(address: &str) -> bool {
    address
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn decode(url: &str) -> Option<Vec<u8>> {
    let (head, text) = url.split_once(',')?;
    head.ends_with(";base64")
        .then(|| base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok())?
}

/// The id in the address of a stored file: a path as an answer of ours gives it, or a whole URL
/// whose path it is. The host is not looked at: only we know by what names we are reached.
fn file_id(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    if !matches!(address.scheme_str(), None | Some("http" | "https")) {
        return None;
    }
    let mut parts = address.path().strip_prefix("/api/v1/files/")?.split('/');
    let id = parts.next().filter(|id| !id.is_empty())?;
    matches!(parts.next(), None | Some("content")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_files_are_known_by_their_path() {
        for (address, expected) in [
            ("/api/v1/files/5/content", Some("5")),
            ("/api/v1/files/5", Some("5")),
            ("/api/v1/files/5/content/fox.png?attachment=true", Some("5")),
            ("https://pictures.example/api/v1/files/5/content", Some("5")),
            ("http://127.0.0.1:8080/api/v1/files/5", Some("5")),
            ("ftp://127.0.0.1/api/v1/files/5", None),
            ("http://127.0.0.1/x/api/v1/files/5", None),
            ("/api/v1/files/", None),
            ("/api/v1/files//content", None),
            ("/api/v1/files/5/thumbnail", None),
            ("/api/v1/files/../x/content", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(file_id(address).as_deref(), expected, "{address}");
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
