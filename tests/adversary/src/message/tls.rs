//! Upstreams with untrusted certificates, and client certificates that reach other upstreams.

use anyhow::{Context, Result, ensure};

use crate::target::AttackTarget;
use crate::tls_upstream::{
    EXPIRED_SINCE, TestAuthority, TlsUpstream, VALID_UNTIL, generate_with_binding, set_binding,
    set_binding_with_client_certificate,
};

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";

pub(super) async fn untrusted_certificates(target: &AttackTarget) -> Result<()> {
    let (authority, unknown) = (TestAuthority::new()?, TestAuthority::new()?);
    for (identity, is_trusted, label) in [
        (
            authority.sign("localhost", VALID_UNTIL)?,
            true,
            "that is valid",
        ),
        (
            unknown.sign("localhost", VALID_UNTIL)?,
            false,
            "of an unknown authority",
        ),
        (
            authority.sign("elsewhere", VALID_UNTIL)?,
            false,
            "for another name",
        ),
        (
            authority.sign("localhost", EXPIRED_SINCE)?,
            false,
            "that is expired",
        ),
    ] {
        let upstream = TlsUpstream::with_identity(&authority, &identity, EMPTY).await?;
        set_binding(target, &upstream, &authority).await?;
        let response = generate_with_binding(target, "ask").await?;
        let request_count = upstream.take_requests().len();
        ensure!(
            response.status.is_success() == is_trusted && request_count == usize::from(is_trusted),
            "a certificate {label}: {request_count} requests arrived, {}",
            response.text()
        );
    }
    // The default binding does not trust the test authority.
    let upstream = TlsUpstream::start(&authority, EMPTY).await?;
    target
        .set("HOSTILE_BASE_URL", upstream.url())
        .await?
        .require_success("setting the URL")?;
    let response = target.generate("ask").await?;
    ensure!(!response.status.is_success(), "{}", response.text());
    let requests = upstream.take_requests();
    ensure!(requests.is_empty(), "a request arrived: {requests:?}");
    Ok(())
}

pub(super) async fn client_certificate(target: &AttackTarget) -> Result<()> {
    let authority = TestAuthority::new()?;
    let upstream = TlsUpstream::start(&authority, EMPTY).await?;
    for is_configured in [true, false, true] {
        if is_configured {
            set_binding_with_client_certificate(target, &upstream, &authority).await?;
        } else {
            set_binding(target, &upstream, &authority).await?;
        }
        let response = generate_with_binding(target, "ask").await?;
        response.require_success("a request of the binding")?;
        let requests = upstream.take_requests();
        let [request] = requests.as_slice() else {
            anyhow::bail!("{} requests arrived", requests.len());
        };
        ensure!(
            request.has_client_certificate == is_configured,
            "a client certificate was presented: {}, configured: {is_configured}",
            request.has_client_certificate
        );
    }
    generate_with_binding(target, "result").await?;
    let requests = upstream.take_requests();
    let request = requests.get(1).context("the image was not requested")?;
    ensure!(
        !request.has_client_certificate,
        "the client certificate was presented for an image URL"
    );
    Ok(())
}
