//! URLs and paths in canonical spelling. A URL in another spelling is refused and never repaired, so
//! that all parsers agree on host, port and path.
//!
//! No error repeats the text before a host: it may be a password, or a key that was pasted into the
//! wrong setting.

use std::borrow::Cow;

use ::url::{Host, Url};
use pinhole_ground::guard::{Guard, Refusal};

/// Length of a host name in bytes.
const MAX_HOST_BYTES: usize = 253;
/// Length of a label of a host name in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Parses an `http` or `https` URL whose host and port are in canonical spelling.
pub fn parse_url(text: &str) -> Result<Url, Refusal> {
    let url = Url::parse(text).map_err(|error| format!("the URL is invalid: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL does not start with http:// or https://".into());
    }
    check_authority(text, &url)?;
    Ok(url)
}

/// Checks that the text between scheme and path is the canonical spelling of a host and port.
fn check_authority(text: &str, url: &Url) -> Result<(), Refusal> {
    let host = url.host_str().unwrap_or_default();
    let has_user = !url.username().is_empty() || url.password().is_some();
    Guard::Authority.refuse_if(has_user, || {
        format!("the URL of {host} contains a user name or a password")
    })?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest
        .split(['/', '?', '#'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let default_port = if url.scheme() == "https" { 443 } else { 80 };
    let (canonical, with_default_port) = match url.port() {
        Some(port) => (format!("{host}:{port}"), None),
        None => (host.to_owned(), Some(format!("{host}:{default_port}"))),
    };
    let is_spelled = authority == canonical || Some(authority) == with_default_port;
    // A parser would repair whitespace before the scheme and missing slashes after it.
    let is_canonical = scheme.eq_ignore_ascii_case(url.scheme())
        && match url.host() {
            Some(Host::Domain(name)) => is_host_name(name),
            ip => ip.is_some(),
        };
    Guard::Authority.refuse_if(!is_canonical || !is_spelled, || {
        format!(
            "the URL of {host} does not have its host and port in canonical spelling: write {}",
            canonical.trim_end_matches('.')
        )
    })?;
    // Some parsers read a backslash as a slash.
    Guard::Authority.refuse_if(!is_visible_ascii(rest) || rest.contains('\\'), || {
        format!("the URL of {host} contains a character that must be percent-encoded")
    })
}

/// True for letters, digits, hyphens and underscores between single dots.
pub(crate) fn is_host_name(host: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label)
}

/// Parses a base URL: canonical, without query and fragment.
pub(crate) fn parse_base(text: &str) -> Result<Url, Refusal> {
    let url = parse_url(text)?;
    let host = url.host_str().unwrap_or_default();
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "the base URL of {host} has a query or a fragment: it must end with its path"
        )
        .into());
    }
    if let Some(problem) = find_segment_problem(url.path().trim_end_matches('/')) {
        return Err(format!("the path of the base URL of {host} {problem}").into());
    }
    // The parsed path has no `..` any more, so compare it with the text.
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let path = rest.find('/').and_then(|start| rest.get(start..));
    if path.is_some_and(|path| path != url.path()) {
        return Err(format!(
            "the base URL of {host} does not have its path in canonical spelling: remove `.` and `..` \
             and percent-encode special characters"
        )
        .into());
    }
    Ok(url)
}

/// The URL of a reference in a response from a URL, such as the target of a redirect. An absolute one is checked
/// like a first URL.
pub(crate) fn parse_redirect(from: &Url, location: &str) -> Result<Url, Refusal> {
    let first_delimiter = location.bytes().find(|byte| b":/?#".contains(byte));
    if first_delimiter == Some(b':') {
        return parse_url(location);
    }
    if location.starts_with("//") {
        return parse_url(&format!("{}:{location}", from.scheme()));
    }
    let invalid = || {
        let host = from.host_str().unwrap_or_default();
        Refusal::from(format!("{host} names an invalid location"))
    };
    let target = from.join(location).map_err(|_| invalid())?;
    // A relative location has no host, so it must not change the host by other characters.
    if target.origin() != from.origin() || !is_visible_ascii(location) {
        return Err(invalid());
    }
    parse_url(target.as_str())
}

/// The target of a redirect. Characters that must be percent-encoded are, as in [`parse_image_url`]. A backslash is
/// refused, because some parsers read it as a slash, and so are control characters.
pub(crate) fn parse_location(from: &Url, location: &str) -> Result<Url, Refusal> {
    if location.contains(|letter: char| letter == '\\' || letter.is_control()) {
        let host = from.host_str().unwrap_or_default();
        return Err(format!("{host} names an invalid location").into());
    }
    parse_redirect(from, &encode_characters(location))
}

/// The URL by which an upstream names an image: absolute, or relative to its base URL. Characters that must be
/// percent-encoded are, because file names contain them.
pub(crate) fn parse_image_url(base: &Url, text: &str) -> Result<Url, Refusal> {
    let mut folder = base.clone();
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", folder.path()));
    }
    parse_redirect(&folder, &encode_characters(text.trim()))
}

