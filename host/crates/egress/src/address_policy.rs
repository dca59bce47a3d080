//! The IP addresses that a connection may go to.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use ::url::{Host, Url};
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name as HostName;
use pinhole_ground::guard::{Guard, Refusal};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_service::Service;

use crate::ip::{Class, Nat64, classify, is_metadata_host, is_metadata_ip};

/// The IP addresses that the connections of one client may go to. As the client's DNS resolver it
/// returns only addresses that it has checked.
#[derive(Clone)]
pub(crate) struct AddressPolicy {
    /// Loopback and private IP addresses are allowed: an administrator's setting names this client's
    /// host and port.
    pub(crate) allows_private: bool,
    pub(crate) nat64: Arc<[Nat64]>,
}

impl AddressPolicy {
    /// Checks the host of a URL: a metadata service's name, or an IP address, which never reaches the
    /// resolver.
    pub(crate) fn check_host(&self, url: &Url) -> Result<(), Refusal> {
        match url.host() {
            Some(Host::Domain(name)) => Guard::MetadataName
                .refuse_if(is_metadata_host(name), || {
                    format!("{name} is a metadata service, which no engine may reach")
                }),
            Some(Host::Ipv4(ip)) => self.check_ip(&ip.to_string(), ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(&ip.to_string(), ip.into()),
            None => Ok(()),
        }
    }

    /// `host` is the name that resolved to the IP address, or the address itself.
    fn check_ip(&self, host: &str, ip: IpAddr) -> Result<(), Refusal> {
        let subject = || match host.parse::<IpAddr>() {
            Ok(_) => format!("the IP address {ip}"),
            Err(_) => format!("{host} has the IP address {ip}, which"),
        };
        let class = classify(ip, &self.nat64);
        let is_private = class == Class::Private && !self.allows_private;
        Guard::PrivateAddress.refuse_if(is_private, || format!("{} is private", subject()))?;
        if Guard::ReservedAddress.applies(class == Class::Never) {
            let guard = if is_metadata_ip(ip) {
                Guard::MetadataAddress
            } else {
                Guard::ReservedAddress
            };
            return Err(guard.refuse(format!("{} is one that no engine may reach", subject())));
        }
        Ok(())
    }

    /// Resolves a host name once and checks every IP address of it. The caller connects to these
    /// addresses and does not resolve the name again.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>> {
        #[expect(clippy::disallowed_methods, reason = "this is the egress")]
        let addresses = tokio::net::lookup_host((host, port)).await?.collect();
        self.check_resolved(host, addresses)
    }

    /// One forbidden address refuses the host: a name with public and private addresses is an attack.
    fn check_resolved(
        &self,
        host: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>> {
        for address in &addresses {
            self.check_ip(host, address.ip())?;
        }
        if addresses.is_empty() {
            return Err(format!("{host} has no IP address").into());
        }
        Ok(addresses)
    }
}

impl Service<HostName> for AddressPolicy {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: HostName) -> Self::Future {
        let policy = self.clone();
        Box::pin(async move {
            // Port 0 stands for the URL's port.
            Ok(Self::resolve(&policy, name.as_str(), 0).await?.into_iter())
        })
    }
}

impl Resolve for AddressPolicy {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.clone();
        Box::pin(async move {
            // Port 0 stands for the URL's port.
            let addresses = Self::resolve(&policy, name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_resolved(allows_private: bool, ips: &[&str]) -> Result<usize, String> {
        let policy = AddressPolicy {
            allows_private,
            nat64: Arc::default(),
        };
        let addresses = ips
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80))
            .collect();
        policy
            .check_resolved("host", addresses)
            .map(|addresses| addresses.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn address_policy_refuses_host_with_one_forbidden_address() {
        assert_eq!(
            check_resolved(false, &["8.8.8.8", "2606:4700::1111"]),
            Ok(2)
        );
        let private = "host has the IP address 10.0.0.1, which is private";
        for ips in [["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"]] {
            assert_eq!(check_resolved(false, &ips), Err(private.to_owned()));
        }
        assert_eq!(check_resolved(true, &["8.8.8.8", "10.0.0.1"]), Ok(2));
        let metadata = check_resolved(true, &["10.0.0.1", "169.254.169.254"]).unwrap_err();
        let expected = "169.254.169.254, which is one that no engine may reach";
        assert!(metadata.contains(expected), "{metadata}");
        let none = Err("host has no IP address".to_owned());
        assert_eq!(check_resolved(true, &[]), none);
    }

    #[test]
    fn address_policy_names_the_guard() {
        let policy = AddressPolicy {
            allows_private: false,
            nat64: Arc::default(),
        };
        for (url, guard) in [
            ("http://127.0.0.1", Guard::PrivateAddress),
            ("http://224.0.0.1", Guard::ReservedAddress),
            ("http://169.254.169.254", Guard::MetadataAddress),
            ("http://metadata.google.internal", Guard::MetadataName),
        ] {
            let refusal = policy.check_host(&Url::parse(url).unwrap()).unwrap_err();
            assert_eq!(refusal.guard, Some(guard), "{url}");
        }
    }
}
