//! The factory of destinations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::url::Url;
use pinhole_ground::guard::Refusal;
use rustls::ClientConfig;

use crate::address_policy::AddressPolicy;
use crate::client::GuardedClient;
use crate::connector::Connector;
use crate::credential::{Credential, GOOGLE_TOKEN_URL, ServiceAccount};
use crate::destination::{BaseUrl, Destination};
use crate::error::add_private_remedy;
use crate::follow::{OtherHosts, host_header};
use crate::http_client::HttpClient;
use crate::image_host::is_same_origin;
use crate::ip::Nat64;
use crate::tls::{Tls, system_client_config};
use crate::token_source::TokenSource;
use crate::url::parse_base;

/// Time that a response may pause between two chunks, unless a setting changes it.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(120);

/// Opens destinations.
#[derive(Clone)]
pub struct Egress {
    /// For destinations without TLS options.
    tls: ClientConfig,
    /// For image URLs at public hosts.
    public: GuardedClient,
    /// For image URLs below a base URL in an operator's list.
    listed: GuardedClient,
    nat64: Arc<[Nat64]>,
    silence: Duration,
}

impl Egress {
    /// Loads the system's certificate authorities.
    ///
    /// `nat64` are the prefixes of NAT64 translators in the operator's networks. `silence` is the time
    /// that a response may pause between two chunks.
    pub fn new(nat64: &[Nat64], silence: Duration) -> anyhow::Result<Self> {
        let tls = system_client_config()?;
        let open = |allows_private| {
            let policy = AddressPolicy {
                allows_private,
                nat64: nat64.into(),
            };
            GuardedClient::new(&tls, policy)
        };
        Ok(Self {
            public: open(false)?,
            listed: open(true)?,
            tls,
            nat64: nat64.into(),
            silence,
        })
    }

    /// Opens a destination.
    ///
    /// Fails on a base URL that is not canonical `http(s)://host[:port][/path]`, on a host that must not
    /// be reached, and on unusable certificates.
    pub fn destination(
        &self,
        base_url: BaseUrl<'_>,
        credential: Credential,
        tls: &Tls,
    ) -> Result<Destination, Refusal> {
        let url = parse_base(base_url.url)?;
        let policy = AddressPolicy {
            allows_private: base_url.allows_private,
            nat64: self.nat64.clone(),
        };
        let remedy = format!("allow it with {}={}", base_url.setting, base_url.url);
        policy
            .check_host(&url)
            .map_err(|refusal| add_private_remedy(refusal, || remedy.clone()))?;
        let open_client = |config: &Arc<ClientConfig>| {
            Connector::new(&url, policy.clone(), config.clone()).map(HttpClient::new)
        };
        let config = Arc::new(tls.client_config(&self.tls)?);
        let client = open_client(&config)?;
        let (without_certificate, own_images) = if tls.has_certificate() {
            let other_config = Arc::new(tls.without_certificate().client_config(&self.tls)?);
            let own_images = open_client(&other_config)?;
            (other_config, own_images)
        } else {
            (config, client.clone())
        };
        let other_hosts = OtherHosts {
            tls: without_certificate,
            policy: self.public.policy.clone(),
            clients: Mutex::default(),
        };
        let tokens = match credential.service_account() {
            Some(account) => Some(self.token_source(account, &url, base_url, tls)?),
            None => None,
        };
        Ok(Destination {
            host: host_header(&url)?,
            base: url,
            other_hosts,
            tokens,
            remedy,
            own_images,
            public_images: self.public.clone(),
            listed_images: self.listed.clone(),
            credential,
            client,
            silence: self.silence,
        })
    }

