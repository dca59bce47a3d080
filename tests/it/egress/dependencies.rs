//! No dependency other than the egress crate's can open connections.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crates that open connections themselves, or contain another TLS implementation.
const FORBIDDEN: &[&str] = &[
    "attohttpc",
    "awc",
    "curl",
    "curl-sys",
    "h3",
    "hickory-resolver",
    "isahc",
    "minreq",
    "native-tls",
    "openssl",
    "openssl-sys",
    "reqwest-middleware",
    "surf",
    "trust-dns-resolver",
    "ureq",
];

/// Crates with which a workspace member could bypass the egress, and the members that may depend on
/// them.
const RESTRICTED: &[(&str, &[&str])] = &[
    ("reqwest", &["host/crates/egress", "tests"]),
    (
        "hyper-util",
        &[
            "host",
            "host/crates/egress",
            "host/crates/conformance",
            "tests",
            "xtask/workspace-hack",
        ],
    ),
    (
        "tokio-tungstenite",
        &[
            "host/crates/egress",
            "host/crates/conformance",
            "tests",
            "tests/adversary",
            "xtask/workspace-hack",
        ],
    ),
    (
        "tokio-rustls",
        &["host/crates/egress", "tests", "tests/adversary"],
    ),
    // The operator's Redis is not for engines.
    ("redis", &["host", "tests"]),
    ("hyper-rustls", &[]),
    ("wasmtime-wasi-http", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn lock_file_has_no_other_http_client() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = "));
    let names: BTreeSet<_> = names.map(|name| name.trim_matches('"')).collect();
    assert!(
        names.contains("reqwest") && names.len() > 200,
        "{} crates",
        names.len()
    );
    let found: Vec<_> = FORBIDDEN
        .iter()
        .filter(|name| names.contains(*name))
        .collect();
    assert!(found.is_empty(), "{found:?} in Cargo.lock");
}

#[test]
fn only_host_and_tests_depend_on_http_clients() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, members) = workspace.split_once("members = [").unwrap();
    let members: Vec<_> = members
        .split(']')
        .next()
        .unwrap()
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    assert!(
        members.contains(&"host") && members.len() > 8,
        "{members:?}"
    );
    for member in members {
        let manifest = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        for (name, allowed) in RESTRICTED {
            let is_named = manifest.lines().any(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            });
            assert!(
                !is_named || allowed.contains(&member),
                "{member} names {name}"
            );
        }
    }
}

/// Clippy rejects these calls outside the egress crate.
#[test]
fn clippy_disallows_opening_connections() {
    let lints = std::fs::read_to_string(root().join("clippy.toml")).unwrap();
    for path in [
        "reqwest::Client::new",
        "reqwest::Client::builder",
        "reqwest::get",
        "std::net::TcpStream::connect",
        "std::net::UdpSocket::bind",
        "tokio::net::TcpStream::connect",
        "tokio::net::UdpSocket::bind",
        "tokio::net::lookup_host",
        "tokio_tungstenite::connect_async",
        "hyper_util::client::legacy::Client::builder",
    ] {
        assert!(lints.contains(&format!("path = \"{path}\"")), "{path}");
    }
}
