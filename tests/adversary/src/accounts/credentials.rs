//! Keys, passwords, cookies and the first account.

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::small_server::{PASSWORD, SmallServer, start_process};
use crate::target::{AttackTarget, ClientRequest, Response};

const NEW_PASSWORD: &str = "another horse";
/// Of a key, in seconds since 1970.
const EXPIRY: i64 = 4_000_000_000;

pub(super) async fn sign_up_after_deletion(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let variables = [("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")];
    let server = SmallServer::start(target, data.path(), &variables).await?;
    let first = server.sign_up("ada").await?;
    ensure!(
        first.role == "admin",
        "the first account is of a {}",
        first.role
    );
    let path = format!("/api/v1/users/{}", first.id);
    let deleted = server.client.delete(&path).await?;
    deleted.require_success("deleting the only account")?;
    let later = server.sign_up("eve").await?;
    ensure!(
        later.role == "user",
        "the later account has the role {}",
        later.role
    );
    Ok(())
}

pub(super) async fn key_after_password_change(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let user = server.add_user("ada").await?;
    let key = server.create_key(&user.token).await?;
    let body = json!({"password": PASSWORD, "new_password": NEW_PASSWORD});
    let request = ClientRequest::json("/api/v1/auths/update/password", &body);
    let changed = server.send_as(&user.token, request).await?;
    changed.require_success("changing the password")?;
    server.require_refused(&user.token).await?;
    server.require_refused(&key).await
}

pub(super) async fn key_after_password_reset(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let user = server.add_user("ada").await?;
    let key = server.create_key(&user.token).await?;
    let path = format!("/api/v1/users/{}/update", user.id);
    let body = json!({"password": NEW_PASSWORD});
    let reset = server.client.post(&path, &body).await?;
    reset.require_success("resetting the password")?;
    server.require_refused(&user.token).await?;
    server.require_refused(&key).await
}

pub(super) async fn short_secret(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    for secret in ["a", "t0p-s3cr3t", "fifteen letters"] {
        let variables = [("WEBUI_SECRET_KEY", secret)];
        match start_process(target, data.path(), &variables).await {
            Ok(_) => bail!("the server starts with the secret {secret:?}"),
            Err(error) => ensure!(
                error.to_string().contains("WEBUI_SECRET_KEY has"),
                "the server stops for another reason: {error}"
            ),
        }
    }
    Ok(())
}

pub(super) async fn two_cookies(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let ada = server.add_user("ada").await?.token;
    let eve = server.add_user("eve").await?.token;
    for (headers, expected) in [
        (format!("cookie: token={ada}\r\n"), StatusCode::OK),
        (
            format!("cookie: token={ada}; token={ada}\r\n"),
            StatusCode::OK,
        ),
        (
            format!("cookie: token={eve}; token={ada}\r\n"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            format!("cookie: a=b; token={ada}\r\ncookie: token={eve}\r\n"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            format!("cookie: token=; token={ada}\r\n"),
            StatusCode::UNAUTHORIZED,
        ),
        // A bearer token is not ambiguous.
        (
            format!("authorization: Bearer {ada}\r\ncookie: token={eve}; token=x\r\n"),
            StatusCode::OK,
        ),
    ] {
        let bytes = server
            .client
            .get_with_headers("/api/v1/auths/", &headers)
            .await?;
        let response = String::from_utf8_lossy(&bytes);
        let status = response.split(' ').nth(1).unwrap_or_default();
        ensure!(
            status == expected.as_str(),
            "{headers:?} is answered with {status} instead of {expected}"
        );
    }
    Ok(())
}

pub(super) async fn of_another_user(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let ada = server.add_user("ada").await?;
    let eve = server.add_user("eve").await?;
    let key = server.create_key(&ada.token).await?;
    let id_of_first = async |path: &str| {
        let list = server.client.get(path).await?.json()?;
        let id = list.get(0).and_then(|entry| entry.get("id"));
        let id = id.and_then(Value::as_str).map(str::to_owned);
        id.with_context(|| format!("{path} lists nothing"))
    };
    let (keys, sessions) = (
        format!("/api/v1/users/{}/keys", ada.id),
        format!("/api/v1/users/{}/sessions", ada.id),
    );
    let (key_id, session_id) = (id_of_first(&keys).await?, id_of_first(&sessions).await?);
    for path in [
        format!("/api/v1/auths/keys/{key_id}"),
        format!("/api/v1/auths/sessions/{session_id}"),
        format!("{keys}/{key_id}"),
        format!("{sessions}/{session_id}"),
    ] {
        let response = server
            .send_as(&eve.token, ClientRequest::delete(&path))
            .await?;
        let is_refused =
            [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED].contains(&response.status);
        ensure!(is_refused, "{path}: {}", response.text());
    }
    for path in [
        keys.as_str(),
        &sessions,
        "/api/v1/auths/keys",
        "/api/v1/auths/sessions",
    ] {
        let response = server.send_as(&eve.token, ClientRequest::get(path)).await?;
        let text = response.text();
        ensure!(
            !text.contains(&key_id) && !text.contains(&session_id),
            "{path}: {text}"
        );
    }
    for credential in [&key, &ada.token] {
        let request = ClientRequest::get("/api/v1/auths/");
        let known = server.send_as(credential, request).await?;
        known.require_success("using the key and the session after the attack")?;
    }
    Ok(())
}

pub(super) async fn key_outlives_key(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let ada = server.add_user("ada").await?;
    let expiring = json!({"name": "short", "expires_at": EXPIRY});
    let creation = ClientRequest::json("/api/v1/auths/keys", &expiring);
    let key = secret(&server.send_as(&ada.token, creation).await?, "key")?;
    let signed_in = server
        .post_anonymously("/api/v1/auths/signin", &json!({"key": key}))
        .await?;
    let session = secret(&signed_in, "token")?;
    for credential in [&key, &session] {
        for (path, body) in [
            ("/api/v1/auths/keys", json!({"name": "long"})),
            (
                "/api/v1/auths/keys",
                json!({"name": "later", "expires_at": EXPIRY + 1}),
            ),
            ("/api/v1/auths/api_key", json!({})),
        ] {
            let request = ClientRequest::json(path, &body);
            let response = server.send_as(credential, request).await?;
            ensure!(
                response.status == StatusCode::FORBIDDEN,
                "{path} {body}: {}",
                response.text()
            );
        }
    }
    Ok(())
}

/// A field of a successful response.
fn secret(response: &Response, field: &str) -> Result<String> {
    response.require_success(field)?;
    let body = response.json()?;
    let text = body.get(field).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("the response has no {field}"))?
        .to_owned())
}
