//! Names to addresses that a connection may go to.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{Class, classify};

/// An address that a connection may not go to. The text is for the operator, never for a guest.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{host} has the address {address}, which {reason}")]
pub(crate) struct Refused {
    host: String,
    address: IpAddr,
    reason: &'static str,
}

/// Checks one address. `private` is true where an administrator named this very host and port.
pub(crate) fn check(host: &str, address: IpAddr, private: bool) -> Result<(), Refused> {
    let reason = match (classify(address), private) {
        (Class::Public, _) | (Class::Private, true) => return Ok(()),
        (Class::Private, false) => {
            "is private: only a setting that names this host and port permits it"
        }
        (Class::Never, _) => "no engine may reach",
    };
    Err(Refused {
        host: host.to_owned(),
        address,
        reason,
    })
}

/// Looks a name up once and checks every answer; one bad answer refuses them all.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    private: bool,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let answers: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    for answer in &answers {
        check(host, answer.ip(), private)?;
    }
    match answers.is_empty() {
        true => Err(format!("{host} has no address").into()),
        false => Ok(answers),
    }
}

/// The resolver of one destination's HTTP client: connections go to what it has checked.
pub(crate) struct Checked {
    pub(crate) private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            // Port 0 means the one of the URL.
            let answers = resolve(name.as_str(), 0, private).await?;
            Ok(Box::new(answers.into_iter()) as Addrs)
        })
    }
}
