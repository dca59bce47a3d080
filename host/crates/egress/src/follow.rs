//! Requests to URLs that a response names, such as the URL at which an upstream shows the state of a job.
//!
//! Such a URL receives the upstream's credential, so an upstream that names another host must not receive a request
//! there unless its operator granted that host. A URL below the base URL is an ordinary request. Any other one needs
//! `https`, the default port and a host that the engine declares and an administrator granted; its IP address is public.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::url::{Position, Url};
use http::HeaderValue;
use pinhole_ground::guard::{Guard, Refusal};
use rustls::ClientConfig;

use crate::address_policy::AddressPolicy;
use crate::connector::Connector;
use crate::destination::Destination;
use crate::error::Error;
use crate::http_client::HttpClient;
use crate::image_host::{ImageHost, is_same_origin, path_below};
use crate::url::{check_path, parse_url};

/// Hosts whose connections stay open.
const MAX_HOSTS: usize = 8;

/// Where a request goes whose URL a response names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowTarget {
    /// `None`: below the base URL.
    pub host: Option<OtherHost>,
    /// With its query. Below the base URL, or from the root of the other host.
    pub path: String,
}

/// A host other than that of the base URL, to which a request may be sent with the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHost {
    /// Without path.
    origin: Url,
}

impl OtherHost {
    #[cfg(test)]
    pub(crate) fn at(origin: &str) -> Self {
        Self {
            origin: Url::parse(origin).unwrap(),
        }
    }

    /// Scheme, host and port, for the operator.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// The URL of a path. Fails on a path that a server could read as another one.
    pub(crate) fn join(&self, path: &str) -> Result<Url, Error> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        check_path(path, query).map_err(Error::denied_request)?;
        let mut url = self.origin.clone();
        url.set_path(path);
        url.set_query(query);
        Ok(url)
    }
}

impl Destination {
    /// Where a request to the URL in a response goes: an absolute URL, or a path at the base URL's host. `hosts` are
    /// those that are granted for it. Resolves no name.
    pub fn follow_target(&self, text: &str, hosts: &[ImageHost]) -> Result<FollowTarget, Refusal> {
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let url = if is_path {
            parse_exactly(&format!("{}{text}", self.origin()))?
        } else {
            parse_exactly(text)?
        };
        let host = url.host_str().unwrap_or_default();
        let query = &url[Position::AfterPath..Position::AfterQuery];
        if is_same_origin(&self.base, &url) {
            if let Some(path) = path_below(&self.base, &url) {
                return Ok(FollowTarget {
                    host: None,
                    path: format!("{path}{query}"),
                });
            }
            let reason = format!("the URL at {host} is not below the base URL");
            Guard::FollowHosts.refuse_if(true, || reason)?;
        }
        check_path(url.path(), url.query())?;
        let is_granted = url.scheme() == "https"
            && url.port().is_none()
            && hosts
                .iter()
                .any(|granted| *granted != ImageHost::Any && granted.covers(&url));
        Guard::FollowHosts.refuse_if(!is_granted, || {
            let origin = url.origin().ascii_serialization();
            format!("{origin} is neither the host of the base URL nor a granted host with https and the default port")
        })?;
        let path = format!("{}{query}", url.path());
        let mut origin = url;
        origin.set_path("/");
        origin.set_query(None);
        Ok(FollowTarget {
            host: Some(OtherHost { origin }),
            path,
        })
    }
}

/// Parses a URL whose path is in canonical spelling too, and that has no fragment.
fn parse_exactly(text: &str) -> Result<Url, Refusal> {
    let url = parse_url(text)?;
    let host = url.host_str().unwrap_or_default();
    if url.fragment().is_some() {
        return Err(format!("the URL of {host} has a fragment, which is never sent").into());
    }
    // The parsed path has no `..` any more, so compare it with the text.
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let start = rest.find(['/', '?']).unwrap_or(rest.len());
    let written = rest.get(start..).unwrap_or_default();
    let path = written.split('?').next().unwrap_or_default();
    Guard::Path.refuse_if(!path.is_empty() && path != url.path(), || {
        format!("the URL of {host} does not have its path in canonical spelling")
    })?;
    Ok(url)
}

