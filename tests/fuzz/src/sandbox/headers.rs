//! An upstream receives only valid headers that an engine may set.

use std::sync::LazyLock;

use pinhole_egress::Credential;
use pinhole_egress::headers::check_request;
use pinhole_sandbox::contract::pinhole::engine::upstream::Header;
use pinhole_sandbox::internals::header_map;

use super::{LIST_SEPARATOR, split};

const CREDENTIAL_HEADER: &str = "x-key";
const SECRET: &str = "a secret of the host";
/// Headers that an engine may set.
const MAX_HEADERS: usize = 32;
/// Length of a value in bytes.
const MAX_VALUE_BYTES: usize = 8192;

static CREDENTIAL: LazyLock<Credential> =
    LazyLock::new(|| Credential::header(CREDENTIAL_HEADER, SECRET).unwrap());

/// Input: headers as `name: value`, separated by the byte 0x1e.
///
/// If the request is sent, no header of the engine has a reserved name or contains a line end, and all are
/// within the limits. The credential is there once, with the host's value.
pub fn headers(bytes: &[u8]) {
    let guest_headers: Vec<Header> = split(bytes, LIST_SEPARATOR)
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            Header {
                name: name.to_owned(),
                value: value.to_owned(),
            }
        })
        .collect();
    let Ok(mut sent) = header_map(&guest_headers) else {
        return;
    };
    if check_request(&sent, &CREDENTIAL).is_err() {
        return;
    }
    CREDENTIAL.add_to(&mut sent);
    let credentials: Vec<_> = sent.get_all(CREDENTIAL_HEADER).iter().collect();
    assert_eq!(credentials, [SECRET]);
    assert!(sent.len() <= MAX_HEADERS + 1, "{} headers", sent.len());
    for (name, value) in &sent {
        assert!(!is_reserved(name.as_str()), "{name} is reserved");
        assert!(value.len() <= MAX_VALUE_BYTES, "{name} is too long");
        let ends_line = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let is_one_line = !value.as_bytes().iter().any(ends_line);
        assert!(is_one_line && !name.as_str().bytes().any(|byte| ends_line(&byte)));
        let is_same = |header: &Header| {
            header.name.eq_ignore_ascii_case(name.as_str()) && header.value.as_bytes() == value
        };
        assert!(
            name == CREDENTIAL_HEADER || guest_headers.iter().any(is_same),
            "{name}"
        );
    }
}

/// Headers that decide where a request ends, who sent it, or what happens to its connection.
fn is_reserved(name: &str) -> bool {
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
