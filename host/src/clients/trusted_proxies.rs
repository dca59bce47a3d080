//! The IP address of a client behind reverse proxies.
//!
//! Every client can send `X-Forwarded-For`. Each proxy appends the IP address that it was called from, so only
//! the right end of the list is from the proxy that called the server. The list is read from the right,
//! past the IP addresses of trusted proxies, to the first one that is not trusted: the client. A request
//! that does not come from a trusted proxy is from the IP address of its connection, whatever its headers
//! say.
//!
//! A proxy that writes `X-Forwarded-For` often passes a client's `Forwarded` on, and the reverse. If both
//! headers exist and name different clients, neither is believed.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HOST};
use ipnet::IpNet;
use pinhole_ground::guard::Guard;
use pinhole_ground::ip_network::network_of;

/// Networks in the list.
const MAX_NETWORKS: usize = 100;
/// IP addresses in a list of hops that are read.
const MAX_HOPS: usize = 32;

/// `PINHOLE_TRUSTED_PROXIES`: the networks of reverse proxies. None by default.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The IP address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp {
    pub ip: IpAddr,
    /// Several clients have this IP address: that of a proxy that names no client.
    is_shared: bool,
}

impl ClientIp {
    /// Whose part of a limit the client uses. `None` if the IP address stands for many clients.
    #[must_use]
    pub fn share_key(self) -> Option<IpAddr> {
        if self.is_shared {
            return None;
        }
        Some(network_of(self.ip))
    }
}

