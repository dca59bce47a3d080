//! An accepted URL has one host and one port for every parser.

#![allow(
    clippy::disallowed_methods,
    reason = "the system's resolver gets numbers only, for which it sends no query"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use http::Uri;
use http::uri::Authority;
use pinhole_egress::url::parse_url;
use url::Host;

/// Input: a URL.
///
/// An accepted URL starts with `http://` or `https://` and has no user name. Its text, the `url` crate,
/// the `http` crate and the system's resolver agree on host and port. None of them reads a name as a
/// number.
pub fn authority(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(url) = parse_url(text) else {
        return;
    };
    let (host, port) = split_authority(text);
    assert_eq!(
        url.host_str(),
        Some(host.as_str()),
        "the url crate: {text:?}"
    );
    assert_eq!(url.port_or_known_default(), Some(port), "{text:?}");
    assert!(url.username().is_empty() && url.password().is_none());

    let uri: Uri = url.as_str().parse().expect("the http crate parses it");
    check_authority(uri.authority().unwrap(), &host, port, url.scheme());
    let written = text.split(['/', '?', '#']).nth(2).unwrap();
    let written: Authority = written.parse().expect("the http crate parses it");
    check_authority(&written, &host, port, url.scheme());

    let ip = match url.host().unwrap() {
        Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
        Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        Host::Domain(_) => None,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let number = match bare.parse::<Ipv6Addr>() {
        Ok(literal) => Some(IpAddr::V6(literal)),
        Err(_) => parse_number(bare).map(IpAddr::V4),
    };
    assert_eq!(number, ip, "a resolver may read {bare:?} as a number");
    if number.is_some() {
        // A name would cause a query, a number does not.
        let resolved: Vec<_> = (bare, port).to_socket_addrs().unwrap().collect();
        assert!(!resolved.is_empty());
        assert!(resolved.iter().all(|found| Some(found.ip()) == ip));
    }
}

/// Host and port in the text, by the rules that all parsers share.
fn split_authority(text: &str) -> (String, u16) {
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://").expect("a scheme and two slashes");
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        other => panic!("accepted the scheme {other:?}"),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap();
    let literal_end = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority[literal_end..].find(':') {
        None => (authority.to_owned(), default_port),
        Some(colon) => {
            let (host, port) = authority.split_at(literal_end + colon);
            (host.to_owned(), port[1..].parse().expect("a port"))
        }
    }
}

fn check_authority(authority: &Authority, host: &str, port: u16, scheme: &str) {
    assert!(
        authority.host().eq_ignore_ascii_case(host),
        "the http crate: {authority}"
    );
    let default_port = if scheme == "https" { 443 } else { 80 };
    assert_eq!(
        authority.port_u16().unwrap_or(default_port),
        port,
        "the http crate: {authority}"
    );
}

/// The IPv4 address that old resolvers read in one to four numbers in decimal, octal or hexadecimal. The
/// last number fills the remaining bytes.
fn parse_number(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = host.split('.').map(parse_part).collect::<Option<_>>()?;
    let (last, before) = numbers.split_last()?;
    let bits_left = 32_u32.checked_sub(8 * u32::try_from(before.len()).ok()?)?;
    let fits =
        bits_left > 0 && u64::from(*last) < 1 << bits_left && before.iter().all(|byte| *byte < 256);
    let high = before.iter().fold(0, |bits, byte| bits << 8 | byte);
    let bits = u64::from(high) << bits_left | u64::from(*last);
    fits.then(|| Ipv4Addr::from_bits(bits as u32))
}

fn parse_part(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let octal = text.strip_prefix('0').filter(|rest| !rest.is_empty());
    let (digits, radix) = match (hex, octal) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) => (octal, 8),
        (None, None) => (text, 10),
    };
    // `from_str_radix` would accept a sign.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_number_agrees_with_the_system() {
        for (text, expected) in [
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("10.0.258", "10.0.1.2"),
            ("4294967295", "255.255.255.255"),
        ] {
            let ip: Ipv4Addr = expected.parse().unwrap();
            assert_eq!(parse_number(text), Some(ip), "{text}");
            let mut resolved = (text, 80).to_socket_addrs().unwrap();
            assert_eq!(resolved.next().unwrap().ip(), ip, "{text}");
        }
        for text in [
            "",
            "host",
            "0x",
            "08",
            "1.2.3.4.5",
            "4294967296",
            "256.0.0.1",
            "1..2",
            "+1",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
