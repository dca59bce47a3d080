//! An IP address that IANA does not register as globally reachable is never classified as public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pinhole_egress::ip::{Class, Nat64, classify};

const IPV4: &str = include_str!("../../../../host/crates/egress/src/iana/ipv4.csv");
const IPV6: &str = include_str!("../../../../host/crates/egress/src/iana/ipv6.csv");
/// The NAT64 prefix of an operator's network, and its bits.
const NAT64_PREFIX: &str = "2a00:64::/96";
const NAT64_BITS: u128 = 0x2a00_0064 << 96;

/// Input: an IP address as text, or its 4 or 16 bytes.
///
/// An address that IANA's special-purpose registries do not call globally reachable is not public. An
/// IPv6 address that embeds an IPv4 address has the class of the embedded one or a stricter one, and
/// exactly its class behind an operator's NAT64 prefix.
pub fn address(bytes: &[u8]) {
    let Some(ip) = parse_input(bytes) else {
        return;
    };
    check_class(ip);
    if let IpAddr::V4(embedded) = ip {
        for outer in embeddings(embedded) {
            check_class(outer.into());
        }
        let nat64 = Nat64::parse_list(NAT64_PREFIX).unwrap();
        let translated = Ipv6Addr::from_bits(NAT64_BITS | u128::from(embedded.to_bits()));
        assert_eq!(classify(translated.into(), &nat64), classify(ip, &[]));
    }
}

fn parse_input(bytes: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(bytes).unwrap_or_default();
    if let Ok(ip) = text.trim().parse() {
        return Some(ip);
    }
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn check_class(ip: IpAddr) {
    let class = classify(ip, &[]);
    if is_special(ip) {
        assert_ne!(class, Class::Public, "{ip} is not globally reachable");
    }
    for embedded in embedded_addresses(ip) {
        let embedded_class = classify(embedded.into(), &[]);
        assert!(
            class >= embedded_class,
            "{ip} is {class:?}, but {embedded} in it is {embedded_class:?}"
        );
    }
}

/// Is the address in a block that is not globally reachable? The longest prefix decides. Reads the
/// registries line by line.
fn is_special(ip: IpAddr) -> bool {
    // An IPv4-mapped address is an IPv4 address.
    let (table, bits, width) = match ip.to_canonical() {
        IpAddr::V4(ip) => (IPV4, u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (IPV6, ip.to_bits(), 128),
    };
    table
        .lines()
        .skip(1)
        .flat_map(parse_row)
        .filter(|block| {
            // A prefix of no bits would shift by all of them.
            let host_bits = width - block.prefix_length;
            block.start.checked_shr(host_bits) == bits.checked_shr(host_bits)
        })
        .max_by_key(|block| block.prefix_length)
        .is_some_and(|block| !block.is_reachable)
}

/// An address block of a registry.
struct Block {
    start: u128,
    prefix_length: u32,
    is_reachable: bool,
}

fn parse_row(line: &str) -> Vec<Block> {
    let fields = parse_csv(line);
    let is_reachable = fields[8].starts_with("True");
    let parse_block = |block: &str| {
        // A footnote may follow the prefix.
        let prefix = block.split_whitespace().next().unwrap();
        let (start, length) = prefix.split_once('/').unwrap();
        let start = match start.parse().unwrap() {
            IpAddr::V4(start) => u128::from(start.to_bits()),
            IpAddr::V6(start) => start.to_bits(),
        };
        Block {
            start,
            prefix_length: length.parse().unwrap(),
            is_reachable,
        }
    };
    fields[0].split(',').map(parse_block).collect()
}

/// The fields of a line of CSV.
fn parse_csv(line: &str) -> Vec<String> {
    let (mut fields, mut is_quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            letter => fields.last_mut().unwrap().push(letter),
        }
    }
    fields
}

/// The IPv4 addresses to which packets for this IPv6 address may be forwarded.
fn embedded_addresses(ip: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else {
        return Vec::new();
    };
    let bits = ip.to_bits();
    let last = Ipv4Addr::from_bits(bits as u32);
    let mut embedded = Vec::new();
    let starts_with = |prefix: &str, length: u32| {
        let start: Ipv6Addr = prefix.parse().unwrap();
        start.to_bits() >> (128 - length) == bits >> (128 - length)
    };
    // IPv4-compatible, but not `::` and `::1`.
    let is_compatible = starts_with("::", 96) && bits > 1;
    let is_mapped = starts_with("::ffff:0:0", 96);
    let is_translated = starts_with("64:ff9b::", 96);
    if is_compatible || is_mapped || is_translated {
        embedded.push(last);
    }
    // 6to4: after the first 16 bits.
    if starts_with("2002::", 16) {
        embedded.push(Ipv4Addr::from_bits((bits >> 80) as u32));
    }
    // Teredo: the server, and the client with inverted bits.
    if starts_with("2001::", 32) {
        embedded.push(Ipv4Addr::from_bits((bits >> 64) as u32));
        embedded.push(Ipv4Addr::from_bits(!(bits as u32)));
    }
    embedded
}

/// IPv6 addresses that embed this address, one for each way.
fn embeddings(embedded: Ipv4Addr) -> [Ipv6Addr; 6] {
    let bits = u128::from(embedded.to_bits());
    let embed = |prefix: &str, shift: u32| {
        let start: Ipv6Addr = prefix.parse().unwrap();
        Ipv6Addr::from_bits(start.to_bits() | bits << shift)
    };
    [
        embed("::ffff:0:0", 0),
        embed("::", 0),
        embed("64:ff9b::", 0),
        embed("2002::", 80),
        embed("2001::", 64),
        embed("64:ff9b:1::", 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_special_reads_the_registries() {
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "192.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "2001:db8::",
        ] {
            assert!(is_special(special.parse().unwrap()), "{special}");
        }
        // Registered as reachable, or not registered.
        for public in ["192.0.0.9", "2001:1::1", "1.1.1.1", "2a00::1"] {
            assert!(!is_special(public.parse().unwrap()), "{public}");
        }
        assert_eq!(parse_csv(r#"a,"b, ""c""",d"#), ["a", "b, c", "d"]);
    }
}
