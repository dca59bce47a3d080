//! Hosts of image URLs: those that an engine declares, and those that an operator lists.

use std::fmt;

use ::url::{Host, Url};
use pinhole_ground::guard::{Guard, Refusal};
use serde::{Deserialize, Serialize};

use crate::url::{check_path, is_host_name, parse_base};

/// Length of a URL in an operator's list in bytes.
const MAX_URL_BYTES: usize = 2 << 10;

/// Public hosts from which images may be fetched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageHost {
    /// `*`: any public host.
    Any,
    /// `*.example.com`: the subdomains of `example.com`.
    Subdomains(String),
    /// `cdn.example.com`: this host.
    Name(String),
}

/// An entry of an operator's list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSource {
    Host(ImageHost),
    /// A base URL: this scheme, host and port, and the paths below. Its IP address may be private.
    BaseUrl(Url),
}

impl ImageHost {
    /// Parses an entry. The error repeats it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let domain = text.strip_prefix("*.");
        let name = domain.unwrap_or(text);
        // A number such as 2130706433 is an IP address.
        let is_domain = matches!(Host::parse(name), Ok(Host::Domain(parsed)) if parsed == name);
        if !is_domain || !is_host_name(name) {
            return Err(format!(
                "{text:?} is not a lower-case host name such as cdn.example.com, *.example.com for its \
                 subdomains, or * for any public host"
            ));
        }
        Ok(match domain {
            Some(domain) => Self::Subdomains(domain.to_owned()),
            None => Self::Name(name.to_owned()),
        })
    }

    /// True if it covers every host that the other covers.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Subdomains(domain), Self::Subdomains(name)) => {
                domain == name || is_subdomain(name, domain)
            }
            (Self::Subdomains(domain), Self::Name(name)) => is_subdomain(name, domain),
            _ => self == other,
        }
    }

    /// True if the host of the URL is one of these. Whether its IP address is public is checked when it is
    /// resolved.
    #[must_use]
    pub fn covers(&self, url: &Url) -> bool {
        match (self, url.host()) {
            (Self::Any, _) => true,
            (Self::Subdomains(domain), Some(Host::Domain(name))) => is_subdomain(name, domain),
            (Self::Name(own), Some(Host::Domain(name))) => own == name,
            _ => false,
        }
    }
}

fn is_subdomain(name: &str, domain: &str) -> bool {
    let label = name
        .strip_suffix(domain)
        .and_then(|rest| rest.strip_suffix('.'));
    label.is_some_and(|label| !label.is_empty())
}

impl ImageSource {
    /// Parses an entry. The error is for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return ImageHost::parse(text)
                .map(Self::Host)
                .map_err(|why| format!("{why}, or a URL such as http://10.0.0.5:9000"));
        }
        if text.len() > MAX_URL_BYTES {
            return Err(format!("a URL in it is longer than {MAX_URL_BYTES} bytes"));
        }
        match parse_base(text) {
            Ok(url) => Ok(Self::BaseUrl(url)),
            Err(refusal) => Err(refusal.reason),
        }
    }

    /// True if an entry is a URL and the other URL is at it or below.
    #[must_use]
    pub fn is_base_of(&self, url: &Url) -> bool {
        let Self::BaseUrl(base) = self else {
            return false;
        };
        let base_path = base.path().trim_end_matches('/');
        is_same_origin(base, url)
            && (base_path.is_empty() || path_below(base, url).is_some() || url.path() == base_path)
    }

    /// True if the entry is a host, and covers that of the URL.
    #[must_use]
    pub fn covers_host(&self, url: &Url) -> bool {
        matches!(self, Self::Host(host) if host.covers(url))
    }
}

/// True if both URLs have the same scheme, host and port.
pub(crate) fn is_same_origin(base: &Url, url: &Url) -> bool {
    if Guard::GrantedPort.applies(base.origin() != url.origin()) {
        return false;
    }
    base.host() == url.host()
}

/// The path of a URL after that of a base URL; `None` if it is not below, or if a server could read it as
/// another path.
pub(crate) fn path_below<'a>(base: &Url, url: &'a Url) -> Option<&'a str> {
    let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let checked: Result<(), Refusal> = check_path(path, url.query());
    checked.ok().map(|()| path)
}

