//! The table of IP address ranges matches IANA's registries.
//!
//! To update it, replace the CSV files in `host/crates/egress/src/iana` and run this test once: it
//! rewrites the table, and fails because the table has changed.

use std::fmt::Write;
use std::path::Path;

use csv::Reader;

/// Blocks in which an operator's own hosts may be, by IANA's names. Other blocks that are not globally
/// reachable are never allowed.
const PRIVATE: &[&str] = &[
    "Benchmarking 198.18.0.0",
    "Link Local",
    "Link-Local Unicast",
    "Loopback",
    "Loopback Address",
    "Private-Use",
    "Shared Address Space",
    "Unique-Local",
];

const HEAD: &str = "\
//! IP address ranges that are not globally reachable, from IANA's special-purpose registries.
//!
//! Generated from `../iana` by a test (`tests/it/egress/ip_table.rs`). Do not edit.

use ipnet::{Ipv4Net, Ipv6Net};

use super::Class::{self, Never, Private};
use super::{v4, v6};
";

#[test]
fn ip_table_matches_iana_registries() {
    let egress = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/crates/egress/src");
    let rows = |file: &str| {
        let path = egress.join("iana").join(file);
        let rows = Reader::from_path(path).unwrap();
        let rows: Vec<_> = rows.into_records().map(Result::unwrap).collect();
        assert!(rows.len() > 20, "{file} has {} rows", rows.len());
        rows
    };
    let mut table = HEAD.to_owned();
    for (name, net, file) in [("V4", "Ipv4Net", "ipv4.csv"), ("V6", "Ipv6Net", "ipv6.csv")] {
        writeln!(table, "\npub(super) const {name}: &[({net}, Class)] = &[").unwrap();
        for row in rows(file) {
            let (blocks, purpose, reachable) = (&row[0], &row[1], &row[8]);
            if reachable == "True" {
                continue;
            }
            for block in blocks.split(',') {
                // A number in brackets refers to a footnote.
                let block = block.split_whitespace().next().unwrap();
                let (address, prefix) = block.split_once('/').unwrap();
                let is_private = PRIVATE.contains(&purpose)
                    || PRIVATE.contains(&&*format!("{purpose} {address}"));
                let class = if is_private { "Private" } else { "Never" };
                writeln!(
                    table,
                    "    // {purpose}\n    ({}, {class}),",
                    net_of(address, prefix)
                )
                .unwrap();
            }
        }
        table.push_str("];\n");
    }
    let path = egress.join("ip/table.rs");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if before != table {
        std::fs::write(&path, table).unwrap();
        panic!(
            "{} was not what the registries say: look at it, and commit it",
            path.display()
        );
    }
}

/// Such as `v4([10, 0, 0, 0], 8)`.
fn net_of(address: &str, prefix: &str) -> String {
    if let Ok(address) = address.parse::<std::net::Ipv4Addr>() {
        return format!("v4({:?}, {prefix})", address.octets());
    }
    let address: std::net::Ipv6Addr = address.parse().unwrap();
    let segments = address.segments().map(|segment| match segment {
        0..10 => segment.to_string(),
        _ => format!("{segment:#x}"),
    });
    format!("v6([{}], {prefix})", segments.join(", "))
}
