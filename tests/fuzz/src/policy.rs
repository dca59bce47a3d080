//! An admitted request stays below its grant.

use std::sync::LazyLock;

use http::{Method, Uri};
use pinhole_egress::{BaseUrl, Credential, DEFAULT_SILENCE, Destination, Egress, Tls};
use pinhole_sandbox::grant::{RequestRule, RequestRules};

/// How often intermediaries may decode a path.
const MAX_DECODINGS: usize = 8;

static EGRESS: LazyLock<Egress> = LazyLock::new(|| Egress::new(&[], DEFAULT_SILENCE).unwrap());

/// Input, in lines: a base URL, a granted request such as `POST /images`, a request such as
/// `POST /images/7?x`.
///
/// An admitted request has the base URL's host and port and the granted method. Its path is below the base
/// URL's path and the granted prefix, however often it is decoded, and for any server's reading of
/// separators and `..`. Its query is unchanged.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [base, granted, requested] = lines[..] else {
        return;
    };
    let Some((method, path)) = requested.split_once(' ') else {
        return;
    };
    let (Some(destination), Ok(rule), Ok(method)) = (
        open_destination(base),
        RequestRule::parse(granted),
        method.parse::<Method>(),
    ) else {
        return;
    };
    let rules = RequestRules {
        declared: vec![rule.clone()],
        allowed: vec![rule],
        denied: Vec::new(),
    };
    if rules.check(&method, path).is_err() {
        return;
    }
    let Ok(url) = destination.join(path) else {
        return;
    };
    let (granted_method, prefix) = granted.split_once(' ').unwrap();
    assert_eq!(method, granted_method);
    assert_eq!(url.origin().ascii_serialization(), destination.origin());
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    // The only character that the `url` crate encodes, without a change of meaning.
    let decode_quote = |encoded: &str| encoded.replace("%27", "'");
    assert_eq!(url.query().map(decode_quote), query.map(decode_quote));
    assert_eq!(url.fragment(), None);
    assert!(
        url.path().ends_with(path),
        "{} does not end with {path}",
        url.path()
    );

    let uri: Uri = url.as_str().parse().expect("the http crate parses it");
    assert_eq!((uri.path(), uri.query()), (url.path(), url.query()));
    let base_uri: Uri = base.parse().unwrap();
    let granted_path = format!("{}{prefix}", base_uri.path().trim_end_matches('/'));
    for (reading, granted_reading) in readings(url.path())
        .zip(readings(&granted_path))
        .take(MAX_DECODINGS)
    {
        assert!(
            is_below(&reading, &granted_reading),
            "{reading:?} leaves {granted_reading:?}"
        );
    }
}

/// A destination at this base URL, as if an administrator had set it; `None` if it is refused.
fn open_destination(base: &str) -> Option<Destination> {
    let base_url = BaseUrl {
        url: base,
        allows_private: true,
        setting: "BASE_URL",
    };
    EGRESS
        .destination(base_url, Credential::default(), &Tls::default())
        .ok()
}

/// A path as it is, decoded once, decoded twice and so on.
fn readings(path: &str) -> impl Iterator<Item = Vec<u8>> {
    std::iter::successors(Some(path.as_bytes().to_vec()), |path| {
        Some(percent_decode(path))
    })
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match (first, digits) {
            (b'%', Some(digits)) => {
                let digits = str::from_utf8(digits).unwrap();
                decoded.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

/// Do the path's segments start with those of the prefix?
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let ends_line = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    let (path_segments, patterns) = (segments(path), segments(prefix));
    !path.iter().any(ends_line)
        && path_segments.len() >= patterns.len()
        && patterns
            .iter()
            .zip(path_segments)
            .all(|(pattern, segment)| covers(pattern, segment))
}

/// Does the segment have the text around the `*` of a pattern, and more?
fn covers(pattern: &[u8], segment: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return pattern == segment;
    };
    let (start, end) = (&pattern[..star], &pattern[star + 1..]);
    segment.len() >= pattern.len() && segment.starts_with(start) && segment.ends_with(end)
}

/// The segments of a path after `..`, `.` and empty segments are resolved.
fn segments(path: &[u8]) -> Vec<&[u8]> {
    // For a server that decodes first, the path ends at a `?` or `#`.
    let path = path.split(|byte| b"?#".contains(byte)).next().unwrap();
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| b"/\\".contains(byte)) {
        // Some servers read the text after a semicolon as a parameter.
        match segment.split(|byte| *byte == b';').next().unwrap() {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays_below_models(path: &str) -> bool {
        readings(path)
            .take(MAX_DECODINGS)
            .all(|reading| is_below(&reading, b"/v1/models"))
    }

    #[test]
    fn star_of_a_prefix_stays_in_its_segment() {
        assert!(is_below(b"/v1/a-x/b", b"/v1/a-*"));
        assert!(is_below(b"/v1/a-x/b", b"/v1/*/b"));
        assert!(!is_below(b"/v1/a-", b"/v1/a-*"));
        assert!(!is_below(b"/v1/a/x/b", b"/v1/*/b"));
    }

    #[test]
    fn is_below_finds_paths_that_leave_a_prefix() {
        for path in ["/v1/models/a/b", "/v1/models/a/../b", "/v1/models"] {
            assert!(stays_below_models(path), "{path}");
        }
        for path in [
            "/v1/models/../admin",
            "/v1/models/..\\admin",
            "/v1/models/%2e%2e/admin",
            "/v1/models/%25252e%25252e/admin",
            "/v1/models/..;x/admin",
            "/v1/models/..%3fadmin",
            "/v1/models-private",
            "/v1/models/a%0d%0ab",
        ] {
            assert!(!stays_below_models(path), "{path}");
        }
    }
}
