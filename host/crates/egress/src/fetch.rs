//! Downloads of generated images from URLs that an upstream returned.

use ::url::Url;
use bytes::Bytes;
use http::header::LOCATION;
use pinhole_ground::guard::{Guard, Refusal};
use tokio::time::Instant;

use crate::address_policy::{AddressPolicy, remedy};
use crate::client::exchange;
use crate::destination::Destination;
use crate::egress::Egress;
use crate::error::Error;
use crate::url::{parse_redirect, parse_url};

/// Redirects that an image URL may follow.
const MAX_HOPS: usize = 3;

impl Egress {
    /// Downloads an image without credentials.
    ///
    /// Follows at most three redirects and checks each like the first URL. A URL at the origin of one of
    /// the `granted` destinations may have a private IP address, like that destination.
    pub async fn fetch(
        &self,
        url: &str,
        granted: &[&Destination],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let mut next = parse_url(url).map_err(Error::denied_address)?;
        let mut hops = 0;
        loop {
            let destination = granted.iter().find(|granted| granted.is_at(&next));
            let (client, policy) = match destination {
                Some(destination) => (&destination.image_client, destination.policy.clone()),
                None => (&self.public_client, self.public_policy(&next, granted)),
            };
            policy.check_host(&next).map_err(Error::denied_address)?;
            let request = client.get(next.clone());
            let mut response = exchange(request, max_bytes, deadline, self.silence).await?;
            if response.status.is_success() {
                return response.bytes().await;
            }
            if !response.status.is_redirection() {
                let host = next.host_str().unwrap_or_default();
                let status = response.status;
                return Err(Error::Connect(format!("{host} returned status {status}")));
            }
            let location = response.headers.get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            next = redirect_target(&next, location).map_err(Error::denied_address)?;
            hops += 1;
            Guard::Hops
                .refuse_if(hops > MAX_HOPS, || {
                    format!("an image URL redirects more than {MAX_HOPS} times")
                })
                .map_err(Error::denied_address)?;
        }
    }

    /// The policy for a URL that no destination covers.
    fn public_policy(&self, url: &Url, granted: &[&Destination]) -> AddressPolicy {
        let setting = granted
            .first()
            .map(|destination| destination.setting.as_str());
        AddressPolicy {
            allows_private: false,
            remedy: remedy(setting, &url.origin().ascii_serialization()).into(),
            nat64: self.nat64.clone(),
        }
    }
}

impl Destination {
    /// Does the URL have the scheme, host and port of the base URL?
    fn is_at(&self, url: &Url) -> bool {
        if Guard::GrantedPort.applies(self.base.origin() != url.origin()) {
            return false;
        }
        self.base.host() == url.host()
    }
}

fn redirect_target(from: &Url, location: Option<&str>) -> Result<Url, Refusal> {
    let host = from.host_str().unwrap_or_default();
    let Some(location) = location else {
        return Err(format!("{host} redirects without a location").into());
    };
    let target = parse_redirect(from, location)?;
    let is_downgrade = from.scheme() == "https" && target.scheme() != "https";
    Guard::Downgrade.refuse_if(is_downgrade, || {
        format!("{host} redirects from https to http, which is not encrypted")
    })?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_redirect(from: &str, location: Option<&str>, is_followed: bool) {
        let target = redirect_target(&parse_url(from).unwrap(), location);
        assert_eq!(
            target.is_ok(),
            is_followed,
            "{from} {location:?} {target:?}"
        );
    }

    #[test]
    fn redirect_target_refuses_https_to_http() {
        assert_redirect("https://a/x", Some("https://b/y"), true);
        assert_redirect("https://a/x", Some("y"), true);
        assert_redirect("https://a/x", Some("http://a/x"), false);
        assert_redirect("https://a/x", Some("http://b/y"), false);
        assert_redirect("http://a/x", Some("https://a/x"), true);
        assert_redirect("http://a/x", Some("http://b/x"), true);
        assert_redirect("http://a/x", None, false);
    }
}