impl fmt::Display for ImageHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Subdomains(domain) => write!(formatter, "*.{domain}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(formatter),
            Self::BaseUrl(url) => formatter.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

impl TryFrom<String> for ImageHost {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ImageHost> for String {
    fn from(host: ImageHost) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_host_refuses_other_spellings() {
        for good in [
            "*",
            "cdn.example.com",
            "*.bfl.ai",
            "xn--mller-kva.de",
            "my_host",
        ] {
            let host = ImageHost::parse(good).unwrap();
            assert_eq!(host.to_string(), good);
        }
        for bad in [
            "",
            "*.",
            "**",
            "*.*",
            "*.*.com",
            "a.*.com",
            "*com",
            "CDN.example.com",
            "cdn.example.com.",
            "cdn..com",
            "cdn.example.com:443",
            "https://cdn.example.com",
            "cdn.example.com/x",
            "user@cdn",
            "müller.de",
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "*.0.0.1",
            "[::1]",
            "::1",
            " cdn",
            "cdn\n",
        ] {
            assert!(ImageHost::parse(bad).is_err(), "{bad}");
        }
    }

    fn assert_covers(host: &str, url: &str, expected: bool) {
        let covers = ImageHost::parse(host)
            .unwrap()
            .covers(&Url::parse(url).unwrap());
        assert_eq!(covers, expected, "{host} {url}");
    }

    #[test]
    fn image_host_covers_exact_names_and_subdomains() {
        assert_covers("cdn.bfl.ai", "https://cdn.bfl.ai:8443/x", true);
        assert_covers("cdn.bfl.ai", "https://a.cdn.bfl.ai/x", false);
        assert_covers("*.bfl.ai", "https://a.b.bfl.ai/x", true);
        assert_covers("*.bfl.ai", "https://bfl.ai/x", false);
        assert_covers("*.bfl.ai", "https://evilbfl.ai/x", false);
        assert_covers("*.bfl.ai", "https://bfl.ai.evil/x", false);
        assert_covers("*", "https://anything.example/x", true);
        assert_covers("*", "http://8.8.8.8/x", true);
    }

    #[test]
    fn image_host_includes_narrower_hosts() {
        for (wide, narrow, expected) in [
            ("*", "*.bfl.ai", true),
            ("*.bfl.ai", "*", false),
            ("*.bfl.ai", "*.eu.bfl.ai", true),
            ("*.bfl.ai", "cdn.bfl.ai", true),
            ("*.bfl.ai", "*.bfl.ai", true),
            ("*.bfl.ai", "bfl.ai", false),
            ("cdn.bfl.ai", "*.cdn.bfl.ai", false),
            ("cdn.bfl.ai", "cdn.bfl.ai", true),
        ] {
            let [one, other] = [wide, narrow].map(|text| ImageHost::parse(text).unwrap());
            assert_eq!(one.includes(&other), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn image_source_url_covers_its_origin_and_paths_below() {
        for (base, url, expected) in [
            (
                "http://10.0.0.5:9000",
                "http://10.0.0.5:9000/a/b?c=%20",
                true,
            ),
            ("http://10.0.0.5:9000", "http://10.0.0.5:9001/a", false),
            ("http://10.0.0.5:9000", "https://10.0.0.5:9000/a", false),
            ("http://10.0.0.5:9000", "http://10.0.0.6:9000/a", false),
            ("http://minio:9000/pub", "http://minio:9000/pub/x.png", true),
            ("http://minio:9000/pub/", "http://minio:9000/pub", true),
            ("http://minio:9000/pub", "http://minio:9000/public", false),
            (
                "http://minio:9000/pub",
                "http://minio:9000/pub/..%2fadmin",
                false,
            ),
            (
                "http://minio:9000/pub",
                "http://minio:9000/pub/../admin",
                false,
            ),
            ("http://minio:9000/pub", "http://minio:9000/", false),
        ] {
            let source = ImageSource::parse(base).unwrap();
            let is_base = source.is_base_of(&Url::parse(url).unwrap());
            assert_eq!(is_base, expected, "{base} {url}");
            assert_eq!(source.to_string(), base.trim_end_matches('/'));
        }
        for bad in [
            "http://u@minio",
            "ftp://minio",
            "http://minio/?x",
            "10.0.0.5",
            "minio:9000",
        ] {
            assert!(ImageSource::parse(bad).is_err(), "{bad}");
        }
    }
}
