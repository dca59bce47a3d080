//! The network of a client, for limits that one client must not avoid with many IP addresses.

use std::net::{IpAddr, Ipv6Addr};

/// The /64 network of an IPv6 address, because one client often controls all of it. An IPv4 address is
/// its own network.
#[must_use]
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_of_groups_ipv6_by_64_bits() {
        let check = |ip: &str, expected: &str| {
            let network = network_of(ip.parse().unwrap());
            assert_eq!(network.to_string(), expected, "{ip}");
        };
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("192.0.2.1", "192.0.2.1");
        check("::ffff:192.0.2.1", "192.0.2.1");
    }
}
