//! A body without a form has the media type and the values that the guest gave.

use pinhole_sandbox::contract::pinhole::engine::upstream::{Body, Part};

use super::multipart::assemble;
use super::{ITEM_SEPARATOR, LIST_SEPARATOR, split};

/// Input: a media type, then pairs of a name and a value. The byte 0x1e separates them, and the byte 0x1f name and
/// value.
///
/// A server that reads an urlencoded body by the rules of HTML finds the same pairs. A raw body has the media type as
/// its only content type, and the value as its bytes.
pub fn bodies(bytes: &[u8]) {
    let mut items = bytes.split(|byte| *byte == LIST_SEPARATOR);
    let media_type = String::from_utf8_lossy(items.next().unwrap_or_default()).into_owned();
    let pairs: Vec<(String, String)> = items
        .map(|item| {
            let mut texts = split(item, ITEM_SEPARATOR);
            let mut next_text = || texts.next().unwrap_or_default();
            (next_text(), next_text())
        })
        .collect();
    if let Some(body) = assemble(Body::Urlencoded(pairs.clone())) {
        let content_type = body.content_type.expect("a content type");
        assert_eq!(content_type, "application/x-www-form-urlencoded");
        assert_eq!(parse_urlencoded(&body.bytes), pairs);
    }
    let parts = pairs.iter().map(|(_, value)| Part::Text(value.clone()));
    if let Some(body) = assemble(Body::Raw((media_type.clone(), parts.collect()))) {
        let content_type = body.content_type.expect("a content type");
        assert_eq!(content_type.as_bytes(), media_type.as_bytes());
        assert!(!media_type.contains(['\r', '\n', '\0']), "{media_type:?}");
        let (kind, format) = media_type.split_once('/').expect("a slash");
        assert!(!kind.trim().is_empty() && !format.trim().is_empty());
        let values: String = pairs.into_iter().map(|(_, value)| value).collect();
        assert_eq!(body.bytes, values);
    }
}

/// The pairs as the rules of HTML read them.
fn parse_urlencoded(body: &[u8]) -> Vec<(String, String)> {
    if body.is_empty() {
        return Vec::new();
    }
    let text = |encoded: &[u8]| String::from_utf8(decode(encoded)).expect("UTF-8");
    body.split(|byte| *byte == b'&')
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut next_half = || text(halves.next().unwrap_or_default());
            (next_half(), next_half())
        })
        .collect()
}

fn decode(encoded: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), encoded);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                decoded.push(b' ');
                rest = after;
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}
