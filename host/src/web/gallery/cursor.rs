//! Cursors: the place of an image in the gallery, as an opaque text.

use base64_simd::URL_SAFE_NO_PAD;

use crate::store::GalleryCursor;
use crate::web::error::ApiError;

/// Length of a cursor, in bytes.
const MAX_CURSOR_BYTES: usize = 300;

pub(super) fn encode_cursor(cursor: &GalleryCursor) -> String {
    let GalleryCursor { created_at, id } = cursor;
    URL_SAFE_NO_PAD.encode_to_string(format!("{created_at}.{id}"))
}

pub(super) fn decode_cursor(text: &str) -> Result<GalleryCursor, ApiError> {
    parse(text).ok_or_else(|| {
        let detail = "cursor is invalid: use next of the page before, or leave it out";
        ApiError::invalid("cursor", detail)
    })
}

fn parse(text: &str) -> Option<GalleryCursor> {
    if text.len() > MAX_CURSOR_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
    let decoded = String::from_utf8(bytes).ok()?;
    let (created_at, id) = decoded.split_once('.')?;
    if id.contains('\0') {
        return None;
    }
    Some(GalleryCursor {
        created_at: created_at.parse().ok()?,
        id: id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_what_was_encoded() {
        let cursor = GalleryCursor {
            created_at: 1_700_000_000,
            id: "0b2e-5".to_owned(),
        };
        assert_eq!(decode_cursor(&encode_cursor(&cursor)).unwrap(), cursor);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode_to_string(text);
        for invalid in [
            String::new(),
            "!".to_owned(),
            encode("5"),
            encode("x.5"),
            encode("5.a\0"),
            encode(&format!("5.{}", "a".repeat(300))),
            URL_SAFE_NO_PAD.encode_to_string([b'5', b'.', 0xff]),
        ] {
            assert!(decode_cursor(&invalid).is_err(), "{invalid}");
        }
    }
}
