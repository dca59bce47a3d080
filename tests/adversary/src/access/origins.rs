//! Requests that pages of other sites cause, and clients that hide their IP address.

use anyhow::{Result, ensure};
use serde_json::json;

use super::raw_client::{RawClient, request};
use crate::target::AttackTarget;

const IP: &str = "127.0.0.17";
const SETTINGS: &str = "POST /api/v1/settings";
const JSON: &str = "content-type: application/json\r\n";
/// Attempts to sign in: more than one IP address has.
const MANY_ATTEMPTS: usize = 80;

/// The administrator's cookie, as a browser sends it.
fn cookie(target: &AttackTarget) -> String {
    format!("cookie: token={}\r\n", target.client.key())
}

/// Fails unless the server refuses the request of a page with these headers.
async fn require_refused(
    target: &AttackTarget,
    line: &str,
    headers: &str,
    body: &str,
) -> Result<()> {
    let mut client = RawClient::connect(target, IP).await?;
    client
        .send(request(line, &cookie(target), headers, body))
        .await;
    let (status, response) = client.response().await?;
    let response = String::from_utf8_lossy(&response);
    ensure!(
        status == 403,
        "{line} with {headers:?}: {status} {response}"
    );
    Ok(())
}

pub(super) async fn form(target: &AttackTarget) -> Result<()> {
    // The name and the value of a field of the form, around `=`.
    let body = r#"{"HOSTILE_NOTE":"stolen","a":"="}"#;
    for headers in [
        "content-type: text/plain\r\nsec-fetch-site: cross-site\r\norigin: https://evil.example\r\n",
        "content-type: text/plain\r\nsec-fetch-site: same-site\r\n",
        "content-type: text/plain\r\norigin: null\r\n",
        "content-type: application/x-www-form-urlencoded\r\norigin: https://evil.example\r\n",
        // A browser that hides both: the type is enough.
        "content-type: text/plain\r\n",
    ] {
        require_refused(target, SETTINGS, headers, body).await?;
    }
    let settings = target.client.get("/api/v1/settings").await?;
    ensure!(!settings.text().contains("stolen"), "a setting was changed");
    Ok(())
}

pub(super) async fn script(target: &AttackTarget) -> Result<()> {
    let body = json!({"HOSTILE_NOTE": "stolen"}).to_string();
    for origin in [
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
        "origin: https://evil.example\r\n",
        "origin: http://pinhole:81\r\n",
        "origin: http://pinhole.evil.example\r\n",
        "origin: null\r\n",
        // The script cannot set this one, but says it anyway.
        "sec-fetch-site: cross-site\r\norigin: http://pinhole\r\n",
    ] {
        require_refused(target, SETTINGS, &format!("{JSON}{origin}"), &body).await?;
    }
    let settings = target.client.get("/api/v1/settings").await?;
    ensure!(!settings.text().contains("stolen"), "a setting was changed");
    Ok(())
}

pub(super) async fn session(target: &AttackTarget) -> Result<()> {
    let own_account =
        json!({"email": "evil@example.org", "password": "a long password"}).to_string();
    let cross_site = "sec-fetch-site: cross-site\r\n";
    let form = "content-type: text/plain\r\norigin: https://evil.example\r\n";
    require_refused(target, "GET /api/v1/auths/signout", cross_site, "").await?;
    require_refused(target, "POST /api/v1/auths/signin", form, &own_account).await?;
    require_refused(target, "POST /api/v1/auths/signup", form, &own_account).await
}

pub(super) async fn web_socket(target: &AttackTarget) -> Result<()> {
    const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let origin = "origin: https://evil.example\r\n";
    let web_socket = "GET /ws/socket.io/?EIO=4&transport=websocket";
    require_refused(target, web_socket, &format!("{UPGRADE}{origin}"), "").await?;
    let polling = "GET /ws/socket.io/?EIO=4&transport=polling";
    require_refused(target, polling, origin, "").await?;
    require_refused(target, "GET /api/events", origin, "").await
}

pub(super) async fn forged_ip(target: &AttackTarget) -> Result<()> {
    let mut client = RawClient::connect(target, "127.0.0.19").await?;
    let mut refused = 0;
    for attempt in 0..MANY_ATTEMPTS {
        let forged = format!("{JSON}x-forwarded-for: 6.6.6.{attempt}\r\n");
        client
            .send(request("POST /api/v1/auths/signin", "", &forged, "{}"))
            .await;
        let (status, _) = client.response().await?;
        refused += usize::from(status == 429);
    }
    ensure!(
        refused > 0,
        "{MANY_ATTEMPTS} attempts from one IP address were not limited"
    );
    Ok(())
}
