//! Names to addresses that a connection may go to.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::ip::{Class, Nat64, classify, is_metadata};
use pinhole_ground::guard::Guard;

/// A place that no connection may go to. The text is for the operator, never for a guest.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// Where the connections of one client may go.
#[derive(Clone)]
pub(super) struct AddressPolicy {
    /// An administrator named the very host and port that this client asks.
    pub(super) private: bool,
    /// How an operator would permit a private address.
    pub(super) remedy: Arc<str>,
    /// Prefixes of the networks' translators.
    pub(super) nat64: Arc<[Nat64]>,
}

impl AddressPolicy {
    /// Checks the host of a URL: its name, or the address that stands in place of one and so never
    /// meets the resolver.
    pub(super) fn check_host(&self, url: &Url) -> Result<(), Refused> {
        match url.host() {
            Some(Host::Domain(name)) if Guard::MetadataName.holds() && is_metadata(name) => {
                Err(Refused(format!(
                    "{name} is a metadata service, which no engine may reach"
                )))
            }
            Some(Host::Ipv4(address)) => self.check(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.check(&address.to_string(), address.into()),
            _ => Ok(()),
        }
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let refuse = |why: &str| {
            let place = match host.parse::<IpAddr>() {
                Ok(_) => format!("the address {address}"),
                Err(_) => format!("{host} has the address {address}, which"),
            };
            Err(Refused(format!("{place} {why}")))
        };
        match classify(address, &self.nat64) {
            Class::Private if !self.private && Guard::PrivateAddress.holds() => {
                refuse(&format!("is private: {}", self.remedy))
            }
            Class::Never if Guard::ReservedAddress.holds() => {
                refuse("is one that no engine may reach")
            }
            _ => Ok(()),
        }
    }

    /// Looks a name up once and checks every answer. The connection goes to what is returned.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>> {
        #[expect(clippy::disallowed_methods, reason = "this is the egress")]
        let answers = tokio::net::lookup_host((host, port)).await?.collect();
        self.admit(host, answers)
    }

    /// One bad answer refuses them all: a name that is public and private at once is a trick.
    fn admit(
        &self,
        host: &str,
        answers: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>> {
        let checked = |answer: &SocketAddr| self.check(host, answer.ip());
        if let Some(refused) = answers.iter().find_map(|answer| checked(answer).err()) {
            return Err(refused.into());
        }
        match answers.is_empty() {
            true => Err(format!("{host} has no address").into()),
            false => Ok(answers),
        }
    }
}

impl Resolve for AddressPolicy {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // Port 0 means the one of the URL.
            let answers = Self::resolve(&guard, name.as_str(), 0).await?;
            Ok(Box::new(answers.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(private: bool, answers: &[&str], expected: Result<(), &str>) {
        let guard = AddressPolicy {
            private,
            remedy: "allow it with X=y".into(),
            nat64: Arc::default(),
        };
        let parsed = answers
            .iter()
            .map(|text| SocketAddr::new(text.parse().unwrap(), 80));
        let admitted = guard.admit("host", parsed.collect());
        match (admitted, expected) {
            (Ok(admitted), Ok(())) => assert_eq!(admitted.len(), answers.len()),
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "{error}");
            }
            (admitted, _) => panic!("{answers:?} {admitted:?}"),
        }
    }

    #[test]
    fn one_bad_answer_refuses_all() {
        check(false, &["8.8.8.8", "2606:4700::1111"], Ok(()));
        let private = "host has the address 10.0.0.1, which is private: allow it with X=y";
        check(false, &["8.8.8.8", "10.0.0.1"], Err(private));
        check(false, &["10.0.0.1", "8.8.8.8"], Err(private));
        check(true, &["8.8.8.8", "10.0.0.1"], Ok(()));
        let metadata = "169.254.169.254, which is one that no engine may reach";
        check(true, &["10.0.0.1", "169.254.169.254"], Err(metadata));
        check(true, &[], Err("host has no address"));
    }
}