/// The clients of the other hosts of a destination. They connect to public IP addresses only, and never use a client
/// certificate.
pub(crate) struct OtherHosts {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) policy: AddressPolicy,
    /// By origin.
    pub(crate) clients: Mutex<BTreeMap<String, HttpClient>>,
}

impl OtherHosts {
    /// The client of a host.
    pub(crate) fn client(&self, host: &OtherHost) -> Result<HttpClient, Error> {
        let origin = host.origin();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&origin) {
            return Ok(client.clone());
        }
        let opened = self
            .policy
            .check_host(&host.origin)
            .and_then(|()| Connector::new(&host.origin, self.policy.clone(), self.tls.clone()));
        let client = HttpClient::new(opened.map_err(Error::denied_address)?);
        // An upstream can name any number of subdomains.
        if clients.len() < MAX_HOSTS {
            clients.insert(origin, client.clone());
        }
        Ok(client)
    }
}

/// The header `Host` for a URL.
pub(crate) fn host_header(url: &Url) -> Result<HeaderValue, Refusal> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    HeaderValue::from_str(host).map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseUrl, Credential, DEFAULT_SILENCE, Egress, Tls};

    fn destination(base: &str) -> Destination {
        let base_url = BaseUrl {
            url: base,
            allows_private: true,
            setting: "DRAW_URL",
        };
        let credential = Credential::bearer("k").unwrap();
        let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
        egress
            .destination(base_url, credential, &Tls::default())
            .unwrap()
    }

    fn follow(base: &str, text: &str) -> Result<FollowTarget, Refusal> {
        let hosts = ["eu.example.com", "*.region.example.com", "*"];
        let hosts = hosts.map(|host| ImageHost::parse(host).unwrap());
        destination(base).follow_target(text, &hosts)
    }

    #[test]
    fn follow_target_below_the_base_url_is_a_path() {
        for (base, text, expected) in [
            (
                "https://api.example.com/v1",
                "https://api.example.com/v1/tasks/1?a=%20b",
                "/tasks/1?a=%20b",
            ),
            (
                "https://api.example.com/v1/",
                "https://api.example.com:443/v1/tasks/1",
                "/tasks/1",
            ),
            (
                "https://api.example.com",
                "https://API.example.com/tasks/1",
                "/tasks/1",
            ),
            (
                "https://api.example.com",
                "https://api.example.com?a",
                "/?a",
            ),
            ("http://10.0.0.5:8188/x", "http://10.0.0.5:8188/x/y", "/y"),
            ("http://10.0.0.5:8188/x", "/x/y?z", "/y?z"),
        ] {
            let target = follow(base, text).unwrap();
            assert_eq!(
                (target.host, target.path.as_str()),
                (None, expected),
                "{text}"
            );
        }
    }

    #[test]
    fn follow_target_at_a_granted_host_starts_at_its_root() {
        for (text, origin, path) in [
            (
                "https://eu.example.com/v1/tasks/1?a=b",
                "https://eu.example.com",
                "/v1/tasks/1?a=b",
            ),
            ("https://eu.example.com:443/", "https://eu.example.com", "/"),
            (
                "https://a.b.region.example.com/x",
                "https://a.b.region.example.com",
                "/x",
            ),
        ] {
            let target = follow("https://api.example.com/v1", text).unwrap();
            let host = target.host.unwrap();
            assert_eq!(
                (host.origin().as_str(), target.path.as_str()),
                (origin, path)
            );
            let url = host.join(&target.path).unwrap();
            assert_eq!(url.as_str(), format!("{origin}{path}"));
        }
    }

    #[test]
    fn follow_target_refuses_hosts_that_are_not_granted() {
        for text in [
            // Below the base URL in appearance only.
            "https://api.example.com/v1evil",
            "https://api.example.com/v1",
            "https://api.example.com/",
            "https://api.example.com/v2/tasks",
            "/v2/tasks",
            "https://api.example.com:8443/v1/tasks",
            "http://api.example.com/v1/tasks",
            // Hosts that resemble granted ones.
            "https://eu.example.com.evil.com/x",
            "https://evileu.example.com/x",
            "https://x.eu.example.com/x",
            "https://region.example.com/x",
            "https://evilregion.example.com/x",
            "https://example.com/x",
            "https://xn--u-cga.example.com/x",
            "http://eu.example.com/x",
            "https://eu.example.com:8443/x",
            "https://eu.example.com:80/x",
            // IP addresses.
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://8.8.8.8/x",
            "https://169.254.169.254/latest",
        ] {
            let refusal = follow("https://api.example.com/v1", text).unwrap_err();
            assert_eq!(refusal.guard, Some(Guard::FollowHosts), "{text} {refusal}");
        }
    }

    #[test]
    fn follow_target_refuses_other_spellings() {
        for (text, guard) in [
            ("https://key@eu.example.com/x", Some(Guard::Authority)),
            ("https://user:key@eu.example.com/x", Some(Guard::Authority)),
            ("https://eu.example.com@evil.com/x", Some(Guard::Authority)),
            ("https://eu.example.com./x", Some(Guard::Authority)),
            ("https://api.example.com./v1/x", Some(Guard::Authority)),
            ("https://eu.example.com:0443/x", Some(Guard::Authority)),
            ("https://eu.example.com:/x", Some(Guard::Authority)),
            ("https://eu%2eexample.com/x", Some(Guard::Authority)),
            ("https://eu。example.com/x", Some(Guard::Authority)),
            ("https://ｅu.example.com/x", Some(Guard::Authority)),
            ("https://2130706433/x", Some(Guard::Authority)),
            ("https://0x7f.1/x", Some(Guard::Authority)),
            ("https:\\\\eu.example.com/x", Some(Guard::Authority)),
            ("https:/eu.example.com/x", Some(Guard::Authority)),
            (" https://eu.example.com/x", Some(Guard::Authority)),
            ("https://eu.example.com/a b", Some(Guard::Authority)),
            ("https://eu.example.com/é", Some(Guard::Authority)),
            ("https://api.example.com/v1/../admin", Some(Guard::Path)),
            ("https://api.example.com/v1/%2e%2e/admin", Some(Guard::Path)),
            ("https://api.example.com/v1/a/./b", Some(Guard::Path)),
            ("https://eu.example.com/a/../b", Some(Guard::Path)),
            ("https://eu.example.com/a%2f..%2fb", Some(Guard::Path)),
            ("https://eu.example.com/a//b", Some(Guard::Path)),
            ("https://eu.example.com/a/..;/b", Some(Guard::Path)),
            ("/v1/../admin", Some(Guard::Path)),
            ("https://eu.example.com/x#part", None),
            ("//eu.example.com/x", None),
            ("tasks/1", None),
            ("", None),
            ("ftp://eu.example.com/x", None),
            ("file:///etc/passwd", None),
            ("data:text/plain,x", None),
            ("wss://eu.example.com/x", None),
        ] {
            let refusal = follow("https://api.example.com/v1", text).unwrap_err();
            assert_eq!(refusal.guard, guard, "{text} {refusal}");
            assert!(!refusal.reason.contains("key@"), "{refusal}");
        }
        // The path of a base URL is not left by an encoded separator either.
        let refusal = follow(
            "https://api.example.com/v1",
            "https://api.example.com/v1/..%2fadmin",
        );
        assert_eq!(refusal.unwrap_err().guard, Some(Guard::FollowHosts));
    }

    #[tokio::test]
    async fn other_host_must_have_a_public_address() {
        let destination = destination("https://api.example.com/v1");
        for (text, granted, guard) in [
            ("https://localhost/x", "localhost", Guard::PrivateAddress),
            (
                "https://metadata.google.internal/x",
                "*.google.internal",
                Guard::MetadataName,
            ),
        ] {
            let hosts = [ImageHost::parse(granted).unwrap()];
            let FollowTarget { host, path } = destination.follow_target(text, &hosts).unwrap();
            let request = crate::Request {
                host,
                path,
                ..Default::default()
            };
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
            let error = destination.send(request, 1, deadline).await.unwrap_err();
            assert_eq!(error.guard(), Some(guard), "{error}");
        }
    }

    #[test]
    fn other_hosts_retain_a_limited_number_of_clients() {
        let destination = destination("https://api.example.com");
        for number in 0..2 * MAX_HOSTS {
            let origin = Url::parse(&format!("https://h{number}.example.com")).unwrap();
            destination
                .other_hosts
                .client(&OtherHost { origin })
                .unwrap();
        }
        assert_eq!(
            destination.other_hosts.clients.lock().unwrap().len(),
            MAX_HOSTS
        );
    }
}
