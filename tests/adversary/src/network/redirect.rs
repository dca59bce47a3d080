//! Upstreams that redirect the host.

use anyhow::{Result, ensure};
use pinhole_tests::{FakeUpstream, RawStep};
use serde_json::json;

use super::{
    NOT_ALLOWED, RESULT_PATH, name_image, require_refused, result_response, set_image_hosts,
};
use crate::target::AttackTarget;
use crate::tls_upstream::{TestAuthority, TlsUpstream, generate_with_binding, set_binding};

fn redirect(status: &str, location: &str) -> Vec<RawStep> {
    vec![RawStep::response(
        status,
        &format!("location: {location}\r\n"),
        "",
    )]
}

pub(super) async fn of_request(target: &AttackTarget) -> Result<()> {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        for origin in [target.trap.url(), target.upstream.url()] {
            let count_before = target.upstream.requests().len();
            let location = format!("{origin}/allowed/elsewhere");
            target.upstream.set_raw(redirect(status, &location));
            let response = target.generate("reach api /allowed/x").await?;
            ensure!(!response.status.is_success(), "{}", response.text());
            let requests = target.upstream.requests();
            ensure!(
                requests.len() == count_before + 1,
                "the host followed {status}: {requests:?}"
            );
        }
    }
    Ok(())
}

pub(super) async fn of_image(target: &AttackTarget) -> Result<()> {
    let (granted, trap) = (
        target.upstream.address().port(),
        target.trap.address().port(),
    );
    for location in [
        format!("http://127.0.0.1:{trap}/allowed/picture.png"),
        format!("//127.0.0.1:{trap}/allowed/picture.png"),
        format!("http://localhost:{trap}/allowed/picture.png"),
        format!("http://[::ffff:127.0.0.1]:{trap}/allowed/picture.png"),
        // The granted host, in spellings that the first URL must not have.
        format!("http://user@127.0.0.1:{granted}/allowed/end"),
        format!("http://2130706433:{granted}/allowed/end"),
        format!("http://127.0.0.1:0{granted}/allowed/end"),
        format!("/\\127.0.0.1:{trap}/allowed/picture.png"),
        // Characters that are percent-encoded in a path, but not in a host.
        format!("/\\127.0.0.1:{trap}/allowed/a red fox.png"),
        format!("http://127.0.0.1:{trap} @127.0.0.1:{granted}/allowed/é.png"),
        format!("http://127.0.0.1:{granted}\u{ff0f}@127.0.0.1:{trap}/allowed/end"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "data:image/png;base64,iVBORw0KGgo=".to_owned(),
    ] {
        require_redirect_refused(target, &location).await?;
    }
    Ok(())
}

/// URLs at other servers have another HTTP client than the upstream's own origin.
pub(super) async fn of_image_elsewhere(target: &AttackTarget) -> Result<()> {
    let pictures = FakeUpstream::json(200, json!({})).await;
    let location = format!("{}/end.png", target.trap.url());
    pictures.set_raw(redirect("302 Found", &location));
    set_image_hosts(target, &format!("*,{}", pictures.url())).await?;
    name_image(target, &format!("{}/begin.png", pictures.url()));
    let response = target.generate("result").await?;
    ensure!(
        response.error_message() == NOT_ALLOWED,
        "the host followed the redirect: {}",
        response.text()
    );
    let requests = pictures.requests();
    ensure!(requests.len() == 1, "the server received {requests:?}");
    Ok(())
}

/// Fails unless the host refuses the redirect of an image URL, and does not send the second request.
pub(super) async fn require_redirect_refused(target: &AttackTarget, location: &str) -> Result<()> {
    target.upstream.reset();
    let first_url = format!("{}/allowed/begin", target.upstream.url());
    let destination = location.to_owned();
    target.upstream.set_raw_handler(move |request| {
        if request.target == RESULT_PATH {
            return vec![result_response(&first_url)];
        }
        if request.target == "/allowed/begin" {
            return redirect("302 Found", &destination);
        }
        let headers = "content-type: image/png\r\n";
        vec![RawStep::response("200 OK", headers, "reached")]
    });
    let response = target.generate("result").await?;
    ensure!(
        response.error_message() == NOT_ALLOWED,
        "the host followed to {location}: {}",
        response.text()
    );
    let requests = target.upstream.requests();
    ensure!(requests.len() == 2, "{location} caused {requests:?}");
    Ok(())
}

pub(super) async fn endless(target: &AttackTarget) -> Result<()> {
    let first_url = format!("{}/allowed/again", target.upstream.url());
    target.upstream.set_raw_handler(move |request| {
        if request.target == RESULT_PATH {
            return vec![result_response(&first_url)];
        }
        redirect("302 Found", "/allowed/again")
    });
    let response = target.generate("result").await?;
    let count = target.upstream.requests().len();
    ensure!(count == 5, "the host sent {count} requests");
    ensure!(
        response.error_message() == NOT_ALLOWED,
        "{}",
        response.text()
    );
    require_refused(target, &format!("{}/again", target.trap.url())).await
}

pub(super) async fn to_http(target: &AttackTarget) -> Result<()> {
    // A public IP address: a private one would be refused for another reason.
    let redirection = "HTTP/1.1 302 Found\r\nlocation: http://[2620:4f:8000::1]/picture.png\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let authority = TestAuthority::new()?;
    let upstream = TlsUpstream::start(&authority, redirection).await?;
    set_binding(target, &upstream, &authority).await?;
    let response = generate_with_binding(target, "result").await?;
    ensure!(
        response.error_message() == NOT_ALLOWED,
        "the host followed: {}",
        response.text()
    );
    Ok(())
}
