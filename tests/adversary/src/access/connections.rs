//! Many connections, requests and handshakes.

use anyhow::{Result, ensure};
use tokio::io::{AsyncWriteExt, split};

use super::raw_client::{RawClient, bearer, request};
use crate::target::AttackTarget;

/// Connections from one IP address: more than its part of the server's 256.
const MANY_CONNECTIONS: usize = 80;
/// Requests sent in advance.
const MANY_REQUESTS: usize = 20_000;
/// Handshakes: more than one IP address may have without a user.
const MANY_HANDSHAKES: usize = 3_000;
/// Accepted handshakes: the limit, and those that end meanwhile.
const MAX_HANDSHAKES: usize = 300;
/// Growth of the server's memory, in bytes.
const MAX_GROWTH_BYTES: u64 = 48 << 20;

pub(super) async fn of_one_ip(target: &AttackTarget) -> Result<()> {
    let health = request("GET /health", "", "", "");
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..MANY_CONNECTIONS {
        let mut client = RawClient::connect(target, "127.0.0.13").await?;
        client.send(&health).await;
        match client.response().await {
            Ok((200, _)) => open.push(client),
            // The server may close the connection before the client has read the reason.
            Ok((503, _)) | Err(_) => refused += 1,
            Ok((status, _)) => anyhow::bail!("a connection got status {status}"),
        }
    }
    ensure!(
        refused > 0,
        "{} connections of one IP address are open",
        open.len()
    );
    let mut other = RawClient::connect(target, "127.0.0.113").await?;
    other.send(&health).await;
    let (status, _) = other.response().await?;
    ensure!(status == 200, "another IP address got status {status}");
    Ok(())
}

pub(super) async fn pipelining(target: &AttackTarget) -> Result<()> {
    let before = target.memory_bytes()?;
    let mut client = RawClient::connect(target, "127.0.0.14").await?;
    let key = bearer(target.client.key());
    let with_key = request("GET /api/v1/auths/", &key, "", "");
    let without_key = request("GET /api/v1/auths/", "", "", "");
    let pair = format!("{with_key}{without_key}");
    let (reader, mut writer) = split(client.0.get_mut());
    let sending = async {
        for _ in 0..MANY_REQUESTS / 2 {
            if writer.write_all(pair.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    // The client reads nothing until the server has stopped accepting requests.
    tokio::time::timeout(std::time::Duration::from_secs(5), sending)
        .await
        .ok();
    let _ = reader;
    let growth = target.memory_bytes()?.saturating_sub(before);
    ensure!(
        growth < MAX_GROWTH_BYTES,
        "the server's memory grew by {growth} bytes"
    );
    for number in 0..100 {
        let expected = if number % 2 == 0 { 200 } else { 401 };
        let (status, _) = client.response().await?;
        ensure!(status == expected, "request {number} got status {status}");
    }
    Ok(())
}

pub(super) async fn handshakes(target: &AttackTarget) -> Result<()> {
    const LINE: &str = "GET /ws/socket.io/?EIO=4&transport=polling";
    let before = target.memory_bytes()?;
    let mut client = RawClient::connect(target, "127.0.0.16").await?;
    let handshake = request(LINE, "", "", "");
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..MANY_HANDSHAKES {
        client.send(&handshake).await;
        match client.response().await? {
            (200, _) => accepted += 1,
            (429, _) => refused += 1,
            (status, _) => anyhow::bail!("a handshake got status {status}"),
        }
    }
    ensure!(
        refused > 0 && accepted <= MAX_HANDSHAKES,
        "{accepted} were accepted"
    );
    let growth = target.memory_bytes()?.saturating_sub(before);
    ensure!(
        growth < MAX_GROWTH_BYTES,
        "the server's memory grew by {growth} bytes"
    );
    client
        .send(request(LINE, &bearer(target.client.key()), "", ""))
        .await;
    let (status, _) = client.response().await?;
    ensure!(status == 200, "a user's handshake got status {status}");
    Ok(())
}
