//! Fuzz target of what a grant covers.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken property is shown by a panic"
)]

use http::{Method, Uri};

use pinhole_sandbox::grant::{RequestRule, RequestRules, Upstream};
use crate::egress::Credential;
use crate::egress::fuzz::{destination, joined};

/// As often a path may come to be decoded on its way.
const MAX_DECODINGS: usize = 8;

/// In lines: a base URL, what is granted such as `POST /images`, what is asked such as
/// `POST /images/7?x`.
///
/// What is admitted goes to the base's own host and port, by a granted method, and lies under the
/// base's path and the granted prefix, however often it is decoded, and whatever slashes and steps
/// mean to who reads it. The query stays what it was.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [base, granted, asked] = lines[..] else {
        return;
    };
    let Some((method, path)) = asked.split_once(' ') else {
        return;
    };
    let opened = destination(base, Credential::default());
    let (Some(destination), Ok(allowed), Ok(method)) =
        (opened, RequestRule::parse(granted), method.parse::<Method>())
    else {
        return;
    };
    let upstream = Upstream {
        destination,
        rules: RequestRules {
            declared: vec![allowed.clone()],
            allowed: vec![allowed],
            denied: Vec::new(),
        },
    };
    if upstream.rules.check(&method, path).is_err() {
        return;
    }
    let Some(url) = joined(&upstream.destination, path) else {
        return;
    };
    let (granted_method, prefix) = granted.split_once(' ').unwrap();
    assert_eq!(method, granted_method);
    assert_eq!(
        url.origin().ascii_serialization(),
        upstream.destination.origin()
    );
    let (asked, query) = match path.split_once('?') {
        Some((asked, query)) => (asked, Some(query)),
        None => (path, None),
    };
    // The one character that is encoded on the way, and means the same.
    let plain = |query: &str| query.replace("%27", "'");
    assert_eq!(url.query().map(plain), query.map(plain));
    assert_eq!(url.fragment(), None);
    assert!(url.path().ends_with(asked), "{} is not {asked}", url.path());

    let uri: Uri = url.as_str().parse().expect("the http crate reads it");
    assert_eq!((uri.path(), uri.query()), (url.path(), url.query()));
    let base: Uri = base.parse().unwrap();
    let under = format!("{}{prefix}", base.path().trim_end_matches('/'));
    for (reading, under) in readings(url.path())
        .zip(readings(&under))
        .take(MAX_DECODINGS)
    {
        assert!(lies_under(&reading, &under), "{reading:?} leaves {under:?}");
    }
}

/// A path as it is, decoded, decoded once more, and so on.
fn readings(path: &str) -> impl Iterator<Item = Vec<u8>> {
    std::iter::successors(Some(path.as_bytes().to_vec()), |path| {
        Some(percent_decoded(path))
    })
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|digits| str::from_utf8(digits).ok());
        let plain = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (first, plain) {
            (b'%', Some(digits)) => {
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

/// Are the steps of the path first those of the prefix?
fn lies_under(path: &[u8], prefix: &[u8]) -> bool {
    // A line or a text ends here.
    let ends = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    !path.iter().any(ends) && steps(path).starts_with(&steps(prefix))
}

/// The steps of a path after those up and empty ones were taken.
fn steps(path: &[u8]) -> Vec<&[u8]> {
    // To who decodes first, the path ends at a mark.
    let mut parts = path.split(|byte| b"?#".contains(byte));
    let mut steps: Vec<&[u8]> = Vec::new();
    for step in parts.next().unwrap().split(|byte| b"/\\".contains(byte)) {
        // What stands behind a semicolon is a parameter to some.
        match step.split(|byte| *byte == b';').next().unwrap() {
            b"" | b"." => {}
            b".." => drop(steps.pop()),
            _ => steps.push(step),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_prefix_is_seen() {
        let check = |path: &str, expected: bool| {
            let mut readings = readings(path).take(MAX_DECODINGS);
            let under = readings.all(|reading| lies_under(&reading, b"/v1/models"));
            assert_eq!(under, expected, "{path}");
        };
        check("/v1/models/a/b", true);
        check("/v1/models/a/../b", true);
        check("/v1/models", true);
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
            check(path, false);
        }
    }
}
