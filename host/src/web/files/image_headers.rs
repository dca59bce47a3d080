//! Headers of an image's bytes: media type, caching and isolation.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH,
};

use pinhole_ground::guard::Guard;
use pinhole_images::MEDIA_TYPES;

use crate::store::FileRow;

/// A file never changes; caches retain nothing longer than a year.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// A browser never renders the bytes as a document, whatever they are.
const NO_DOCUMENT: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
/// Pages of other sites can neither show nor read the image.
const SAME_SITE: HeaderValue = HeaderValue::from_static("same-site");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// A strong entity tag: the hash of the file, with a suffix for what was derived from it. `None` if
/// the file has no hash.
pub(super) fn entity_tag(file: &FileRow, suffix: &str) -> Option<HeaderValue> {
    if file.hash.is_empty() {
        return None;
    }
    HeaderValue::try_from(format!("\"{}{suffix}\"", file.hash)).ok()
}

/// Does `If-None-Match` contain the tag?
pub(in crate::web) fn is_cached(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else {
        return false;
    };
    let mut cached = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    cached.any(|cached| cached == "*" || cached.strip_prefix("W/").unwrap_or(cached) == tag)
}

pub(super) fn not_modified(tag: Option<HeaderValue>) -> Response {
    let mut headers = HeaderMap::from_iter([(CACHE_CONTROL, IMMUTABLE)]);
    headers.extend(tag.map(|tag| (ETAG, tag)));
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// Lets pages of all sites show the image, and caches keep it as long as its link works.
pub(super) fn allow_other_sites(headers: &mut HeaderMap, link_secs: u64) {
    let cross_origin = HeaderValue::from_static("cross-origin");
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, cross_origin);
    let max_age = format!("private, max-age={link_secs}");
    if let Ok(max_age) = HeaderValue::try_from(max_age) {
        headers.insert(CACHE_CONTROL, max_age);
    }
}

/// A media type that is not a known image format is only downloaded, never rendered.
pub(super) fn safe_type<'a>(media_type: &str, disposition: &'a str) -> (&'static str, &'a str) {
    match MEDIA_TYPES.into_iter().find(|known| *known == media_type) {
        Some(known) => (known, disposition),
        None => ("application/octet-stream", "attachment"),
    }
}

/// The headers of the bytes.
pub(super) fn image_headers(
    media_type: &str,
    tag: Option<&HeaderValue>,
    disposition: &str,
) -> HeaderMap {
    let (content_type, content_disposition) = safe_type(media_type, disposition);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    if Guard::NoDocument.applies(true) {
        headers.insert(CONTENT_SECURITY_POLICY, NO_DOCUMENT);
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, SAME_SITE);
    }
    if let Ok(value) = HeaderValue::try_from(content_disposition) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    if let Some(tag) = tag {
        headers.insert(ETAG, tag.clone());
    }
    headers
}

/// A `Content-Disposition` with the file's name: in ASCII, and also in UTF-8 if that differs.
///
/// Source: RFC 6266.
pub(super) fn disposition(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._ ".contains(c);
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let mut disposition = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        disposition.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte {
                b'-' | b'.' | b'_' => disposition.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => disposition.push(char::from(byte)),
                byte => disposition.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    disposition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disposition_contains_name_in_ascii_and_utf8() {
        let check = |name: &str, expected: &str| assert_eq!(disposition("inline", name), expected);
        check("a fox.png", "inline; filename=\"a fox.png\"");
        check(
            "Füchse \"1\".png",
            "inline; filename=\"F_chse _1_.png\"; filename*=UTF-8''F%C3%BCchse%20%221%22.png",
        );
        check(
            "a\r\nb;c",
            "inline; filename=\"a__b_c\"; filename*=UTF-8''a%0D%0Ab%3Bc",
        );
    }

    fn check_cached(value: &'static str, expected: bool) {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
        let tag = HeaderValue::from_static("\"ab\"");
        assert_eq!(is_cached(&headers, Some(&tag)), expected, "{value}");
    }

    #[test]
    fn is_cached_finds_tag_in_if_none_match() {
        for value in [
            "\"ab\"",
            "W/\"ab\"",
            "*",
            "\"x\", \"ab\"",
            "\"x\",W/\"ab\" ",
        ] {
            check_cached(value, true);
        }
        for value in ["", "ab", "\"abc\"", "\"x\", \"y\"", "w/\"ab\""] {
            check_cached(value, false);
        }
        assert!(!is_cached(&HeaderMap::new(), None));
    }
}
