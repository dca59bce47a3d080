//! Addresses of finished pictures: fetched by the host itself, without credentials.

use bytes::Bytes;
use http::header::LOCATION;
use tokio::time::Instant;
use url::Url;

use super::resolve::AddressPolicy;
use super::url::{parse_redirect, parse_url};
use super::{Destination, Egress, Error, exchange};
use pinhole_ground::guard::Guard;

/// Redirects followed for the address of a finished picture.
const MAX_HOPS: usize = 3;

impl Egress {
    /// Fetches the address of a finished picture, without credentials, over at most three
    /// redirects that are each checked again. An address at one of the `granted` destinations'
    /// own scheme, host and port is asked there.
    pub async fn fetch(
        &self,
        address: &str,
        granted: &[&Destination],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let mut next = parse_url(address).map_err(Error::address)?;
        for _ in 0..=Guard::Hops.limit(MAX_HOPS) {
            let home = granted.iter().find(|home| home.is_at(&next));
            let (client, guard) = match home {
                Some(home) => (&home.pictures, home.guard.clone()),
                None => (&self.public, self.elsewhere(&next, granted)),
            };
            guard
                .check_host(&next)
                .map_err(|refused| Error::address(refused.to_string()))?;
            let request = client.get(next.clone());
            let mut response = exchange(request, max_bytes, deadline, self.silence).await?;
            match response.status {
                status if status.is_success() => return response.bytes().await,
                status if status.is_redirection() => {
                    let location = response.headers.get(LOCATION);
                    let location = location.and_then(|to| to.to_str().ok());
                    next = follow(&next, location).map_err(Error::address)?;
                }
                status => {
                    let host = next.host_str().unwrap_or_default();
                    return Err(Error::Connect(format!(
                        "{host} answered with status {status}"
                    )));
                }
            }
        }
        Err(Error::address(format!(
            "a picture's address redirects more than {MAX_HOPS} times"
        )))
    }

    /// What holds at an address that nobody granted.
    fn elsewhere(&self, url: &Url, granted: &[&Destination]) -> AddressPolicy {
        let setting = granted.first().map(|home| home.setting.as_str());
        AddressPolicy {
            private: false,
            remedy: remedy(setting, &url.origin().ascii_serialization()).into(),
            nat64: self.nat64.clone(),
        }
    }
}

impl Destination {
    /// Does this URL lie at the very scheme, host and port that the administrator named?
    fn is_at(&self, url: &Url) -> bool {
        match Guard::GrantedPort.holds() {
            true => self.base.origin() == url.origin(),
            false => self.base.host() == url.host(),
        }
    }
}

/// Where a redirect leads.
fn follow(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let host = from.host_str().unwrap_or_default();
    let location = location.ok_or_else(|| format!("{host} redirects to nowhere"))?;
    let to = parse_redirect(from, location)?;
    if from.scheme() == "https" && to.scheme() != "https" && Guard::Downgrade.holds() {
        return Err(format!(
            "{host} redirects from https to http, where anybody may read along"
        ));
    }
    Ok(to)
}

/// The assignment that would permit a private address.
pub(super) fn remedy(setting: Option<&str>, base: &str) -> String {
    match setting {
        Some(setting) => format!("allow it with {setting}={base}"),
        None => "only a setting that names this host and port permits it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_leaves_tls() {
        let check = |from: &str, to: Option<&str>, expected: bool| {
            let followed = follow(&parse_url(from).unwrap(), to);
            assert_eq!(followed.is_ok(), expected, "{from} {to:?} {followed:?}");
        };
        check("https://a/x", Some("https://b/y"), true);
        check("https://a/x", Some("y"), true);
        check("https://a/x", Some("http://a/x"), false);
        check("https://a/x", Some("http://b/y"), false);
        check("http://a/x", Some("https://a/x"), true);
        check("http://a/x", Some("http://b/x"), true);
        check("http://a/x", None, false);
    }
}