    /// Opens the destination of a service account's requests for tokens: Google's, or a URL at the host and port of the
    /// base URL if an administrator set that one.
    fn token_source(
        &self,
        account: &Arc<ServiceAccount>,
        base: &Url,
        base_url: BaseUrl<'_>,
        tls: &Tls,
    ) -> Result<TokenSource, Refusal> {
        let token_url = &account.token_url;
        let is_own = base_url.allows_private && is_same_origin(base, token_url);
        if token_url.as_str() != GOOGLE_TOKEN_URL && !is_own {
            let origin = token_url.origin().ascii_serialization();
            return Err(format!(
                "the service account's key has a token_uri at {origin}: only {GOOGLE_TOKEN_URL} can be used, or a \
                 URL at the host of the base URL that is set"
            )
            .into());
        }
        let endpoint = BaseUrl {
            url: &token_url.origin().ascii_serialization(),
            allows_private: is_own,
            setting: base_url.setting,
        };
        let own_tls = if is_own { tls } else { &Tls::default() };
        let endpoint = self.destination(endpoint, Credential::default(), own_tls)?;
        Ok(TokenSource::new(account.clone(), endpoint))
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Egress")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_ground::guard::Guard;

    fn destination(base: &str, allows_private: bool) -> Result<Destination, Refusal> {
        let base_url = BaseUrl {
            url: base,
            allows_private,
            setting: "DRAW_URL",
        };
        Egress::new(&[], DEFAULT_SILENCE).unwrap().destination(
            base_url,
            Credential::bearer("k").unwrap(),
            &Tls::default(),
        )
    }

    #[test]
    fn egress_refuses_base_url_in_non_canonical_spelling() {
        for good in [
            "https://api.openai.com/v1",
            "http://comfy.lan:8188",
            "http://[::1]:80/",
            "HTTP://Host/x",
            "https://host:443",
            "http://xn--mller-kva.de/",
            "http://my_host:80/a-b/c.d/%7Ee",
        ] {
            assert!(destination(good, true).is_ok(), "{good}");
        }
        for bad in [
            "ftp://host",
            "host:80",
            "http://",
            "http://u@host",
            "http://host@evil.com",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.1",
            "http://0177.0.0.1",
            "http://host:0443",
            "http://host:99999",
            "http://host:",
            "http:///host:8080",
            "http:host/a://host",
            " http://host",
            "http://host\\@other",
            "http://host.",
            "http://h%6fst",
            "http://ho\tst",
            "http://host?x=1",
            "http://host#x",
            "http://169.254.169.254",
            "http://0.0.0.0",
            "http:/\\host",
            "http://host/a/../b",
            "http://host/a//b",
            "http://host/a%2fb",
            "http://host/é",
            "http://ho*st",
            "http://-host",
            "http://host..lan",
            "http://müller.de",
            "http://ｈost",
            "http://[fe80::1%25eth0]",
            "http://metadata.google.internal",
            "http://METADATA",
            "http://instance-data/latest",
        ] {
            assert!(destination(bad, true).is_err(), "{bad}");
        }
        for private in ["http://127.0.0.1:1", "http://[::1]", "http://192.168.1.1"] {
            let refusal = destination(private, false).unwrap_err();
            assert_eq!(refusal.guard, Some(Guard::PrivateAddress));
            let remedy = format!("is private: allow it with DRAW_URL={private}");
            assert!(refusal.reason.contains(&remedy), "{refusal}");
        }
    }

    fn assert_joined(path: &str, expected: Option<&str>) {
        let destination = destination("http://host:1/v1/", true).unwrap();
        let joined = destination.join(path).ok().map(|url| url.to_string());
        assert_eq!(joined.as_deref(), expected, "{path}");
    }

    #[test]
    fn destination_joins_only_paths_below_its_base() {
        assert_joined("/images/x", Some("http://host:1/v1/images/x"));
        assert_joined(
            "/h%c3%bcgel%e2%80%a6%ef%bc%8e",
            Some("http://host:1/v1/h%c3%bcgel%e2%80%a6%ef%bc%8e"),
        );
        assert_joined(
            "/m/a:generate?k=a%20b&x=/",
            Some("http://host:1/v1/m/a:generate?k=a%20b&x=/"),
        );
        for bad in [
            "images",
            "",
            "//evil.com/",
            "/a//b",
            "/../x",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/./b",
            "/a%2fb",
            "/a\\b",
            "/a b",
            "/a\r\nb",
            "/a#b",
            "/a?b#c",
            "/a?b\r\n",
            "/é",
            "/a%00",
            "/a%0d%0ab",
            "/a%252e%252e/b",
            "/a/%2e%2e;x/b",
            "/a/..;/b",
            "/a/..%3fb",
            "/a/%c0%ae%c0%ae/b",
            "/a/..%c0%afb",
            "/a/%ff",
            "/a/%ef%bc%8e%ef%bc%8e/b",
            "/a/%ef%bc%852e%ef%bc%852e/b",
            "/a/%e2%80%a5/b",
            "/a/b%ef%bc%8fc",
            "/a/b%e2%88%95c",
            "/a%",
            "/a%2",
            "/a%zz",
        ] {
            assert_joined(bad, None);
        }
    }
}
