//! What an upstream sent in place of JSON or of an image, for an error message.

use bytes::Bytes;
use pinhole_ground::text::plain;

use crate::json_document::Document;

/// Length of a text or title that a description quotes, in bytes.
const MAX_QUOTE_BYTES: usize = 120;
/// Length of the beginning of a page in which its title is looked for, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Length of JSON whose keys a description names, in bytes.
const MAX_JSON_BYTES: usize = 64 << 10;

/// The first bytes of formats that are neither JSON nor an image that the host accepts.
const SIGNATURES: [(&[u8], &str); 17] = [
    (b"\x1a\x45\xdf\xa3", "a video (WebM or Matroska)"),
    (b"FLV\x01", "a video (FLV)"),
    (b"\x00\x00\x01\xba", "a video (MPEG)"),
    (b"ID3", "an audio file (MP3)"),
    (b"\xff\xfb", "an audio file (MP3)"),
    (b"OggS", "an audio file (Ogg)"),
    (b"fLaC", "an audio file (FLAC)"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed data (gzip)"),
    (b"glTF", "a 3D model (glTF)"),
];

/// What the bytes are, if they are clearly not JSON, such as `an HTML page "Sign in"`.
pub(crate) fn describe(bytes: &[u8]) -> Option<String> {
    if bytes.trim_ascii().is_empty() {
        return Some("empty".to_owned());
    }
    if let Some(format) = container_format(bytes) {
        return Some(format.to_owned());
    }
    let signature = SIGNATURES
        .iter()
        .find(|(signature, _)| bytes.starts_with(signature));
    if let Some((_, name)) = signature {
        return Some((*name).to_owned());
    }
    let head = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    head.starts_with('<').then(|| describe_markup(head))
}

/// What the bytes are in place of an image, texts and JSON included.
pub(crate) fn describe_for_image(bytes: &Bytes) -> Option<String> {
    let known = describe(bytes);
    if known.is_some() {
        return known;
    }
    if bytes.len() <= MAX_JSON_BYTES
        && let body = bytes.clone().into()
        && Document::values_bytes(&body).is_ok()
        && let Ok(document) = Document::parse(body)
    {
        return Some(document.outline());
    }
    let head = bytes.get(..MAX_QUOTE_BYTES).unwrap_or(bytes);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may split a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_text = !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    is_text.then(|| format!("the text {:?}", plain(text.trim(), MAX_QUOTE_BYTES)))
}

/// The format of a file whose signature is not at its start.
fn container_format(bytes: &[u8]) -> Option<&'static str> {
    let tag = bytes.get(8..12)?;
    if bytes.starts_with(b"RIFF") {
        return match tag {
            b"AVI " => Some("a video (AVI)"),
            b"WAVE" => Some("an audio file (WAV)"),
            _ => None,
        };
    }
    if bytes.get(4..8) != Some(b"ftyp") {
        return None;
    }
    match tag {
        b"avif" | b"avis" => None,
        b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => Some("a HEIC image"),
        b"M4A " | b"M4B " => Some("an audio file (M4A)"),
        b"qt  " => Some("a video (QuickTime)"),
        _ => Some("a video (MP4)"),
    }
}

/// A page with its title, or a document of another markup language.
fn describe_markup(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let element = |name: &str| {
        let (_, after) = find_split(&lower, &format!("<{name}"), 0)?;
        let (_, start) = find_split(&lower, ">", after)?;
        let (end, _) = find_split(&lower, &format!("</{name}"), start)?;
        let words: Vec<&str> = text.get(start..end)?.split_whitespace().collect();
        (!words.is_empty()).then(|| plain(&words.join(" "), MAX_QUOTE_BYTES))
    };
    let kind = if lower.contains("<svg") && !lower.contains("<html") {
        "an SVG image"
    } else if lower.starts_with("<?xml") || !lower.contains("<htm") && !lower.contains("<!doctype")
    {
        "an XML document"
    } else {
        "an HTML page"
    };
    match element("title")
        .or_else(|| element("h1"))
        .or_else(|| element("message"))
    {
        Some(title) => format!("{kind} \"{title}\""),
        None => kind.to_owned(),
    }
}

/// Start and end of the first occurrence from `start` on.
fn find_split(text: &str, pattern: &str, start: usize) -> Option<(usize, usize)> {
    let found = start + text.get(start..)?.find(pattern)?;
    Some((found, found + pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let described = describe_for_image(&Bytes::copy_from_slice(bytes));
        assert_eq!(described.as_deref(), Some(expected));
    }

    #[test]
    fn foreign_content_is_named_by_its_first_bytes() {
        check(b"", "empty");
        check(b" \n", "empty");
        check(b"\0\0\0\x20ftypisom\0\0", "a video (MP4)");
        check(b"\0\0\0\x20ftypheic\0\0", "a HEIC image");
        check(b"RIFF\0\0\0\0WAVEfmt ", "an audio file (WAV)");
        check(b"\x1a\x45\xdf\xa3....", "a video (WebM or Matroska)");
        check(b"BM......", "a BMP image");
        check(b"%PDF-1.7", "a PDF");
        for image in [
            &b"\x89PNG\r\n\x1a\n"[..],
            b"RIFF\0\0\0\0WEBP",
            b"\0\0\0\x1cftypavif",
        ] {
            assert_eq!(describe(image), None);
        }
    }

    #[test]
    fn foreign_content_of_text_is_quoted() {
        check(
            b"\xef\xbb\xbf<!DOCTYPE html>\n<html><head><title>\n 502 Bad\n Gateway</title>",
            "an HTML page \"502 Bad Gateway\"",
        );
        check(b"<html><body><h1>Busy</h1>", "an HTML page \"Busy\"");
        check(b"<html>", "an HTML page");
        check(
            b"<?xml version='1.0'?><Error><Code>x</Code><Message>No such key</Message></Error>",
            "an XML document \"No such key\"",
        );
        check(b"<svg xmlns='x'/>", "an SVG image");
        check(b"Server is starting\n", "the text \"Server is starting\"");
        check(
            b"{\"detail\": \"no\", \"id\": 7}",
            "JSON with the keys detail, id",
        );
        check(b"[]", "an empty list");
        check(b"[1]", "a list");
        check(b"{}", "an empty object");
        let split = format!("{}é", "a".repeat(MAX_QUOTE_BYTES - 1));
        check(
            split.as_bytes(),
            &format!("the text {:?}", "a".repeat(MAX_QUOTE_BYTES - 1)),
        );
        assert_eq!(
            describe_for_image(&Bytes::from_static(b"\0\x01\x02binary")),
            None
        );
    }
}
