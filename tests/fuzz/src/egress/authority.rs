//! A URL that is accepted has one host and one port, whoever reads it.

#![allow(
    clippy::disallowed_methods,
    reason = "the system's resolver is asked for numbers alone, which it reads by itself"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use http::Uri;
use http::uri::Authority;
use url::Host;

use crate::egress::spelling::parse_url;

/// A URL.
///
/// What is accepted begins with `http://` or `https://` and has no user name, and its text as it
/// stands, the `url` crate, the `http` crate and the system's resolver agree on host and port. None
/// of them takes a name for a number.
pub fn authority(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(url) = parse_url(text) else {
        return;
    };
    let (host, port) = read_plainly(text);
    assert_eq!(
        url.host_str(),
        Some(host.as_str()),
        "the url crate: {text:?}"
    );
    assert_eq!(url.port_or_known_default(), Some(port), "{text:?}");
    assert!(url.username().is_empty() && url.password().is_none());

    let uri: Uri = url.as_str().parse().expect("the http crate reads it");
    check_authority(uri.authority().unwrap(), &host, port, url.scheme());
    let written = text.split(['/', '?', '#']).nth(2).unwrap();
    let written: Authority = written.parse().expect("the http crate reads it");
    check_authority(&written, &host, port, url.scheme());

    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = match url.host().unwrap() {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    };
    let number = bare.parse::<Ipv6Addr>().map(IpAddr::V6).ok();
    let number = number.or_else(|| read_number(bare).map(IpAddr::V4));
    assert_eq!(number, address, "a resolver may read {bare:?} so");
    if number.is_some() {
        // A name would be looked up, a number never is.
        let resolved: Vec<_> = (bare, port).to_socket_addrs().unwrap().collect();
        assert!(!resolved.is_empty());
        assert!(resolved.iter().all(|found| Some(found.ip()) == address));
    }
}

/// Host and port as they stand in the text, by the few rules that everybody shares.
fn read_plainly(text: &str) -> (String, u16) {
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://").expect("a scheme and two slashes");
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        other => panic!("accepted the scheme {other:?}"),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap();
    let literal = authority.find(']').map_or(0, |end| end + 1);
    match authority[literal..].find(':') {
        None => (authority.to_owned(), default),
        Some(colon) => {
            let (host, port) = authority.split_at(literal + colon);
            (host.to_owned(), port[1..].parse().expect("a port"))
        }
    }
}

fn check_authority(authority: &Authority, host: &str, port: u16, scheme: &str) {
    assert!(
        authority.host().eq_ignore_ascii_case(host),
        "the http crate: {authority}"
    );
    let default = if scheme == "https" { 443 } else { 80 };
    assert_eq!(
        authority.port_u16().unwrap_or(default),
        port,
        "the http crate: {authority}"
    );
}

/// The IPv4 address that old resolvers read out of one to four numbers in decimal, octal or
/// hexadecimal, the last of which fills what is left.
fn read_number(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| {
        let hex = text.strip_prefix("0x").or(text.strip_prefix("0X"));
        let octal = text.strip_prefix('0').filter(|rest| !rest.is_empty());
        let (digits, radix) = match (hex, octal) {
            (Some(hex), _) => (hex, 16),
            (None, Some(octal)) => (octal, 8),
            (None, None) => (text, 10),
        };
        let plain = digits.chars().all(|digit| digit.is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|_| plain)
    };
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, before) = numbers.split_last()?;
    let left = 32_u32.checked_sub(8 * u32::try_from(before.len()).ok()?)?;
    let fits = left > 0 && u64::from(*last) < 1 << left && before.iter().all(|byte| *byte < 256);
    let high = before.iter().fold(0, |bits, byte| bits << 8 | byte);
    let bits = u64::from(high) << left | u64::from(*last);
    fits.then(|| Ipv4Addr::from_bits(bits as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_system_reads_them() {
        for (text, expected) in [
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("10.0.258", "10.0.1.2"),
            ("4294967295", "255.255.255.255"),
        ] {
            let address: Ipv4Addr = expected.parse().unwrap();
            assert_eq!(read_number(text), Some(address), "{text}");
            let mut resolved = (text, 80).to_socket_addrs().unwrap();
            assert_eq!(resolved.next().unwrap().ip(), address, "{text}");
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
            assert_eq!(read_number(text), None, "{text}");
        }
    }
}
