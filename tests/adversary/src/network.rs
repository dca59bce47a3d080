//! N: the destination of a connection.

mod follow;
mod host_spelling;
mod image_url;
mod ip_address;
mod path_spelling;
mod redirect;
mod reuse;
mod wasi;
mod web_socket;

use anyhow::{Result, ensure};
use http::StatusCode;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_tests::{PIXEL, RawStep};
use serde_json::json;

use crate::case::AttackCase;
use crate::target::{AttackTarget, IMAGE_HOSTS};

/// What a client learns of an image URL that must not be fetched.
const NOT_ALLOWED: &str = "the image URL is not allowed";

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "N1-lookalike-hosts",
        "a host with dots, capitals, escapes or full-width digits is not used as the granted one",
        |target| Box::pin(host_spelling::lookalikes(target)),
    )
    .guarded_by(&[Guard::Authority])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N2-user-name",
        "the text before an @ is not used as the host, and is not sent",
        |target| Box::pin(host_spelling::user_names(target)),
    )
    .guarded_by(&[Guard::Authority])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N3-invalid-ports",
        "a port with a leading zero, without digits or above 65535 is not corrected",
        |target| Box::pin(host_spelling::invalid_ports(target)),
    )
    .guarded_by(&[Guard::Authority])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N4-loopback",
        "an engine cannot make the host connect to its own machine",
        |target| Box::pin(ip_address::loopback(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N4-private-networks",
        "an engine cannot make the host connect to the operator's network",
        |target| Box::pin(require_hosts_refused(target, ip_address::PRIVATE)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N4-reserved",
        "an engine cannot make the host connect to an unspecified, multicast or other reserved IP address",
        |target| Box::pin(ip_address::reserved(target)),
    )
    .guarded_by(&[Guard::ReservedAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N5-ipv4-number-forms",
        "an IPv4 address in decimal, octal, hexadecimal or short form is not used as the granted one",
        |target| Box::pin(host_spelling::ipv4_number_forms(target)),
    )
    .guarded_by(&[Guard::Authority])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N6-loopback-in-ipv6",
        "an IPv6 spelling of this machine does not make the host connect to it",
        |target| Box::pin(ip_address::loopback_in_ipv6(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N7-ipv4-inside-ipv6",
        "an IPv6 address that a translator or tunnel maps to a private one is not treated as public",
        |target| Box::pin(require_hosts_refused(target, ip_address::EMBEDDED)),
    )
    .guarded_by(&[Guard::EmbeddedAddress])
    .audited_by(
        RefusalKind::Address,
        &[Guard::PrivateAddress, Guard::ReservedAddress],
    ),
    AttackCase::new(
        "N8-metadata-by-address",
        "no setting and no engine can use the IP address of a cloud metadata service",
        |target| Box::pin(ip_address::metadata(target, ip_address::METADATA)),
    )
    .guarded_by(&[Guard::MetadataAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N8-metadata-by-name",
        "no setting and no engine can use the name of a cloud metadata service",
        |target| Box::pin(ip_address::metadata(target, ip_address::METADATA_NAMES)),
    )
    .guarded_by(&[Guard::MetadataName])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N9-name-of-private-address",
        "a name does not make the host connect to an IP address that it refuses as a number",
        |target| Box::pin(ip_address::name_of_private_address(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N10-pooled-connection",
        "a connection that was opened with one key does not serve a request with another",
        |target| Box::pin(reuse::pooled_connection(target)),
    ),
    AttackCase::new(
        "N11-redirect-of-request",
        "an upstream cannot send an engine's request and key elsewhere",
        |target| Box::pin(redirect::of_request(target)),
    ),
    AttackCase::new(
        "N11-redirect-of-image",
        "the redirect of an image URL does not lead to another port, scheme or spelling of the host",
        |target| Box::pin(redirect::of_image(target)),
    )
    .guarded_by(&[Guard::PrivateAddress, Guard::GrantedPort, Guard::Authority])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N11-redirect-of-image-elsewhere",
        "an image at another server than the upstream does not make the HTTP client follow a redirect",
        |target| Box::pin(redirect::of_image_elsewhere(target)),
    )
    .guarded_by(&[Guard::Redirects])
    .audited_by(RefusalKind::Address, &[Guard::PrivateAddress]),
    AttackCase::new(
        "N11-endless-redirects",
        "an image URL redirects the host at most three times",
        |target| Box::pin(redirect::endless(target)),
    )
    .guarded_by(&[Guard::Hops])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N11-redirect-to-http",
        "the redirect of an image URL does not lead from https to http",
        |target| Box::pin(redirect::to_http(target)),
    )
    .guarded_by(&[Guard::Downgrade])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N12-proxy-of-environment",
        "a proxy that the environment names receives no request",
        |target| Box::pin(reuse::proxy(target)),
    )
    .guarded_by(&[Guard::Proxy])
    .on_own_server(),
    AttackCase::new(
        "N13-wasi-sockets",
        "an engine cannot open a connection, listen on a port or resolve a name",
        |target| Box::pin(wasi::sockets(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "N14-result-at-private-address",
        "the URL of a result does not make the host connect to a private IP address without a grant",
        |target| Box::pin(ip_address::result_at_private_address(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N14-result-without-host",
        "the URL of a result does not make the host read a file or decode an image from the URL itself",
        |target| Box::pin(host_spelling::result_without_host(target)),
    )
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N15-endless-frame",
        "a WebSocket frame has a limited length",
        |target| Box::pin(web_socket::endless_frame(target)),
    )
    .guarded_by(&[Guard::FrameBytes])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "N15-endless-message",
        "a WebSocket message of many frames has a limited length",
        |target| Box::pin(web_socket::endless_message(target)),
    )
    .guarded_by(&[Guard::MessageBytes])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "N15-endless-pings",
        "an upstream cannot occupy the host with pings",
        |target| Box::pin(web_socket::endless_pings(target)),
    )
    .guarded_by(&[Guard::SocketMessages])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "N15-outside-grant",
        "a WebSocket opens only where a request is granted",
        |target| Box::pin(web_socket::outside_grant(target)),
    )
    .guarded_by(&[Guard::GrantedRequests])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N16-other-port-of-granted-host",
        "the grant of one port of a private host does not open its other ports",
        // The upstream of the engine is on the same host.
        |target| Box::pin(ip_address::other_port(target)),
    )
    .guarded_by(&[Guard::GrantedPort])
    .audited_by(RefusalKind::Address, &[Guard::PrivateAddress]),
    AttackCase::new(
        "N17-host-without-right",
        "without a right to a host, its name is not looked up and no request is sent",
        |target| Box::pin(image_url::host_without_right(target)),
    )
    .guarded_by(&[Guard::ImageHosts])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N17-host-outside-list",
        "the operator's list replaces what an engine declares, and covers no host that resembles an entry",
        |target| Box::pin(image_url::host_outside_list(target)),
    )
    .guarded_by(&[Guard::ImageHosts])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N18-prompt-in-host-name",
        "an upstream cannot pass a prompt to a name server through the host name of an image URL",
        |target| Box::pin(image_url::prompt_in_host_name(target)),
    )
    .guarded_by(&[Guard::ImageHosts])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N19-own-origin-outside-grant",
        "an image URL cannot trigger a request at the upstream's own origin that the engine could not send",
        |target| Box::pin(image_url::own_origin_outside_grant(target)),
    )
    .guarded_by(&[Guard::ImagePaths])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N19-path-outside-listed-url",
        "a URL in the operator's list covers its own path and the paths below, in any spelling",
        |target| Box::pin(image_url::path_outside_listed_url(target)),
    )
    .guarded_by(&[Guard::ImagePaths])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N20-redirect-to-host-without-right",
        "a granted image URL does not redirect the host to a name without a right",
        |target| Box::pin(image_url::redirect_to_host_without_right(target)),
    )
    .guarded_by(&[Guard::ImageHosts])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N20-redirect-outside-grant",
        "a granted image URL does not redirect the host to a path without a right",
        |target| Box::pin(image_url::redirect_outside_grant(target)),
    )
    .guarded_by(&[Guard::ImagePaths])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N21-private-address-without-origin",
        "a listed host name does not open a private IP address: only a listed URL does",
        |target| Box::pin(image_url::private_address_without_origin(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N22-remedy",
        "the remedy for a refused image URL names the list of image hosts, and never the base URL",
        |target| Box::pin(image_url::remedy(target)),
    )
    .audited_as(RefusalKind::Address)
    .on_own_server(),
    AttackCase::new(
        "N23-many-large-images",
        "images that are fetched from URLs count against the memory of the call",
        |target| Box::pin(image_url::many_large_images(target)),
    )
    .guarded_by(&[Guard::HeldBytes])
    .audited_as(RefusalKind::Limit)
    .on_own_server(),
    AttackCase::new(
        "N24-key-in-image-url",
        "an upstream cannot make the host send the key in an image URL",
        |target| Box::pin(image_url::key_in_image_url(target)),
    )
    .guarded_by(&[Guard::SecretUrl])
    .audited_as(RefusalKind::Secret),
    AttackCase::new(
        "N26-host-without-right",
        "a URL in a response does not send a request with the key to a host without a right",
        |target| Box::pin(follow::host_without_right(target)),
    )
    .guarded_by(&[Guard::FollowHosts])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N26-other-spellings",
        "a URL in a response whose host or path has another spelling is not followed",
        |target| Box::pin(follow::other_spellings(target)),
    )
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N26-private-address",
        "a granted host of a URL in a response is not reached at a private IP address",
        |target| Box::pin(follow::private_address(target)),
    )
    .guarded_by(&[Guard::PrivateAddress])
    .audited_as(RefusalKind::Address),
    AttackCase::new(
        "N26-key-in-url",
        "a URL in a response that contains the key is not followed",
        |target| Box::pin(follow::key_in_url(target)),
    )
    .guarded_by(&[Guard::SecretUrl])
    .audited_as(RefusalKind::Secret),
    AttackCase::new(
        "N27-outside-grant",
        "a URL in a response triggers no request that the engine could not send itself",
        |target| Box::pin(follow::outside_grant(target)),
    )
    .guarded_by(&[Guard::GrantedRequests])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "N30-overlong",
        "a path does not leave the granted one through overlong or invalid UTF-8",
        |target| Box::pin(path_spelling::overlong(target)),
    )
    .guarded_by(&[Guard::Path])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "N30-similar-characters",
        "a path does not leave the granted one through characters that a server may read as dots and slashes",
        |target| Box::pin(path_spelling::similar_characters(target)),
    )
    .guarded_by(&[Guard::Path])
    .audited_as(RefusalKind::Request),
];

