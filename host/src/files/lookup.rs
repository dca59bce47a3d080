//! Pictures that a caller brings along or names: by a data URL, or as a stored file of their own.
//!
//! Nothing is fetched from elsewhere: who can send an address can send the bytes.

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Uri;

use pinhole_sandbox::Limits;
use crate::files::Files;
use pinhole_images::Image;
use crate::store::User;

/// Pictures to change that one request may bring.
pub const MAX_SOURCES: usize = 16;
/// Length of a file's id, in bytes. Longer ones are nobody's.
const MAX_ID_BYTES: usize = 100;

/// Why a picture cannot be used. Each text goes on from what names the picture.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The bytes are no picture within the limits.
    #[error("cannot be used: {0}")]
    Picture(String),
    /// A data URL in another encoding.
    #[error("has a data URL that is not base64")]
    NotBase64,
    /// An address of somebody else's.
    #[error(
        "names an address that is not fetched: send the picture itself, or the address of a \
         stored file (/api/v1/files/…/content)"
    )]
    Elsewhere,
    /// No file that this user may have.
    #[error("names a file that is not there")]
    Missing,
    /// Our own failure.
    #[error("cannot be read")]
    Ours(anyhow::Error),
}

/// A picture from its bytes.
pub fn picture(bytes: Bytes) -> Result<Image, Unusable> {
    let limits = Limits::job(std::time::Duration::ZERO).image;
    Image::from_upload(bytes, limits).map_err(Unusable::Picture)
}

/// A picture by its data URL, or by the address or id of a stored file that this user may have.
pub async fn named(files: &Files, user: &User, name: &str) -> Result<Image, Unusable> {
    match name.contains([':', '/']) {
        true => at_address(files, user, name).await,
        false => stored(files, user, name).await,
    }
}

/// The same, where it cannot be an id.
pub async fn at_address(files: &Files, user: &User, address: &str) -> Result<Image, Unusable> {
    if is_data_url(address) {
        let bytes = decode(address).ok_or(Unusable::NotBase64)?;
        return picture(bytes.into());
    }
    match file_id(address) {
        Some(id) => stored(files, user, &id).await,
        None => Err(Unusable::Elsewhere),
    }
}

/// The picture of a stored file that this user may have.
pub async fn stored(files: &Files, user: &User, id: &str) -> Result<Image, Unusable> {
    let bytes = read(files, user, id).await.map_err(Unusable::Ours)?;
    picture(bytes.ok_or(Unusable::Missing)?)
}

async fn read(files: &Files, user: &User, id: &str) -> Result<Option<Bytes>> {
    if id.len() > MAX_ID_BYTES {
        return Ok(None);
    }
    let Some(row) = files.find(id, user).await? else {
        return Ok(None);
    };
    let Some(chunks) = files.read(&row, 0..row.length()).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = chunks.try_collect().await?;
    Ok(Some(chunks.concat().into()))
}

/// Is it the id or the address of a stored file, whether there is one or not?
#[must_use]
pub fn is_stored(name: &str) -> bool {
    match name.contains([':', '/']) {
        true => file_id(name).is_some(),
        false => !name.is_empty(),
    }
}

/// Does it carry its picture itself?
#[must_use]
pub fn is_data_url(address: &str) -> bool {
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
