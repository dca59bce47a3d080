//! The response with a file of a site: its type, caching and encoding.

use std::io;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
};
use http::{Method, StatusCode};

use super::SiteRequest;
use super::media_type::media_type;
use crate::file_chunks::{FileChunks, blocking};
use crate::site::{ContentEncoding, FileContent, SiteFile};
use crate::web::files::is_cached;

/// Paths of chats and messages stay on this server.
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// How long a browser uses a file without asking for it again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// The name changes with the content.
    Immutable,
    /// Each use asks whether the file has changed.
    Revalidated,
}

impl Caching {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Revalidated => "no-cache",
        })
    }
}

/// The encodings that a client accepts, the best first.
pub(super) fn accepted_encodings(headers: &HeaderMap) -> Vec<ContentEncoding> {
    let accepts = |encoding: &ContentEncoding| {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let mut items = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        items.any(|item| is_accepted(item, encoding.name()))
    };
    ContentEncoding::ALL.into_iter().filter(accepts).collect()
}

/// Does the item of `Accept-Encoding` name the encoding, with another weight than 0?
fn is_accepted(item: &str, encoding: &str) -> bool {
    let (name, weight) = item.split_once(';').unwrap_or((item, ""));
    let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
    let is_refused = weight.parse().is_ok_and(|weight: f32| weight == 0.0);
    name.trim().eq_ignore_ascii_case(encoding) && !is_refused
}

/// Sends a file with the media type of this path.
pub(super) async fn send(
    file: SiteFile,
    path: &str,
    caching: Caching,
    request: &SiteRequest<'_>,
) -> io::Result<Response> {
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(media_type(path))),
        (CACHE_CONTROL, caching.header()),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ]);
    let tag = HeaderValue::try_from(format!("\"{}\"", file.version)).ok();
    headers.extend(tag.clone().map(|tag| (ETAG, tag)));
    if is_cached(request.headers, tag.as_ref()) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    if let Some(encoding) = file.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(file.length));
    if request.method == Method::HEAD {
        return Ok((headers, Body::empty()).into_response());
    }
    let body = read(file.content, file.length).await?;
    Ok((headers, body).into_response())
}

async fn read(content: FileContent, length: u64) -> io::Result<Body> {
    let file = match content {
        FileContent::File(file) => file,
        FileContent::Bytes(std::borrow::Cow::Borrowed(bytes)) => {
            return Ok(Body::from(Bytes::from_static(bytes)));
        }
        FileContent::Bytes(bytes) => return Ok(Body::from(bytes.into_owned())),
    };
    let chunks = FileChunks::new(file, length);
    Ok(match blocking(move || chunks.next()).await? {
        Some((first, rest)) => Body::from_stream(rest.into_stream(first)),
        None => Body::empty(),
    })
}

/// Sets what the file may load, and what other servers learn about its URL.
pub(super) fn set_policy(headers: &mut HeaderMap, policy: HeaderValue) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, SAME_ORIGIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_encodings_are_those_without_weight_zero() {
        let check = |value: &'static str, expected: &[ContentEncoding]| {
            let headers =
                HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(accepted_encodings(&headers), expected, "{value}");
        };
        let (brotli, gzip) = (ContentEncoding::Brotli, ContentEncoding::Gzip);
        check("gzip, deflate, br, zstd", &[brotli, gzip]);
        check("GZIP;q=0.5", &[gzip]);
        check("br;q=0, gzip;q=1.0", &[gzip]);
        check("br ; q=0.000", &[]);
        check("identity", &[]);
        check("brx, xgzip", &[]);
        check("", &[]);
        assert_eq!(accepted_encodings(&HeaderMap::new()), []);
    }
}
