//! Classes of IP addresses: public, private or never reachable.
//!
//! Source: `table.rs`, which a test generates from IANA's registries in `../iana`, and the ranges and
//! addresses below, which are not in these registries.

mod nat64;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use pinhole_ground::guard::Guard;

pub use nat64::Nat64;

/// The class of an IP address. Later classes are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Globally reachable.
    Public,
    /// This machine, or a private network: reachable only if an administrator's setting names it.
    Private,
    /// Metadata services, multicast, reserved and unspecified addresses: never reachable.
    Never,
}

/// Multicast, which has registries of its own.
const EXTRA_V4: &[(Ipv4Net, Class)] = &[(v4([224, 0, 0, 0], 4), Class::Never)];

/// Multicast, and the deprecated site-local addresses.
const EXTRA_V6: &[(Ipv6Net, Class)] = &[
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Class::Never),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Class::Never),
];

/// Metadata services, which give a virtual machine its credentials: Amazon, Google, Azure, Alibaba,
/// Oracle.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Metadata services on IPv6.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Host names of metadata services. A resolver outside the cloud may return any IP address for them.
const METADATA_HOSTS: &[&str] = &[
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Is this the host name of a metadata service? `host` is in lower case.
pub(crate) fn is_metadata_host(host: &str) -> bool {
    METADATA_HOSTS.contains(&host)
}

/// Is this the IP address of a metadata service? Does not look into embedded addresses.
pub(crate) fn is_metadata_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => METADATA_V6.contains(&ip),
    }
}

/// The class of an IP address. An IPv6 address that embeds an IPv4 address has at least the class of the
/// embedded one. `nat64` are the translators of the operator's networks.
#[must_use]
pub fn classify(ip: IpAddr, nat64: &[Nat64]) -> Class {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip, nat64),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Class {
    if Guard::MetadataAddress.applies(METADATA_V4.contains(&ip)) {
        return Class::Never;
    }
    table::V4
        .iter()
        .chain(EXTRA_V4)
        .filter(|(range, _)| range.contains(&ip))
        .map(|(_, class)| *class)
        .max()
        .unwrap_or(Class::Public)
}

fn classify_v6(ip: Ipv6Addr, nat64: &[Nat64]) -> Class {
    if Guard::MetadataAddress.applies(METADATA_V6.contains(&ip)) {
        return Class::Never;
    }
    if let Some(class) = classify_translated(ip, nat64)
        && Guard::EmbeddedAddress.applies(true)
    {
        return class;
    }
    // Only 2000::/3 is allocated for global unicast.
    let unlisted = match ip.segments()[0] >> 13 {
        1 => Class::Public,
        _ => Class::Never,
    };
    let listed = table::V6
        .iter()
        .chain(EXTRA_V6)
        .filter(|(range, _)| range.contains(&ip))
        .map(|(_, class)| *class)
        .max()
        .unwrap_or(unlisted);
    match isatap_target(ip) {
        Some(target) if Guard::EmbeddedAddress.applies(true) => listed.max(classify_v4(target)),
        _ => listed,
    }
}

/// The class of an IPv4-mapped or NAT64 address, which is the class of the IPv4 address in it.
fn classify_translated(ip: Ipv6Addr, nat64: &[Nat64]) -> Option<Class> {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return Some(classify_v4(mapped));
    }
    let prefix = nat64
        .iter()
        .chain(&[Nat64::WELL_KNOWN])
        .find(|prefix| prefix.contains(ip))?;
    Some(prefix.extract(ip).map_or(Class::Never, classify_v4))
}

/// The IPv4 address to which an ISATAP tunnel carries packets.
fn isatap_target(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = ip.segments();
    // The masked bit distinguishes locally from globally unique interface identifiers.
    let is_isatap = a & !0x0200 == 0 && b == 0x5efe;
    is_isatap.then(|| Ipv4Addr::from((u32::from(c) << 16) | u32::from(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_class(expected: Class, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(
                classify(address.parse().unwrap(), &[]),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn classify_follows_the_iana_registries() {
        assert_class(
            Class::Public,
            &[
                "8.8.8.8",
                "1.1.1.1",
                "172.32.0.1",
                "11.0.0.1",
                "100.128.0.1",
                "192.31.196.1",
                "2606:4700::1111",
                "2a00::1",
                "2620:4f:8000::1",
                "::ffff:8.8.8.8",
                "64:ff9b::808:808",
                "2a00::5efe:808:808",
            ],
        );
        assert_class(
            Class::Private,
            &[
                "127.0.0.1",
                "127.255.255.255",
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "169.254.1.1",
                "198.18.0.1",
                "::1",
                "fd12::1",
                "fe80::1",
                "::ffff:127.0.0.1",
                "64:ff9b::7f00:1",
                "2a00::5efe:7f00:1",
                "2a00::200:5efe:a00:1",
            ],
        );
        assert_class(
            Class::Never,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "192.0.0.1",
                "192.0.0.9",
                "192.0.2.1",
                "192.88.99.1",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "255.255.255.255",
                "240.0.0.1",
                "169.254.169.254",
                "169.254.170.2",
                "169.254.170.23",
                "100.100.100.200",
                "168.63.129.16",
                "fd00:ec2::23",
                "fd00:ec2::254",
                "fd20:ce::254",
                "::",
                "::127.0.0.1",
                "::8.8.8.8",
                "ff02::1",
                "2001::1",
                "2001:1::1",
                "2001:db8::1",
                "2002:7f00:1::",
                "2002:808:808::1",
                "64:ff9b:1::1",
                "64:ff9b:1::808:808",
                "fec0::1",
                "100::1",
                "100:0:0:1::1",
                "3fff::1",
                "4000::1",
                "5f00::1",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2a00::5efe:a9fe:a9fe",
                "fe80::5efe:a9fe:a9fe",
            ],
        );
    }

    #[test]
    fn classify_uses_the_address_behind_a_nat64_prefix() {
        let nat64 = Nat64::parse_list("fd64::/96, 2a00:1:2:3::/64").unwrap();
        for (address, expected) in [
            ("fd64::808:808", Class::Public),
            ("fd64::a00:1", Class::Private),
            ("fd64::a9fe:a9fe", Class::Never),
            ("2a00:1:2:3:8:808:800::", Class::Public),
            ("2a00:1:2:3:7f:0:100::", Class::Private),
            // The reserved octet is not zero.
            ("2a00:1:2:3:108:808:800::", Class::Never),
            ("fd65::808:808", Class::Private),
        ] {
            let class = classify(address.parse().unwrap(), &nat64);
            assert_eq!(class, expected, "{address}");
        }
    }
}
