//! Requests for generated images, at URLs that an upstream returned.

use ::url::Url;
use http::header::{HeaderValue, LOCATION};
use pinhole_ground::guard::{Guard, Refusal};
use tokio::time::Instant;

use crate::client::exchange;
use crate::destination::Destination;
use crate::error::Error;
use crate::response::Response;
use crate::url::parse_location;

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
        exchange(Box::pin(guarded.get(url.clone())), limits)
            .await
            .map_err(|error| error.with_origin(&url.origin().ascii_serialization()))
    }
}

/// The target of a redirect.
pub fn redirect_target(from: &Url, response: &Response) -> Result<Url, Error> {
    let location = response.headers.get(LOCATION).map(HeaderValue::as_bytes);
    parse_target(from, location).map_err(Error::denied_address)
}

fn parse_target(from: &Url, location: Option<&[u8]>) -> Result<Url, Refusal> {
    let host = from.host_str().unwrap_or_default();
    let Some(location) = location else {
        return Err(format!("{host} redirects without a location").into());
    };
    let Ok(location) = std::str::from_utf8(location) else {
        return Err(format!("{host} redirects to a location that is not UTF-8").into());
    };
    let target = parse_location(from, location)?;
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
        let target = parse_target(&parse_url(from).unwrap(), location.map(str::as_bytes));
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

    #[test]
    fn redirect_target_is_utf8() {
        let from = parse_url("http://host:8/a").unwrap();
        let target = |location: &[u8]| parse_target(&from, Some(location));
        let encoded = target("/füchse/a \"red\" fox.png".as_bytes()).unwrap();
        assert_eq!(
            encoded.as_str(),
            "http://host:8/f%C3%BCchse/a%20%22red%22%20fox.png"
        );
        let refusal = target(b"/f\xfcchse.png").unwrap_err();
        assert!(refusal.reason.contains("not UTF-8"), "{refusal}");
    }
}
