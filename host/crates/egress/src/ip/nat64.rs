//! Prefixes under which a network's translator reaches IPv4.
//!
//! Source: RFC 6052, section 2.2.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// Prefixes that an operator may name.
const MAX_PREFIXES: usize = 16;
/// The octet that is zero in every translated address.
const RESERVED: usize = 8;

/// A prefix whose addresses carry an IPv4 address behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64(Ipv6Net);

impl Nat64 {
    /// The one that every network may use.
    pub(super) const WELL_KNOWN: Self = Self(Ipv6Net::new_assert(
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        96,
    ));

    /// Reads prefixes that are separated by commas. The error says which is none.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let written: Vec<&str> = text.split(',').map(str::trim).collect();
        if written.len() > MAX_PREFIXES {
            return Err(format!("names more than {MAX_PREFIXES} prefixes"));
        }
        written.into_iter().map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let prefix: Option<Ipv6Net> = text.parse().ok();
        let known = prefix.filter(|prefix| {
            let length = prefix.prefix_len();
            matches!(length, 32 | 40 | 48 | 56 | 64 | 96)
                && prefix.addr() == prefix.network()
                && prefix.addr().octets()[RESERVED] == 0
        });
        known.map(Self).ok_or_else(|| {
            format!(
                "has {text:?}, which is no prefix of a translator: an IPv6 network of 32, 40, 48, 56, 64 or 96 bits, such as 2001:db8:64::/96, with nothing behind its length and zero in bits 64 to 71"
            )
        })
    }

    pub(super) fn covers(&self, address: Ipv6Addr) -> bool {
        self.0.contains(&address)
    }

    /// The IPv4 address behind the prefix; none where the octet that has to be zero is not.
    pub(super) fn inner(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = address.octets();
        let behind = octets.iter().enumerate();
        let behind = behind.skip(usize::from(self.0.prefix_len()) / 8);
        let mut inner = behind.filter(|(place, _)| *place != RESERVED);
        let mut next = || inner.next().map_or(0, |(_, octet)| *octet);
        let inner = Ipv4Addr::new(next(), next(), next(), next());
        (octets[RESERVED] == 0).then_some(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6052, section 2.4.
    #[test]
    fn an_address_is_found_behind_each_length() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            let [translator] = Nat64::list(prefix).unwrap()[..] else {
                panic!("{prefix}")
            };
            let address = address.parse().unwrap();
            assert!(translator.covers(address), "{prefix}");
            let inner = translator.inner(address);
            assert_eq!(inner, Some(Ipv4Addr::new(192, 0, 2, 33)), "{prefix}");
        }
    }

    #[test]
    fn a_prefix_is_one_or_refused() {
        assert_eq!(Nat64::list("64:ff9b:1::/48 ,fd00::/96").unwrap().len(), 2);
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
            assert!(Nat64::list(bad).is_err(), "{bad}");
        }
        assert!(Nat64::list(&["fd00::/96"; 17].join(",")).is_err());
    }
}
