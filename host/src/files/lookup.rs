//! Resolves the images that a client refers to: data URLs and stored files.
//!
//! Other URLs are never fetched: a client that has the URL can send the image.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Uri;
use pinhole_ground::memory::MemoryFull;
use pinhole_images::Image;
use pinhole_sandbox::Limits;

use super::Files;
use super::data_url::{decode_base64, decode_data_url, decoded_length, is_data_url};
use crate::store::{FileRow, User};

/// Source images of one edit.
pub const MAX_SOURCES: usize = 16;
/// Length of a file's id in bytes. Longer ones are unknown.
const MAX_ID_BYTES: usize = 100;

/// How a client names an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageReference<'a> {
    /// A URL that contains the image.
    DataUrl(&'a str),
    /// The image in base64.
    Base64(&'a str),
    /// The id of a stored file, which may not exist.
    StoredFile(String),
    /// Any other URL.
    OtherUrl,
}

/// Why an image cannot be used. Each text continues a sentence that starts with the image's name.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The bytes are not an image within the limits.
    #[error("cannot be used: {0}")]
    InvalidImage(String),
    #[error("has a data URL that is not base64")]
    NotBase64,
    #[error(
        "has a URL that the server does not fetch: send the image itself, or the URL of a stored \
         file (/api/v1/files/…/content)"
    )]
    OtherUrl,
    /// The user has no such file.
    #[error("refers to a file that does not exist")]
    FileMissing,
    /// The image does not fit into memory.
    #[error("cannot be loaded: {0}")]
    MemoryFull(MemoryFull),
    /// The server failed.
    #[error("cannot be read")]
    Internal(#[source] anyhow::Error),
}

impl<'a> ImageReference<'a> {
    /// Parses a URL or the id of a stored file.
    #[must_use]
    pub fn parse(reference: &'a str) -> Self {
        if reference.contains([':', '/']) {
            return Self::parse_url(reference);
        }
        Self::StoredFile(reference.to_owned())
    }

    /// Parses a URL.
    #[must_use]
    pub fn parse_url(url: &'a str) -> Self {
        if is_data_url(url) {
            return Self::DataUrl(url);
        }
        match parse_file_url(url) {
            Some(id) => Self::StoredFile(id),
            None => Self::OtherUrl,
        }
    }

    /// True if the reference names a stored file, whether the file exists or not.
    #[must_use]
    pub fn is_stored_file(&self) -> bool {
        matches!(self, Self::StoredFile(id) if !id.is_empty())
    }

    /// Loads the image. A stored file must be one that the user may read.
    pub async fn load(&self, files: &Files, user: &User) -> Result<Image, LookupError> {
        match self {
            Self::DataUrl(text) | Self::Base64(text) => {
                let share = files.memory_of(user);
                let lease = share.lease(decoded_length(text)).await;
                let lease = lease.map_err(LookupError::MemoryFull)?;
                let bytes = match self {
                    Self::DataUrl(url) => decode_data_url(url).ok_or(LookupError::NotBase64),
                    _ => decode_base64(text)
                        .ok_or_else(|| LookupError::InvalidImage("it is not base64".to_owned())),
                };
                parse_image(lease.attach(bytes?))
            }
            Self::StoredFile(id) => load_file(files, user, id).await,
            Self::OtherUrl => Err(LookupError::OtherUrl),
        }
    }
}

/// Loads the image of a stored file that the user may read.
pub async fn load_file(files: &Files, user: &User, id: &str) -> Result<Image, LookupError> {
    if id.len() > MAX_ID_BYTES {
        return Err(LookupError::FileMissing);
    }
    let row = files.find(id, user).await.map_err(LookupError::Internal)?;
    let row = row.ok_or(LookupError::FileMissing)?;
    let length = usize::try_from(row.length()).unwrap_or(usize::MAX);
    let lease = files.memory_of(user).lease(length).await;
    let lease = lease.map_err(LookupError::MemoryFull)?;
    let bytes = read_file(files, &row, length)
        .await
        .map_err(LookupError::Internal)?;
    let image = parse_image(lease.attach(bytes.ok_or(LookupError::FileMissing)?))?;
    Ok(image.with_file_id(id))
}

/// Checks the bytes of a client's image.
pub fn parse_image(bytes: Bytes) -> Result<Image, LookupError> {
    let limits = Limits::job(Duration::ZERO).image;
    Image::from_upload(bytes, limits).map_err(|refusal| LookupError::InvalidImage(refusal.reason))
}

async fn read_file(files: &Files, row: &FileRow, length: usize) -> Result<Option<Vec<u8>>> {
    let Some(stream) = files.read(row, 0..row.length()).await? else {
        return Ok(None);
    };
    let mut chunks = pin!(stream);
    let mut bytes = Vec::with_capacity(length);
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// The id in the URL of a stored file: a path, or a whole URL of any host, because only the client knows
/// the names of this server.
fn parse_file_url(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return None;
    }
    let mut segments = uri.path().strip_prefix("/api/v1/files/")?.split('/');
    let id = segments.next().filter(|id| !id.is_empty())?;
    matches!(segments.next(), None | Some("content")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_file_url_accepts_content_and_file_paths() {
        for (url, expected) in [
            ("/api/v1/files/5/content", Some("5")),
            ("/api/v1/files/5", Some("5")),
            ("/api/v1/files/5/content/fox.png?attachment=true", Some("5")),
            ("https://images.example/api/v1/files/5/content", Some("5")),
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
            assert_eq!(parse_file_url(url).as_deref(), expected, "{url}");
        }
    }
}
