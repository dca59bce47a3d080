//! A rule covers what its pattern says, and includes only rules that cover no more.

use http::Method;
use pinhole_sandbox::grant::RequestRule;

/// Input, in lines: two rules such as `POST /v1/flux-*`, and a path.
///
/// Another matcher covers the same paths. If the first rule includes the second one, it covers each path that the second
/// one covers: a component that declares the second needs no new grant. A rule is written as it is read.
pub fn rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [first, second, path] = lines[..] else {
        return;
    };
    let (Ok(wide), Ok(narrow)) = (RequestRule::parse(first), RequestRule::parse(second)) else {
        return;
    };
    assert_eq!(RequestRule::parse(&wide.to_string()).as_ref(), Ok(&wide));
    assert!(wide.includes(&wide), "{wide} does not include itself");
    for (rule, written) in [(&wide, first), (&narrow, second)] {
        let (method, pattern) = written.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let expected = covers(pattern.as_bytes(), path.as_bytes());
        assert_eq!(rule.covers(&method, path), expected, "{rule} {path:?}");
        if method.as_str() == "GET" && wide.includes(&narrow) && narrow.covers(&method, path) {
            assert!(wide.covers(&method, path), "{wide} {narrow} {path:?}");
        }
    }
}

/// Whether a path starts with the pattern, in which `*` is one or more characters of a segment, and goes on after a
/// slash.
fn covers(pattern: &[u8], path: &[u8]) -> bool {
    match pattern.split_first() {
        None => path.first().is_none_or(|next| *next == b'/'),
        // Whatever follows a slash at the end.
        Some((b'/', [])) => path.first() == Some(&b'/'),
        Some((b'*', rest)) => {
            let segment = path.iter().take_while(|byte| **byte != b'/').count();
            (1..=segment).any(|length| covers(rest, &path[length..]))
        }
        Some((byte, rest)) => path.first() == Some(byte) && covers(rest, &path[1..]),
    }
}
