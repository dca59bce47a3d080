//! Where the server listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

/// The forms that are accepted, for errors.
const FORMS: &str =
    "use HOST:PORT, [IPV6]:PORT, :PORT (all interfaces) or PORT (this machine only)";
/// The longest host name, in bytes.
const MAX_HOST_BYTES: usize = 253;

/// A host and a port: `host:port`, `[::1]:port`, `:port` for all interfaces, or `port` for `127.0.0.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    pub port: u16,
}

impl ListenAddress {
    /// Opens a socket there. A host name is resolved, and its first usable IP address is taken.
    pub async fn bind(&self, remedy: &str) -> Result<TcpListener> {
        TcpListener::bind((self.host.as_str(), self.port))
            .await
            .with_context(|| format!("cannot listen on {self}: {remedy}"))
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("it has no port: {FORMS}"));
        }
        let port = port
            .parse()
            .map_err(|_| format!("its port is not a number from 0 to 65535: {FORMS}"))?;
        let host = match host {
            "" | "*" => Ipv4Addr::UNSPECIFIED.to_string(),
            host if host.contains(':') => {
                return Err(match host.parse::<Ipv6Addr>() {
                    Ok(ip) => format!("an IPv6 address needs brackets: use [{ip}]:{port}"),
                    Err(_) => format!("{host:?} is neither a host name nor an IP address: {FORMS}"),
                });
            }
            host if is_host_name(host) => host.to_owned(),
            host => {
                return Err(format!(
                    "{host:?} is neither a host name nor an IP address: {FORMS}"
                ));
            }
        };
        Ok(Self { host, port })
    }
}

/// Letters, digits, `.`, `-` and `_`.
fn is_host_name(host: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    host.len() <= MAX_HOST_BYTES && host.chars().all(is_allowed)
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let parsed = text.parse::<ListenAddress>();
        assert_eq!(
            parsed.map(|it| it.to_string()),
            Ok(expected.to_owned()),
            "{text}"
        );
    }

    #[test]
    fn listen_address_has_four_forms() {
        check("127.0.0.1:8080", "127.0.0.1:8080");
        check("[::1]:8080", "[::1]:8080");
        check("[::]:0", "[::]:0");
        check(":8080", "0.0.0.0:8080");
        check("*:8080", "0.0.0.0:8080");
        check("8080", "127.0.0.1:8080");
        check(" localhost:80 ", "localhost:80");
        check("my-host.example_1.com:80", "my-host.example_1.com:80");
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = text.parse::<ListenAddress>().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn invalid_listen_address_names_the_forms() {
        check_error("", "it has no port: use HOST:PORT");
        check_error("localhost", "it has no port");
        check_error("localhost:", "it has no port");
        check_error("localhost:http", "it has no port");
        check_error("localhost:65536", "not a number from 0 to 65535");
        check_error("+80", "it has no port");
        check_error("::1:8080", "needs brackets: use [::1]:8080");
        check_error("http://localhost:80", "neither a host name");
        check_error("a b:80", "\"a b\" is neither a host name");
    }
}
