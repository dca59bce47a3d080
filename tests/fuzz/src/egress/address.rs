//! No address that IANA keeps from the public is taken for a public one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::egress::address::{Class, Nat64, classify};

const IPV4: &str = include_str!("../iana/ipv4.csv");
const IPV6: &str = include_str!("../iana/ipv6.csv");
/// The translator of an operator's network, and its bits.
const OPERATORS: &str = "2a00:64::/96";
const OPERATORS_BITS: u128 = 0x2a00_0064 << 96;

/// An address as text, or its 4 or 16 bytes.
///
/// One that IANA's registries of special purposes call not globally reachable is not public. An IPv6
/// address that carries an IPv4 one is what that one is, or stricter, and just that behind a
/// translator of the operator's.
pub fn address(bytes: &[u8]) {
    let text = str::from_utf8(bytes).ok();
    let address: Option<IpAddr> = text.and_then(|text| text.trim().parse().ok());
    let four = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    let Some(address) = address.or_else(four).or_else(sixteen) else {
        return;
    };
    check(address);
    if let IpAddr::V4(inner) = address {
        // What is true of it stays true wherever it is carried.
        carriers(inner)
            .into_iter()
            .for_each(|outer| check(outer.into()));
        let translators = Nat64::list(OPERATORS).unwrap();
        let translated = Ipv6Addr::from_bits(OPERATORS_BITS | u128::from(inner.to_bits()));
        assert_eq!(
            classify(translated.into(), &translators),
            classify(address, &[])
        );
    }
}

fn check(address: IpAddr) {
    let class = classify(address, &[]);
    if kept_from_public(address) {
        assert_ne!(class, Class::Public, "{address} is special");
    }
    for inner in carried(address) {
        let inner_class = classify(inner.into(), &[]);
        assert!(
            class >= inner_class,
            "{address} is {class:?}, but {inner} in it is {inner_class:?}"
        );
    }
}

/// By the longest prefix that has it, read out of the tables line by line.
fn kept_from_public(address: IpAddr) -> bool {
    // A mapped address is an IPv4 one, in another spelling.
    let (table, bits, width) = match address.to_canonical() {
        IpAddr::V4(address) => (IPV4, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (IPV6, address.to_bits(), 128),
    };
    let rows = table.lines().skip(1).flat_map(rows);
    let covering = rows.filter(|(start, length, _)| {
        // A prefix of no bits would shift by all of them.
        let behind = width - length;
        start.checked_shr(behind) == bits.checked_shr(behind)
    });
    let narrowest = covering.max_by_key(|(_, length, _)| *length);
    narrowest.is_some_and(|(_, _, reachable)| !reachable)
}

/// The prefixes of a line, each with its bits, its length and whether it is globally reachable.
fn rows(line: &str) -> Vec<(u128, u32, bool)> {
    let fields = fields(line);
    let reachable = fields[8].starts_with("True");
    let prefixes = fields[0].split(',').map(|block| {
        // A note may follow the prefix.
        let block = block.split_whitespace().next().unwrap();
        let (start, length) = block.split_once('/').unwrap();
        let start = match start.parse().unwrap() {
            IpAddr::V4(start) => u128::from(start.to_bits()),
            IpAddr::V6(start) => start.to_bits(),
        };
        (start, length.parse().unwrap(), reachable)
    });
    prefixes.collect()
}

/// The fields of a line of CSV.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields.last_mut().unwrap().push(letter),
        }
    }
    fields
}

/// The IPv4 addresses that traffic to this IPv6 one may end at.
fn carried(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return Vec::new();
    };
    let bits = address.to_bits();
    let last = Ipv4Addr::from_bits(bits as u32);
    let mut carried = Vec::new();
    let begins = |text: &str, length: u32| {
        let start: Ipv6Addr = text.parse().unwrap();
        start.to_bits() >> (128 - length) == bits >> (128 - length)
    };
    // Mapped, translated; compatible, of which none and this machine are not.
    let compatible = begins("::", 96) && bits > 1;
    if begins("::ffff:0:0", 96) || compatible || begins("64:ff9b::", 96) {
        carried.push(last);
    }
    // 6to4 has it behind its first 16 bits.
    if begins("2002::", 16) {
        carried.push(Ipv4Addr::from_bits((bits >> 80) as u32));
    }
    // Teredo has its server, and its client with every bit turned over.
    if begins("2001::", 32) {
        carried.push(Ipv4Addr::from_bits((bits >> 64) as u32));
        carried.push(Ipv4Addr::from_bits(!(bits as u32)));
    }
    carried
}

/// The IPv6 addresses that carry this one, in each way.
fn carriers(inner: Ipv4Addr) -> [Ipv6Addr; 6] {
    let bits = u128::from(inner.to_bits());
    let at = |text: &str, shift: u32| {
        let start: Ipv6Addr = text.parse().unwrap();
        Ipv6Addr::from_bits(start.to_bits() | bits << shift)
    };
    [
        at("::ffff:0:0", 0),
        at("::", 0),
        at("64:ff9b::", 0),
        at("2002::", 80),
        at("2001::", 64),
        at("64:ff9b:1::", 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read() {
        for kept in [
            "0.0.0.0",
            "10.1.2.3",
            "192.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "2001:db8::",
        ] {
            assert!(kept_from_public(kept.parse().unwrap()), "{kept}");
        }
        // Named in the tables, as reachable, or not named.
        for open in ["192.0.0.9", "2001:1::1", "1.1.1.1", "2a00::1"] {
            assert!(!kept_from_public(open.parse().unwrap()), "{open}");
        }
        assert_eq!(fields(r#"a,"b, ""c""",d"#), ["a", "b, c", "d"]);
    }
}