/// Percent-encodes what a URL must not contain after its host, a single `%` included.
fn encode_characters(text: &str) -> Cow<'_, str> {
    let start = authority_end(text);
    let (authority, rest) = text.split_at(start);
    let needs_encoding = |(position, byte): (usize, u8)| {
        let is_allowed = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        let escape = rest.as_bytes().get(position..position + 3);
        !is_allowed || byte == b'%' && !escape.is_some_and(is_percent_encoded)
    };
    if !rest.bytes().enumerate().any(needs_encoding) {
        return text.into();
    }
    let mut encoded = authority.to_owned();
    for (position, byte) in rest.bytes().enumerate() {
        if needs_encoding((position, byte)) {
            encoded.push_str(&format!("%{byte:02X}"));
        } else {
            encoded.push(char::from(byte));
        }
    }
    encoded.into()
}

/// Where the host and port of a URL or of a `//host` reference end; 0 if it has no host.
fn authority_end(text: &str) -> usize {
    let Some((before, rest)) = text.split_once("//") else {
        return 0;
    };
    if before.contains(['/', '?', '#']) || !(before.is_empty() || before.ends_with(':')) {
        return 0;
    }
    let start = before.len() + 2;
    rest.find(['/', '?', '#'])
        .map_or(text.len(), |end| start + end)
}

/// Checks a path that is appended to a base URL: absolute, and without `..`, empty segments and encoded
/// separators.
pub(crate) fn check_path(path: &str, query: Option<&str>) -> Result<(), Refusal> {
    let refuse_if = |condition: bool, problem: &str| {
        Guard::Path.refuse_if(condition, || format!("path {path:?} {problem}"))
    };
    refuse_if(!path.starts_with('/'), "does not start with a slash")?;
    let is_strict = |text: &str| {
        is_visible_ascii(text) && !text.bytes().any(|byte| b"#\\\"<>`{}".contains(&byte))
    };
    refuse_if(
        !is_strict(path) || !query.is_none_or(is_strict),
        "contains a character that must be percent-encoded",
    )?;
    let problem = find_segment_problem(path);
    refuse_if(problem.is_some(), problem.unwrap_or_default())
}

/// The first problem of a path's segments, in any way that a server may decode them.
fn find_segment_problem(path: &str) -> Option<&'static str> {
    if path.contains("//") {
        return Some("has an empty segment");
    }
    path.split('/').find_map(|segment| {
        let Some(bytes) = percent_decode(segment) else {
            return Some("has a % without two hexadecimal digits");
        };
        // Such as an overlong form of a dot, which some servers decode.
        let Ok(text) = String::from_utf8(bytes) else {
            return Some("is not UTF-8 when it is decoded");
        };
        let decoded = normalize(text).into_bytes();
        let is_hidden = |byte: &u8| b"/\\".contains(byte) || byte.is_ascii_control();
        if decoded.iter().any(is_hidden) {
            return Some("contains an encoded separator or control character");
        }
        if decoded.windows(3).any(is_percent_encoded) {
            return Some("is percent-encoded twice");
        }
        // Some servers read the text after a semicolon as a parameter, and some end the path at an
        // encoded `?` or `#`.
        let name = decoded.split(|byte| b";?#".contains(byte)).next();
        matches!(name, Some(b"." | b"..")).then_some("contains `.` or `..`")
    })
}

/// Replaces the characters that a server may read as ASCII: by Unicode's compatibility forms, or by the
/// nearest characters of a code page.
fn normalize(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let mut normalized = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\u{2024}' | '\u{3002}' | '\u{fe52}' | '\u{ff61}' => normalized.push('.'),
            '\u{2025}' | '\u{fe30}' => normalized.push_str(".."),
            '\u{2044}' | '\u{2215}' | '\u{29f8}' => normalized.push('/'),
            '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' => normalized.push('\\'),
            '\u{fe6a}' => normalized.push('%'),
            // The full-width forms of ASCII.
            '\u{ff01}'..='\u{ff5e}' => {
                let ascii = u32::from(letter) - 0xff01 + u32::from(b'!');
                normalized.extend(char::from_u32(ascii));
            }
            _ => normalized.push(letter),
        }
    }
    normalized
}

