//! Which addresses a connection may go to: a table of the special-purpose ranges.
//!
//! Source: IANA's IPv4 and IPv6 special-purpose address registries, and the addresses at which
//! clouds serve instance metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What an address is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reachable by anybody.
    Public,
    /// This machine or a network of the operator's: only where an administrator named it.
    Private,
    /// Never: metadata services, multicast, reserved and unspecified addresses.
    Never,
}

use Class::{Never, Private};

const V4: &[(Ipv4Net, Class)] = &[
    (v4(0, 0, 0, 0, 8), Never),
    (v4(10, 0, 0, 0, 8), Private),
    (v4(100, 64, 0, 0, 10), Private),
    (v4(127, 0, 0, 0, 8), Private),
    (v4(169, 254, 0, 0, 16), Private),
    (v4(172, 16, 0, 0, 12), Private),
    (v4(192, 0, 0, 0, 24), Never),
    (v4(192, 0, 2, 0, 24), Never),
    (v4(192, 88, 99, 0, 24), Never),
    (v4(192, 168, 0, 0, 16), Private),
    (v4(198, 18, 0, 0, 15), Private),
    (v4(198, 51, 100, 0, 24), Never),
    (v4(203, 0, 113, 0, 24), Never),
    (v4(224, 0, 0, 0, 4), Never),
    (v4(240, 0, 0, 0, 4), Never),
];

const V4_METADATA: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];

const V6: &[(Ipv6Net, Class)] = &[
    (v6([0; 8], 128), Never),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Private),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Never),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), Never),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), Never),
    // Teredo and the other protocol assignments.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Never),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Never),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Never),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), Never),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Private),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Private),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Never),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Never),
];

const V6_METADATA: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// What this address is. An IPv6 address that carries an IPv4 one is what that one is.
pub(crate) fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => classify_v4(inner),
            None => classify_v6(address),
        },
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    if V4_METADATA.contains(&address) {
        return Never;
    }
    let row = V4.iter().find(|(range, _)| range.contains(&address));
    row.map_or(Class::Public, |(_, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if V6_METADATA.contains(&address) {
        return Never;
    }
    let row = V6.iter().find(|(range, _)| range.contains(&address));
    match row {
        Some((_, class)) => *class,
        // Only 2000::/3 is allotted to the public.
        None if address.segments()[0] >> 13 == 1 => Class::Public,
        None => Never,
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] => Some(from(g, h)),
        [0, 0, 0, 0, 0, 0] if (g, h) > (0, 1) => Some(from(g, h)),
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(from(g, h)),
        [0x2002, ..] => Some(from(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Class, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(classify(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn addresses_are_what_the_registries_say() {
        check(
            Class::Public,
            &[
                "8.8.8.8",
                "1.1.1.1",
                "2606:4700::1111",
                "::ffff:8.8.8.8",
                "64:ff9b::808:808",
            ],
        );
        check(
            Class::Private,
            &[
                "127.0.0.1",
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "169.254.1.1",
                "::1",
                "fd12::1",
                "fe80::1",
                "::ffff:127.0.0.1",
                "::127.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::",
            ],
        );
        check(
            Class::Never,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "192.0.0.1",
                "224.0.0.1",
                "255.255.255.255",
                "240.0.0.1",
                "169.254.169.254",
                "169.254.170.2",
                "169.254.170.23",
                "100.100.100.200",
                "168.63.129.16",
                "fd00:ec2::254",
                "fd20:ce::254",
                "::",
                "ff02::1",
                "2001::1",
                "64:ff9b:1::1",
                "fec0::1",
                "100::1",
                "3fff::1",
                "4000::1",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::",
            ],
        );
        check(
            Class::Public,
            &["172.32.0.1", "11.0.0.1", "100.128.0.1", "2a00::1"],
        );
    }
}
