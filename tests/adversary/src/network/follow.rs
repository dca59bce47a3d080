//! URLs in responses that would send a request, with the key, where no right allows.

use anyhow::{Result, ensure};
use http::StatusCode;
use pinhole_tests::FakeResponse;

use super::{RESULT_PATH, result_json};
use crate::target::{AttackTarget, SECRET};

/// What a client learns of a URL to which no request may be sent.
const NOT_ALLOWED: &str = "the URL is not allowed";

/// Makes the upstream name this URL. It responds to every other request with an empty object.
fn name_url(target: &AttackTarget, url: &str) {
    let url = url.to_owned();
    target.upstream.set_handler(move |request| {
        let body = if request.target == RESULT_PATH {
            result_json(&url)
        } else {
            "{}".to_owned()
        };
        async move { FakeResponse::typed(200, "application/json", body) }
    });
}

/// Fails unless the host refuses to send a request to this URL, and sends none.
async fn require_refused(
    target: &AttackTarget,
    method: &str,
    url: &str,
    expected: &str,
) -> Result<()> {
    target.upstream.reset();
    name_url(target, url);
    let response = target.generate(&format!("follow {method}")).await?;
    ensure!(
        response.status == StatusCode::BAD_GATEWAY && response.error_message() == expected,
        "the host tried {url}: {} {}",
        response.status,
        response.text()
    );
    let requests = target.upstream.requests();
    ensure!(requests.len() == 1, "{url} caused {requests:?}");
    Ok(())
}

/// The names exist nowhere, so a lookup would give another error.
pub(super) async fn host_without_right(target: &AttackTarget) -> Result<()> {
    let address = target.upstream.address();
    for url in [
        "https://evil.invalid/allowed/x".to_owned(),
        "https://localhost.evil.invalid/allowed/x".to_owned(),
        "https://evil.localhost/allowed/x".to_owned(),
        "http://localhost/allowed/x".to_owned(),
        format!("https://localhost:{}/allowed/x", address.port()),
        format!("https://{address}/allowed/x"),
        format!("{}/allowed/x", target.trap.url()),
        "https://127.0.0.1/allowed/x".to_owned(),
        "https://[::1]/allowed/x".to_owned(),
        "https://8.8.8.8/allowed/x".to_owned(),
    ] {
        require_refused(target, "GET", &url, NOT_ALLOWED).await?;
    }
    Ok(())
}

pub(super) async fn other_spellings(target: &AttackTarget) -> Result<()> {
    let address = target.upstream.address();
    for url in [
        format!("http://{address}@evil.invalid/allowed/x"),
        format!("http://evil@{address}/allowed/x"),
        format!("http://{address}./allowed/x"),
        "https://localhost./allowed/x".to_owned(),
        "https://localhos%74/allowed/x".to_owned(),
        "https://ｌocalhost/allowed/x".to_owned(),
        "https://localhost:0443/allowed/x".to_owned(),
        "https:\\\\localhost/allowed/x".to_owned(),
        "//localhost/allowed/x".to_owned(),
        "https://localhost/allowed/x#y".to_owned(),
        "allowed/x".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        require_refused(target, "GET", &url, NOT_ALLOWED).await?;
    }
    Ok(())
}

pub(super) async fn private_address(target: &AttackTarget) -> Result<()> {
    require_refused(target, "GET", "https://localhost/allowed/x", "not granted").await
}

pub(super) async fn outside_grant(target: &AttackTarget) -> Result<()> {
    let origin = target.upstream.url();
    for (method, path) in [
        ("GET", "/admin/reboot"),
        ("GET", "/allowed"),
        ("GET", "/allowed-too"),
        ("GET", "/"),
        ("DELETE", "/allowed/x"),
        ("POST", "/allowed/x"),
    ] {
        require_refused(target, method, &format!("{origin}{path}"), "not granted").await?;
    }
    // The grant is for paths below the base URL, and from the root of another host.
    require_refused(target, "GET", "https://localhost/admin", "not granted").await?;
    for path in [
        "/allowed/../admin",
        "/allowed/%2e%2e/admin",
        "/allowed//x",
        "/allowed/./x",
    ] {
        require_refused(target, "GET", &format!("{origin}{path}"), NOT_ALLOWED).await?;
    }
    name_url(target, &format!("{origin}/allowed/x"));
    let response = target.generate("follow GET").await?;
    ensure!(
        response.error_message().contains("status 200"),
        "a granted URL is refused, so the case proves nothing: {}",
        response.text()
    );
    Ok(())
}

pub(super) async fn key_in_url(target: &AttackTarget) -> Result<()> {
    let encoded = SECRET.replace('/', "%2F").replace('+', "%2B");
    for url in [
        format!("https://localhost/allowed/x?key={encoded}"),
        format!("{}/allowed/{encoded}", target.upstream.url()),
    ] {
        require_refused(target, "GET", &url, NOT_ALLOWED).await?;
    }
    Ok(())
}