fn is_percent_encoded(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// `None` if a `%` is not followed by two hexadecimal digits.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(&digits).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
    }
    Some(decoded)
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_redirect_is_as_strict_as_parse_url() {
        let from = parse_url("http://host:8/a/b?c").unwrap();
        for (location, expected) in [
            ("/x?y=%20", "http://host:8/x?y=%20"),
            ("d", "http://host:8/a/d"),
            (
                "../d?next=http://other/",
                "http://host:8/d?next=http://other/",
            ),
            ("", "http://host:8/a/b?c"),
            ("//other/x", "http://other/x"),
            ("https://other:8443/x", "https://other:8443/x"),
        ] {
            let target = parse_redirect(&from, location).unwrap();
            assert_eq!(target.as_str(), expected, "{location}");
        }
        for bad in [
            "http://0x7f.1/",
            "http://host.:8/",
            "http://HOST:08/",
            "//user@host:8/",
            "/\\other/x",
            "\\\\other/x",
            "http:other",
            "/a\tb",
            "/é",
            "file:///etc/passwd",
            "data:image/png;base64,AAAA",
            "http://",
        ] {
            assert!(parse_redirect(&from, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parse_location_encodes_characters_after_the_host() {
        let from = parse_url("http://host:8/a/b?c").unwrap();
        for (location, expected) in [
            ("/a red fox.png", "http://host:8/a%20red%20fox.png"),
            ("rötlich.png", "http://host:8/a/r%C3%B6tlich.png"),
            ("/x?name=\"é\"", "http://host:8/x?name=%22%C3%A9%22"),
            ("/x?y=%20&z=100%", "http://host:8/x?y=%20&z=100%25"),
            ("//other/a b", "http://other/a%20b"),
            (
                "https://other:8443/狐.png",
                "https://other:8443/%E7%8B%90.png",
            ),
            // Text that looks like a host after it is decoded or normalized.
            ("／／other/x", "http://host:8/a/%EF%BC%8F%EF%BC%8Fother/x"),
        ] {
            let target = parse_location(&from, location).unwrap();
            assert_eq!(target.as_str(), expected, "{location}");
        }
        for bad in [
            "/\\other/x",
            "\\\\other/x",
            "/a\\..\\b",
            "/a\tb",
            "/a\u{85}b",
            "http://höst/",
            "http://other /x",
            "//us er@host:8/",
            "///other/x",
            "http:other/a b",
            "\u{a0}http://other/",
            " http://other/",
            "http\u{a0}://other/",
            "http://other／x",
            "http://0x7f.1/a b",
            "file:///etc/a b",
        ] {
            let refused = parse_location(&from, bad);
            assert!(refused.is_err(), "{bad} {refused:?}");
        }
    }

    #[test]
    fn parse_image_url_resolves_references_against_base_url() {
        for (base, text, expected) in [
            (
                "http://host:8/v1",
                "/files/a.png",
                "http://host:8/files/a.png",
            ),
            (
                "http://host:8/v1",
                "files/a.png",
                "http://host:8/v1/files/a.png",
            ),
            ("http://host:8/v1/", "./a.png", "http://host:8/v1/a.png"),
            ("http://host:8", "a.png?sig=1", "http://host:8/a.png?sig=1"),
            (
                "https://host/v1",
                "//cdn.example/a.png",
                "https://cdn.example/a.png",
            ),
            (
                "https://host/v1",
                " https://cdn.example/a.png\n",
                "https://cdn.example/a.png",
            ),
            (
                "http://host/v1",
                "/out/a red fox.png",
                "http://host/out/a%20red%20fox.png",
            ),
            (
                "http://host/v1",
                "/out/fuchs-rötlich.png",
                "http://host/out/fuchs-r%C3%B6tlich.png",
            ),
            (
                "http://host/v1",
                "/out/a%20{1}|^.png",
                "http://host/out/a%20%7B1%7D%7C%5E.png",
            ),
            (
                "http://host/v1",
                "/out/100%.png",
                "http://host/out/100%25.png",
            ),
            (
                "http://host/v1",
                "http://cdn/a b.png?x=\"1\"",
                "http://cdn/a%20b.png?x=%221%22",
            ),
            (
                "http://host/v1",
                "/a.png?next=http://b c/d",
                "http://host/a.png?next=http://b%20c/d",
            ),
        ] {
            let base = parse_url(base).unwrap();
            let url = parse_image_url(&base, text).unwrap();
            assert_eq!(url.as_str(), expected, "{text}");
            let is_canonical = parse_url(url.as_str());
            assert_eq!(is_canonical.unwrap(), url, "{text}");
        }
        let base = parse_url("http://host/v1").unwrap();
        for bad in [
            "C:\\out\\a.png",
            "file:///out/a.png",
            "s3://bucket/a.png",
            "http://us er@host/a.png",
            "http://höst/a.png",
            "//host\\x/a.png",
        ] {
            assert!(parse_image_url(&base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parse_url_error_does_not_repeat_a_secret() {
        for text in [
            "sk-secret",
            "sk-secret://host",
            "http://sk-secret@host",
            "http://u:sk-secret@host.:1/",
            "http://host:sk-secret",
        ] {
            let refusal = parse_url(text).unwrap_err();
            assert!(!refusal.reason.contains("sk-secret"), "{refusal}");
        }
    }
}
