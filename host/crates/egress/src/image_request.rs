//! Requests for generated images, at URLs that an upstream returned.

use ::url::Url;
use http::header::LOCATION;
use pinhole_ground::guard::{Guard, Refusal};
use tokio::time::Instant;

use crate::client::exchange;
use crate::destination::Destination;
use crate::error::Error;
use crate::response::Response;
use crate::url::parse_redirect;

/// Which connections an image URL uses. The caller has checked that the URL may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRoute {
    /// The URL is at the destination's own origin, whose TLS options and address policy apply.
    Own,
    /// The URL is below a base URL that an operator lists. Its IP address may be private.
    Listed,
    /// Only public IP addresses.
    Public,
}

impl Destination {
    /// Requests an image, without credentials, and waits for the head of the response, whatever its status.
    /// Redirects are returned and not followed.
    pub async fn get_image(
        &self,
        url: &Url,
        route: ImageRoute,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let limits = self.limits(max_bytes, deadline);
        let guarded = match route {
            ImageRoute::Own => return self.get_own(url, limits).await,
            ImageRoute::Listed => &self.listed_images,
            ImageRoute::Public => &self.public_images,
        };
        guarded
            .policy
            .check_host(url)
            .map_err(Error::denied_address)?;
        exchange(guarded.get(url.clone()), limits)
            .await
            .map_err(|error| error.with_origin(&url.origin().ascii_serialization()))
    }
}

/// The target of a redirect.
pub fn redirect_target(from: &Url, response: &Response) -> Result<Url, Error> {
    let location = response.headers.get(LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    parse_target(from, location).map_err(Error::denied_address)
}

fn parse_target(from: &Url, location: Option<&str>) -> Result<Url, Refusal> {
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
    use crate::url::parse_url;

    fn assert_redirect(from: &str, location: Option<&str>, is_followed: bool) {
        let target = parse_target(&parse_url(from).unwrap(), location);
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