/// The path of the response with image URLs.
pub(crate) const RESULT_PATH: &str = "/allowed/result";

/// The JSON of a response that names the URL of an image.
pub(crate) fn result_json(url: &str) -> String {
    json!({"urls": [url]}).to_string()
}

fn result_response(url: &str) -> RawStep {
    let headers = "content-type: application/json\r\n";
    RawStep::response("200 OK", headers, result_json(url))
}

/// Makes the upstream name this image URL. It responds to every other request with an image.
pub(crate) fn name_image(target: &AttackTarget, url: &str) {
    let url = url.to_owned();
    target.upstream.set_raw_handler(move |request| {
        if request.target == RESULT_PATH {
            return vec![result_response(&url)];
        }
        let headers = "content-type: image/png\r\n";
        vec![RawStep::response("200 OK", headers, PIXEL)]
    });
}

/// Changes the operator's list of image hosts for the rest of the case.
async fn set_image_hosts(target: &AttackTarget, hosts: &str) -> Result<()> {
    let response = target.set(IMAGE_HOSTS, hosts).await?;
    response.require_success("setting the image hosts")
}

/// Fails unless the host refuses to fetch an image from this URL, and sends no request for it.
async fn require_refused(target: &AttackTarget, url: &str) -> Result<()> {
    target.upstream.reset();
    name_image(target, url);
    let response = target.generate("result").await?;
    ensure!(
        response.status == StatusCode::BAD_GATEWAY && response.error_message() == NOT_ALLOWED,
        "the host tried {url}: {} {}",
        response.status,
        response.text()
    );
    let requests = target.upstream.requests();
    ensure!(requests.len() == 1, "{url} caused {requests:?}");
    Ok(())
}

/// Fails unless the host refuses to fetch an image from each of these hosts.
async fn require_hosts_refused(target: &AttackTarget, hosts: &[&str]) -> Result<()> {
    for host in hosts {
        require_refused(target, &format!("http://{host}/allowed/picture.png")).await?;
    }
    Ok(())
}
