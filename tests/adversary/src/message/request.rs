//! Engines that send what only the host may send.

use anyhow::{Result, ensure};

use crate::target::{AttackTarget, SECRET};

/// Fails unless the engine's request is refused and nothing is sent.
pub(crate) async fn require_refused(target: &AttackTarget, prompt: &str) -> Result<()> {
    let response = target.generate(prompt).await?;
    response.require_not_granted()?;
    require_nothing_sent(target, prompt)
}

fn require_nothing_sent(target: &AttackTarget, prompt: &str) -> Result<()> {
    let requests = target.upstream.requests();
    ensure!(
        requests.is_empty() && target.upstream.connection_count() == 0,
        "{prompt:?} was sent: {requests:?}"
    );
    Ok(())
}

pub(super) async fn line_ends(target: &AttackTarget) -> Result<()> {
    for end in ["\r\n", "\n", "\r", "\0"] {
        for prompt in [
            format!("header x-a b{end}x-injected: c"),
            format!("header x-a:{end}x-injected c"),
            format!("reach api /allowed/x{end}x-injected:c"),
            format!("reach api /allowed/x?a=b{end}x-injected:c"),
            format!("send GET{end}x-injected:c api /allowed/x"),
        ] {
            let response = target.generate(&prompt).await?;
            ensure!(
                !response.status.is_success() && !response.error_message().contains("status 2"),
                "{prompt:?} was sent: {}",
                response.text()
            );
            require_nothing_sent(target, &prompt)?;
        }
    }
    Ok(())
}

pub(super) async fn path_traversal(target: &AttackTarget) -> Result<()> {
    for path in [
        "/allowed/../secret",
        "/allowed/x/../../secret",
        "/allowed/%2e%2e/secret",
        "/allowed/.%2E/secret",
        "/allowed/%252e%252e/secret",
        "/allowed/..%2fsecret",
        "/allowed/%2e%2e%5csecret",
        "/allowed/..\\secret",
        "/allowed/..;/secret",
        "/allowed//secret",
        "/allowed/./x",
        "/allowed/x%00",
        "/allowed/x#y",
    ] {
        require_refused(target, &format!("reach api {path}")).await?;
    }
    Ok(())
}

pub(super) async fn connection_headers(target: &AttackTarget) -> Result<()> {
    for name in [
        "Host",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Accept-Encoding",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Sec-WebSocket-Protocol",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ] {
        require_refused(target, &format!("header {name} 1")).await?;
    }
    Ok(())
}

pub(super) async fn credential_headers(target: &AttackTarget) -> Result<()> {
    for name in [
        "Authorization",
        "Cookie",
        "API-Key",
        "X-API-Key",
        "X-Goog-API-Key",
    ] {
        require_refused(target, &format!("header {name} mine")).await?;
    }
    // Exactly the engine's own credential arrives.
    let response = target.generate("ask").await?;
    response.require_success("a request with the engine's credential")?;
    let requests = target.upstream.requests();
    let credentials: Vec<_> = requests
        .iter()
        .flat_map(|request| request.headers.get_all("authorization"))
        .collect();
    let expected = format!("Bearer {SECRET}");
    ensure!(
        credentials == [expected.as_str()],
        "{} credentials were sent",
        credentials.len()
    );
    Ok(())
}

/// Chooses how the key of the engine `hostile` is sent, for the rest of the case.
async fn choose_credential(target: &AttackTarget, form: &str) -> Result<()> {
    let response = target.set("PINHOLE_HOSTILE_CREDENTIAL", form).await?;
    response.require_success("choosing the form of the credential")
}

pub(super) async fn signature_headers(target: &AttackTarget) -> Result<()> {
    let key = target
        .set("HOSTILE_API_KEY", format!("AKIDEXAMPLE:{SECRET}"))
        .await?;
    key.require_success("setting the key")?;
    choose_credential(target, "aws us-east-1 bedrock").await?;
    for name in [
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
        "X-Amz-Target",
        "Authorization",
    ] {
        require_refused(target, &format!("header {name} mine")).await?;
    }
    let response = target.generate("ask").await?;
    response.require_success("a signed request")?;
    for request in target.upstream.requests() {
        let head = request.head();
        ensure!(
            head.contains("Signature=") && !head.contains(SECRET),
            "the request is not signed, or contains the key: {head}"
        );
    }
    Ok(())
}

pub(super) async fn credential_field(target: &AttackTarget) -> Result<()> {
    choose_credential(target, "body /extra_data/key").await?;
    for body in [
        r#"{"extra_data":{"key":"mine"}}"#,
        r#"{"extra_data":{"k\u0065y":"mine"}}"#,
        r#"{"extra_data":{"KEY":"mine"}}"#,
        r#"{"extra_data":{},"extra_data":{"key":"mine"}}"#,
        r#"{"extra_data":{},"Extra_Data":{"key":"mine"}}"#,
        r#"{"extra_data":null}"#,
        "[]",
        "no JSON",
        "{}{}",
    ] {
        require_refused(target, &format!("json {body}")).await?;
    }
    target.generate(r#"json {"a":1}"#).await?;
    let bodies: Vec<_> = target.upstream.requests();
    let expected = format!(r#"{{"extra_data":{{"key":"{SECRET}"}},"a":1}}"#);
    ensure!(
        bodies
            .iter()
            .map(|it| &it.body[..])
            .eq([expected.as_bytes()]),
        "the key is not in the body, so the case proves nothing"
    );
    Ok(())
}
