//! Only plain headers of a guest's own reach an upstream.

use std::sync::LazyLock;

use crate::egress::{Credential, Destination, fuzz};
use crate::engine::bindings::pinhole_sandbox::upstream::Header;
use crate::engine::body::header_map;

use super::{LISTS, pieces};

const CREDENTIAL: &str = "x-key";
const SECRET: &str = "a secret of the host";
/// Headers that a guest may bring, and the bytes of one value.
const MAX_COUNT: usize = 32;
const MAX_BYTES: usize = 8192;

static DESTINATION: LazyLock<Destination> = LazyLock::new(|| {
    let credential = Credential::header(CREDENTIAL, SECRET).unwrap();
    fuzz::destination("http://upstream.test/v1", credential).unwrap()
});

/// Headers as `name: value`, the byte 0x1e between them.
///
/// What is sent of them has none of the host's names, nothing that ends a line, and no more than the
/// caps; the credential is there once, with the host's own value.
pub fn headers(bytes: &[u8]) {
    let brought: Vec<Header> = pieces(bytes, LISTS)
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            Header {
                name: name.to_owned(),
                value: value.to_owned(),
            }
        })
        .collect();
    let Ok(map) = header_map(&brought) else {
        return;
    };
    let Some(sent) = fuzz::sent_headers(&DESTINATION, map) else {
        return;
    };
    let credential: Vec<_> = sent.get_all(CREDENTIAL).iter().collect();
    assert_eq!(credential, [SECRET]);
    assert!(sent.len() <= MAX_COUNT + 1, "{} headers", sent.len());
    for (name, value) in &sent {
        assert!(!is_the_hosts(name.as_str()), "{name} is the host's own");
        assert!(value.len() <= MAX_BYTES, "{name} is too long");
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let plain = !value.as_bytes().iter().any(ends);
        assert!(plain && !name.as_str().bytes().any(|byte| ends(&byte)));
        let known = |header: &Header| {
            header.name.eq_ignore_ascii_case(name.as_str()) && header.value.as_bytes() == value
        };
        assert!(name == CREDENTIAL || brought.iter().any(known), "{name}");
    }
}

/// Whose meaning decides where a request ends, who sent it, or what may be done with its connection.
fn is_the_hosts(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "connection"
            | "content-length"
            | "cookie"
            | "expect"
            | "forwarded"
            | "host"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with("proxy-")
        || name.starts_with("x-forwarded-")
}
