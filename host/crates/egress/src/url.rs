//! URLs and paths that are spelled as they will be used: nothing is repaired.
//!
//! No text here repeats what stands before a host: it may be a password, or a key that was pasted
//! into the wrong setting.

use url::{Host, Url};

use pinhole_ground::guard::Guard;

/// Length of a host's name, in bytes.
const MAX_HOST_BYTES: usize = 253;
/// Length of one of the parts between its dots, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// A URL whose host is spelled as it will be used.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the address is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address is neither http:// nor https://".to_owned());
    }
    match Guard::Authority.holds() {
        true => check_authority(text, &url).map(|()| url),
        false => Ok(url),
    }
}

/// Is the part between scheme and path the plain spelling of a host and port?
fn check_authority(text: &str, url: &Url) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "the URL of {host} carries a user name: put credentials in their own setting"
        ));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.to_ascii_lowercase();
    let default = if url.scheme() == "https" { 443 } else { 80 };
    let (spelling, with_default) = match url.port() {
        Some(port) => (format!("{host}:{port}"), None),
        None => (host.to_owned(), Some(format!("{host}:{default}"))),
    };
    let spelled = authority == spelling || Some(authority) == with_default;
    // White space before a scheme and missing slashes behind it would be repaired.
    let plain = scheme.eq_ignore_ascii_case(url.scheme())
        && match url.host() {
            Some(Host::Domain(name)) => is_name(name),
            address => address.is_some(),
        };
    if !plain || !spelled {
        return Err(format!(
            "a URL of {host} does not spell host and port plainly: write {}",
            spelling.trim_end_matches('.')
        ));
    }
    // Some take a backslash for a slash.
    match is_visible(rest) && !rest.contains('\\') {
        true => Ok(()),
        false => Err(format!(
            "the URL of {host} holds a character that must be percent-encoded"
        )),
    }
}

/// Letters, digits, dashes and underscores, between single dots.
fn is_name(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= MAX_HOST_BYTES && host.split('.').all(label)
}

/// A URL that paths are appended to.
pub(crate) fn parse_base(text: &str) -> Result<Url, String> {
    let url = parse_url(text)?;
    let host = url.host_str().unwrap_or_default();
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "the base URL of {host} has a query or a fragment: it ends with its path"
        ));
    }
    check_steps(url.path().trim_end_matches('/'))
        .map_err(|why| format!("the path of the base URL of {host} {why}"))?;
    // Steps up are gone from the parsed path.
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let written = rest.find('/').and_then(|at| rest.get(at..));
    match written.is_none_or(|path| path == url.path()) {
        true => Ok(url),
        false => Err(format!(
            "the base URL of {host} does not spell its path plainly"
        )),
    }
}

/// Where a redirect from `from` leads; the whole address is spelled as strictly as the first was.
pub(crate) fn parse_redirect(from: &Url, location: &str) -> Result<Url, String> {
    let mut ends = location.bytes().filter(|byte| b":/?#".contains(byte));
    if ends.next() == Some(b':') {
        return parse_url(location);
    }
    if location.starts_with("//") {
        return parse_url(&format!("{}:{location}", from.scheme()));
    }
    let refused = || {
        format!(
            "{} redirects to nowhere",
            from.host_str().unwrap_or_default()
        )
    };
    let to = from.join(location).map_err(|_| refused())?;
    // What has no host of its own stays where it is, whatever characters it is made of.
    match to.origin() == from.origin() && is_visible(location) {
        true => parse_url(to.as_str()),
        false => Err(refused()),
    }
}

/// A path under a base: absolute, without steps up, empty steps or hidden separators.
pub(crate) fn check_path(path: &str, query: Option<&str>) -> Result<(), String> {
    if !Guard::Path.holds() {
        return Ok(());
    }
    let refuse = |why: &str| Err(format!("path {path:?} {why}"));
    if !path.starts_with('/') {
        return refuse("does not begin with a slash");
    }
    let strict =
        |text: &str| is_visible(text) && !text.bytes().any(|byte| b"#\\\"<>`{}".contains(&byte));
    if !strict(path) || !query.is_none_or(strict) {
        return refuse("holds a character that must be percent-encoded");
    }
    check_steps(path).or_else(|why| refuse(&why))
}

/// Checks what stands between the slashes of a path, as any server may come to read it.
fn check_steps(path: &str) -> Result<(), String> {
    if path.contains("//") {
        return Err("has an empty step".to_owned());
    }
    for step in path.split('/') {
        let decoded = decode(step).ok_or("has a % without two hexadecimal digits")?;
        if decoded
            .iter()
            .any(|byte| b"/\\".contains(byte) || byte.is_ascii_control())
        {
            return Err("hides a separator or a control character".to_owned());
        }
        if decoded.windows(3).any(
            |three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()),
        ) {
            return Err("is percent-encoded twice".to_owned());
        }
        // Some servers take what follows a semicolon for a parameter, and some end the path at a
        // mark that was encoded.
        let name = decoded.split(|byte| b";?#".contains(byte)).next();
        if matches!(name, Some(b"." | b"..")) {
            return Err("steps up".to_owned());
        }
    }
    Ok(())
}

/// Percent-decodes; `None` where a `%` begins nothing.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let hex = digits.iter().all(u8::is_ascii_hexdigit);
                let digits = std::str::from_utf8(&digits).ok().filter(|_| hex)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, location: &str, expected: Option<&str>) {
        let from = parse_url(from).unwrap();
        let to = parse_redirect(&from, location).ok();
        assert_eq!(to.as_ref().map(Url::as_str), expected, "{location}");
    }

    #[test]
    fn a_redirect_is_spelled_as_strictly_as_an_address() {
        let from = "http://host:8/a/b?c";
        check(from, "/x?y=%20", Some("http://host:8/x?y=%20"));
        check(from, "d", Some("http://host:8/a/d"));
        check(
            from,
            "../d?next=http://other/",
            Some("http://host:8/d?next=http://other/"),
        );
        check(from, "", Some("http://host:8/a/b?c"));
        check(from, "//other/x", Some("http://other/x"));
        check(from, "https://other:8443/x", Some("https://other:8443/x"));
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
            check(from, bad, None);
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_what_may_be_a_secret() {
        for text in [
            "sk-secret",
            "sk-secret://host",
            "http://sk-secret@host",
            "http://u:sk-secret@host.:1/",
            "http://host:sk-secret",
        ] {
            let why = parse_url(text).unwrap_err();
            assert!(!why.contains("sk-secret"), "{why}");
        }
    }
}
