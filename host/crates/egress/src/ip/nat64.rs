//! NAT64: prefixes under which a translator maps IPv6 to IPv4.
//!
//! Source: RFC 6052, section 2.2.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// Prefixes in a setting.
const MAX_PREFIXES: usize = 16;
/// Index of the octet that is zero in every translated address.
const RESERVED_OCTET: usize = 8;

/// A prefix whose addresses embed an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64(Ipv6Net);

impl Nat64 {
    /// The prefix that every network may use.
    pub(super) const WELL_KNOWN: Self = Self(Ipv6Net::new_assert(
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        96,
    ));

    /// Parses prefixes that are separated by commas. The error names the invalid one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let prefixes: Vec<&str> = text.split(',').map(str::trim).collect();
        if prefixes.len() > MAX_PREFIXES {
            return Err(format!("contains more than {MAX_PREFIXES} prefixes"));
        }
        prefixes.into_iter().map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Ipv6Net>() {
            Ok(prefix) if is_translator_prefix(&prefix) => Ok(Self(prefix)),
            _ => Err(format!(
                "has {text:?}, which is not a NAT64 prefix: write an IPv6 network of 32, 40, 48, 56, 64 \
                 or 96 bits, such as 2001:db8:64::/96, with only zeros after its length and in bits 64 \
                 to 71"
            )),
        }
    }

    pub(super) fn contains(&self, ip: Ipv6Addr) -> bool {
        self.0.contains(&ip)
    }

    /// The embedded IPv4 address; `None` if the reserved octet is not zero.
    pub(super) fn extract(&self, ip: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = ip.octets();
        if octets[RESERVED_OCTET] != 0 {
            return None;
        }
        let mut embedded = octets
            .iter()
            .enumerate()
            .skip(usize::from(self.0.prefix_len()) / 8)
            .filter(|(index, _)| *index != RESERVED_OCTET);
        let mut next_octet = || embedded.next().map_or(0, |(_, octet)| *octet);
        Some(Ipv4Addr::new(
            next_octet(),
            next_octet(),
            next_octet(),
            next_octet(),
        ))
    }
}

fn is_translator_prefix(prefix: &Ipv6Net) -> bool {
    matches!(prefix.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96)
        && prefix.addr() == prefix.network()
        && prefix.addr().octets()[RESERVED_OCTET] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6052, section 2.4.
    #[test]
    fn nat64_extracts_ipv4_behind_each_prefix_length() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            let [nat64] = Nat64::parse_list(prefix).unwrap()[..] else {
                panic!("{prefix}")
            };
            let ip = address.parse().unwrap();
            assert!(nat64.contains(ip), "{prefix}");
            let expected = Some(Ipv4Addr::new(192, 0, 2, 33));
            assert_eq!(nat64.extract(ip), expected, "{prefix}");
        }
    }

    #[test]
    fn nat64_parses_valid_prefixes_only() {
        assert_eq!(
            Nat64::parse_list("64:ff9b:1::/48 ,fd00::/96")
                .unwrap()
                .len(),
            2
        );
        for bad in [
            "",
            "fd00::/96,",
            "fd00::",
            "fd00::/95",
            "fd00::1/96",
            "fd00:0:0:0:ff00::/96",
            "10.0.0.0/8",
            "all",
        ] {
            assert!(Nat64::parse_list(bad).is_err(), "{bad}");
        }
        assert!(Nat64::parse_list(&["fd00::/96"; 17].join(",")).is_err());
    }
}
