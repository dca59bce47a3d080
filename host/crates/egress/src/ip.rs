//! Which addresses a connection may go to.
//!
//! Source: `table.rs`, which a test writes from IANA's registries in `../iana`; the rows and
//! addresses that are not in them stand here.

mod nat64;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use pinhole_ground::guard::Guard;

pub use nat64::Nat64;

/// What an address is to a server. The later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Reachable by anybody.
    Public,
    /// This machine or a network of the operator's: only where an administrator named it.
    Private,
    /// Never: metadata services, multicast, reserved and unspecified addresses.
    Never,
}

/// Multicast, for which IANA has other registries.
const OWN_V4: &[(Ipv4Net, Class)] = &[(v4([224, 0, 0, 0], 4), Class::Never)];

/// Multicast, and site-local addresses, which unique-local ones have replaced.
const OWN_V6: &[(Ipv6Net, Class)] = &[
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Class::Never),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Class::Never),
];

/// Where clouds tell a machine its secrets: Amazon, Google, Azure, Alibaba, Oracle.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same where a machine speaks IPv6.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The names of these services. A resolver that is not the cloud's may give them any address.
const METADATA_NAMES: &[&str] = &[
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

/// Is this the name of a metadata service? `host` is in lower case.
pub(crate) fn is_metadata(host: &str) -> bool {
    METADATA_NAMES.contains(&host)
}

/// What this address is. An IPv6 address that a translator makes an IPv4 one of is what that one
/// is; `translators` are those of the operator's networks.
pub(crate) fn classify(address: IpAddr, translators: &[Nat64]) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address, translators),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    if Guard::MetadataAddress.holds() && METADATA_V4.contains(&address) {
        return Class::Never;
    }
    let rows = table::V4.iter().chain(OWN_V4);
    let classes = rows.filter(|(range, _)| range.contains(&address));
    classes
        .map(|(_, class)| *class)
        .max()
        .unwrap_or(Class::Public)
}

fn classify_v6(address: Ipv6Addr, translators: &[Nat64]) -> Class {
    if Guard::MetadataAddress.holds() && METADATA_V6.contains(&address) {
        return Class::Never;
    }
    if Guard::EmbeddedAddress.holds() {
        if let Some(mapped) = address.to_ipv4_mapped() {
            return classify_v4(mapped);
        }
        let mut translators = translators.iter().chain(&[Nat64::WELL_KNOWN]);
        if let Some(translator) = translators.find(|translator| translator.covers(address)) {
            let inner = translator.inner(address);
            return inner.map_or(Class::Never, classify_v4);
        }
    }
    let rows = table::V6.iter().chain(OWN_V6);
    let classes = rows.filter(|(range, _)| range.contains(&address));
    // Only 2000::/3 is allotted to the public.
    let unlisted = match address.segments()[0] >> 13 {
        1 => Class::Public,
        _ => Class::Never,
    };
    let outer = classes.map(|(_, class)| *class).max().unwrap_or(unlisted);
    match tunnelled(address).filter(|_| Guard::EmbeddedAddress.holds()) {
        Some(inner) => outer.max(classify_v4(inner)),
        None => outer,
    }
}

/// The IPv4 address to which an ISATAP tunnel would carry a packet.
fn tunnelled(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.segments();
    // The bit tells a number that is the interface's alone from one that is unique everywhere.
    let is_isatap = a & !0x0200 == 0 && b == 0x5efe;
    is_isatap.then(|| Ipv4Addr::from((u32::from(c) << 16) | u32::from(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Class, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(
                classify(address.parse().unwrap(), &[]),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn addresses_are_what_the_registries_say() {
        check(
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
        check(
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
        check(
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
    fn a_network_with_a_translator_reaches_what_ipv4_reaches() {
        let translators = Nat64::list("fd64::/96, 2a00:1:2:3::/64").unwrap();
        for (address, expected) in [
            ("fd64::808:808", Class::Public),
            ("fd64::a00:1", Class::Private),
            ("fd64::a9fe:a9fe", Class::Never),
            ("2a00:1:2:3:8:808:800::", Class::Public),
            ("2a00:1:2:3:7f:0:100::", Class::Private),
            // The octet that has to be zero is not.
            ("2a00:1:2:3:108:808:800::", Class::Never),
            ("fd65::808:808", Class::Private),
        ] {
            let class = classify(address.parse().unwrap(), &translators);
            assert_eq!(class, expected, "{address}");
        }
    }
}
