//! Storage that ends, and images that must not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use cap_std::fs::OpenOptions;
use http::StatusCode;
use pinhole_egress::Destination;
use pinhole_ground::data_dir;
use pinhole_tests::{ServerProcess, gif, long_image};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::target::{AttackTarget, Client, ClientRequest, Response};

const FILES_PATH: &str = "/api/v1/files/";
/// How long the server may take to sweep after its start.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(100);
/// Bytes without a row are orphaned after an hour.
const ORPHAN_AGE: Duration = Duration::from_secs(7200);

/// A client of a server that a case has started.
fn client(server: &ServerProcess, key: &str) -> Result<Client> {
    Client::new(&server.url, key)
}

async fn upload(client: &Client, user: &Destination, bytes: &[u8]) -> Result<Response> {
    let head =
        "--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.gif\"\r\n\r\n";
    let body = [head.as_bytes(), bytes, b"\r\n--limit--\r\n"].concat();
    let request = ClientRequest::post(FILES_PATH, "multipart/form-data; boundary=limit", body);
    client.send_as(user, request).await
}

/// The path of an uploaded file.
fn file_path(uploaded: &Response) -> Result<String> {
    uploaded.require_success("an upload")?;
    let file = uploaded.json()?;
    let id = file.get("id").and_then(Value::as_str);
    Ok(format!("{FILES_PATH}{}", id.context("the file has no id")?))
}

/// Signs a new user in.
async fn sign_in(client: &Client) -> Result<String> {
    let user = json!({
        "name": "Greedy", "email": "greedy@example.org", "password": "a long password", "role": "user",
    });
    client.post("/api/v1/auths/add", &user).await?;
    let session = client.post("/api/v1/auths/signin", &user).await?.json()?;
    let token = session.get("token").and_then(Value::as_str);
    Ok(token.context("the user cannot sign in")?.to_owned())
}

pub(super) async fn quota(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let variables = [("PINHOLE_USER_STORAGE_MIB", "1")];
    let server = target.start_further(data.path(), &variables).await?;
    let client = client(&server, server.key.as_deref().context("no key")?)?;
    let user = client.with_key(&sign_in(&client).await?)?;
    let image = long_image(600 << 10);
    file_path(&upload(&client, &user, &image).await?)?;
    let second = upload(&client, &user, &image).await?;
    ensure!(
        second.status == StatusCode::PAYLOAD_TOO_LARGE,
        "the second upload has status {}",
        second.status
    );
    let chat = json!({"chat": {"note": "x".repeat(600 << 10)}});
    let saved = client
        .send_as(&user, ClientRequest::json("/api/v1/chats/new", &chat))
        .await?;
    ensure!(
        saved.status == StatusCode::PAYLOAD_TOO_LARGE,
        "the chat has status {}",
        saved.status
    );
    let files = client
        .send_as(&user, ClientRequest::get(FILES_PATH))
        .await?
        .json()?;
    ensure!(files.as_array().is_some_and(|it| it.len() == 1), "{files}");
    Ok(())
}

pub(super) async fn full_disk(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let first = target.start_further(data.path(), &[]).await?;
    let key = first.key.clone().context("no key")?;
    let before = client(&first, &key)?;
    let path = file_path(&upload(&before, &before.administrator, &gif(9)).await?)?;
    let token = sign_in(&before).await?;
    drop(first);

    // No disk is that large.
    let variables = [("PINHOLE_RESERVED_DISK_MIB", "1099511627776")];
    let server = target.start_further(data.path(), &variables).await?;
    let client = client(&server, &key)?;
    let refused = upload(&client, &client.administrator, &gif(9)).await?;
    ensure!(
        refused.status == StatusCode::INSUFFICIENT_STORAGE,
        "an upload has status {}",
        refused.status
    );
    client.delete(&path).await?.require_success("a deletion")?;
    let user = client.with_key(&token)?;
    let sign_out = ClientRequest::get("/api/v1/auths/signout");
    client
        .send_as(&user, sign_out)
        .await?
        .require_success("signing out")?;
    let after = client
        .send_as(&user, ClientRequest::get("/api/v1/auths/"))
        .await?;
    ensure!(
        after.status == StatusCode::UNAUTHORIZED,
        "the session lives on"
    );
    Ok(())
}

pub(super) async fn lost_database(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let first = target.start_further(data.path(), &[]).await?;
    let before = client(&first, first.key.as_deref().context("no key")?)?;
    let path = file_path(&upload(&before, &before.administrator, &gif(9)).await?)?;
    let id = path.strip_prefix(FILES_PATH).unwrap_or_default();
    drop(first);
    lose_database(data.path(), id)?;

    let server = target
        .start_further(data.path(), &[("PINHOLE_LOG", "info")])
        .await?;
    let after = client(&server, server.key.as_deref().context("no key")?)?;
    let swept = async {
        while !server.log().contains("orphaned file(s)") {
            after.get("/health").await?;
        }
        anyhow::Ok(())
    };
    timeout(SWEEP_TIMEOUT, swept)
        .await
        .context("the server does not sweep")??;
    let files = data_dir::open(data.path())?.open_dir("files")?;
    ensure!(files.exists(id), "the image was removed");
    Ok(())
}

/// Removes the database, and makes the bytes of a file old enough for the sweep.
fn lose_database(data: &Path, file_id: &str) -> Result<()> {
    let data = data_dir::open(data)?;
    for name in ["pinhole.db", "pinhole.db-wal", "pinhole.db-shm"] {
        data.remove_file(name).ok();
    }
    let file = data
        .open_dir("files")?
        .open_with(file_id, OpenOptions::new().write(true))?;
    file.into_std()
        .set_modified(SystemTime::now() - ORPHAN_AGE)?;
    Ok(())
}