impl TrustedProxies {
    /// Parses networks and IP addresses that are separated by commas. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut networks = Vec::new();
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let network = match part.parse::<IpAddr>() {
                Ok(ip) => IpNet::from(ip.to_canonical()),
                Err(_) => part.parse::<IpNet>().map_err(|_| {
                    format!(
                        "contains {part:?}: it must be an IP address or a network, such as 10.0.0.0/8"
                    )
                })?,
            };
            if network.prefix_len() == 0 {
                return Err(format!(
                    "contains {part}, which is every IP address: name the networks of your proxies"
                ));
            }
            networks.push(network);
        }
        if networks.len() > MAX_NETWORKS {
            return Err(format!("has more than {MAX_NETWORKS} networks"));
        }
        Ok(Self(networks))
    }

    /// Is this a trusted proxy?
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The IP address of the client whose request a connection from this peer carries.
    #[must_use]
    pub fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> ClientIp {
        let peer = self.connection_ip(peer);
        if Guard::TrustedProxies.applies(!self.contains(peer.ip)) {
            return peer;
        }
        let x_forwarded_for = values(headers, "x-forwarded-for")
            .map(|hops| self.first_untrusted(peer.ip, hops.split(',').map(parse_hop)));
        let forwarded = values(headers, FORWARDED.as_str())
            .map(|hops| self.first_untrusted(peer.ip, hops.split(',').map(parse_forwarded)));
        let ip = match (x_forwarded_for, forwarded) {
            (None, None) => return peer,
            (Some(ip), Some(other)) if ip != other => peer.ip,
            (Some(ip), _) | (None, Some(ip)) => ip,
        };
        ClientIp {
            ip,
            is_shared: false,
        }
    }

    /// The IP address of a connection. Without trusted proxies, loopback may be a proxy as well.
    #[must_use]
    pub fn connection_ip(&self, peer: IpAddr) -> ClientIp {
        let ip = peer.to_canonical();
        ClientIp {
            ip,
            is_shared: self.contains(ip) || (self.0.is_empty() && ip.is_loopback()),
        }
    }

    /// The host that the client's browser knows: as the trusted proxy says, or else that of the request.
    #[must_use]
    pub fn requested_host(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<String> {
        if peer.is_some_and(|peer| self.contains(peer))
            && let Some(hosts) = values(headers, "x-forwarded-host")
            && let Some(host) = hosts.rsplit(',').next()
        {
            return Some(host.trim().to_owned());
        }
        Some(headers.get(HOST)?.to_str().ok()?.to_owned())
    }

    /// The scheme that the client's browser knows: as the trusted proxy says, or else `http`.
    #[must_use]
    pub fn requested_scheme(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> &'static str {
        let is_https = peer.is_some_and(|peer| self.contains(peer))
            && values(headers, "x-forwarded-proto")
                .and_then(|schemes| schemes.rsplit(',').next().map(|it| it.trim() == "https"))
                .unwrap_or(false);
        if is_https { "https" } else { "http" }
    }

    fn first_untrusted(
        &self,
        peer: IpAddr,
        hops: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut client = peer;
        for hop in hops.rev().take(MAX_HOPS) {
            let Some(ip) = hop else {
                break;
            };
            client = ip.to_canonical();
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// The values of a header, in one list. `None` if the header is absent. Text that is not ASCII names no hop.
fn values(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    if values.is_empty() {
        return None;
    }
    Some(values.join(","))
}

/// An IP address, maybe with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The client of an element of `Forwarded`.
///
/// Source: RFC 7239 section 4.
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })?;
    parse_hop(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn client_of(proxies: &str, peer: &str, headers: &[(&'static str, &'static str)]) -> ClientIp {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let proxies = TrustedProxies::parse(proxies).unwrap();
        proxies.client_ip(peer.parse().unwrap(), &map)
    }

    fn check(
        name: &str,
        proxies: &str,
        peer: &str,
        headers: &[(&'static str, &'static str)],
        expected: &str,
    ) {
        let client = client_of(proxies, peer, headers);
        assert_eq!(client.ip.to_string(), expected, "{name}");
    }

    #[test]
    fn client_ip_is_the_first_untrusted_one_from_the_right() {
        const PROXIES: &str = "10.0.0.0/8, fd00::/8";
        const FORGED: &[(&str, &str)] = &[("x-forwarded-for", "1.1.1.1")];
        check("no proxy is trusted", "", "10.0.0.1", FORGED, "10.0.0.1");
        check("not a proxy", PROXIES, "192.0.2.9", FORGED, "192.0.2.9");
        check("one proxy", PROXIES, "10.0.0.1", FORGED, "1.1.1.1");
        check("no header", PROXIES, "10.0.0.1", &[], "10.0.0.1");
        let two = [("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.2")];
        check("client forges a hop", PROXIES, "10.0.0.1", &two, "1.1.1.1");
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "1.1.1.1"),
        ];
        check("two headers", PROXIES, "10.0.0.1", &lines, "1.1.1.1");
        let ports = [("x-forwarded-for", "[2001:db8::1]:81, 10.0.0.2:80")];
        check("ports", PROXIES, "10.0.0.1", &ports, "2001:db8::1");
        let unreadable = [("x-forwarded-for", "1.1.1.1, unknown, 10.0.0.2")];
        check("unreadable", PROXIES, "10.0.0.1", &unreadable, "10.0.0.2");
        let mapped = [("x-forwarded-for", "::ffff:1.1.1.1")];
        check("mapped", PROXIES, "::ffff:10.0.0.1", &mapped, "1.1.1.1");
        let forwarded = [(
            "forwarded",
            "for=6.6.6.6, For=\"[2001:db8::1]:4\";proto=https",
        )];
        check("Forwarded", PROXIES, "fd00::1", &forwarded, "2001:db8::1");
    }

    #[test]
    fn contradicting_headers_are_not_believed() {
        let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=6.6.6.6")];
        let client = client_of("10.0.0.1", "10.0.0.1", &both);
        assert_eq!(client.ip.to_string(), "10.0.0.1");
        // The client gets no more than others.
        assert_eq!(client.share_key(), Some(client.ip));
        let same = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        let agreed = client_of("10.0.0.1", "10.0.0.1", &same);
        assert_eq!(agreed.ip.to_string(), "1.1.1.1");
    }

    #[test]
    fn proxy_that_names_no_client_stands_for_many() {
        assert_eq!(client_of("", "127.0.0.1", &[]).share_key(), None);
        assert_eq!(client_of("10.0.0.1", "10.0.0.1", &[]).share_key(), None);
        assert!(
            client_of("10.0.0.1", "127.0.0.1", &[])
                .share_key()
                .is_some()
        );
        assert!(client_of("", "192.0.2.1", &[]).share_key().is_some());
    }

    #[test]
    fn invalid_networks_are_named() {
        for text in [
            "proxy",
            "10.0.0.0/33",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1;10.0.0.2",
        ] {
            let error = TrustedProxies::parse(text).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
