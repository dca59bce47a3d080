//! A web client's directory with files that are not for clients, and paths that lead out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Result, ensure};
use tokio::io::BufReader;

use super::raw_client::RawClient;
use crate::target::{AttackTarget, OtherServer};

const IP: &str = "127.0.0.23";
/// What no response may contain.
const SECRET: &str = "not-for-clients";

pub(super) async fn hidden_files(target: &AttackTarget) -> Result<()> {
    require_no_secret(
        target,
        &["/.env", "/%2eenv", "/.git/config", "/static/.hidden"],
    )
    .await
}

pub(super) async fn other_files(target: &AttackTarget) -> Result<()> {
    require_no_secret(
        target,
        &[
            "/../secret",
            "/%2e%2e/secret",
            "/static/..%2f..%2fsecret",
            "/..%5csecret",
            "//secret",
            "/%2fsecret",
            "/link",
            "/linked/secret",
            "/proc/environ",
        ],
    )
    .await
}

pub(super) async fn api_paths(target: &AttackTarget) -> Result<()> {
    require_no_secret(
        target,
        &[
            "/api/v1/forged",
            "/API/v1/forged",
            "/%61pi/v1/forged",
            "/v1/forged",
            "/ollama/forged",
        ],
    )
    .await
}

/// Fails if a response to one of these paths contains the secret.
async fn require_no_secret(target: &AttackTarget, paths: &[&str]) -> Result<()> {
    let files = tempfile::tempdir()?;
    write_files(files.path())?;
    let directory = files.path().join("client");
    let directory = directory.to_string_lossy();
    let variables = [("PINHOLE_WEB_CLIENT", &*directory)];
    let other = target.start_other(&[], &variables).await?;
    ensure!(
        get(&other, "/app.js").await?.contains("client file"),
        "the server has no client"
    );
    for path in paths {
        let response = get(&other, path).await?;
        ensure!(!response.contains(SECRET), "{path}: {response}");
    }
    Ok(())
}

async fn get(other: &OtherServer, path: &str) -> Result<String> {
    let stream = other.client.connect_from(IP).await?;
    let mut client = RawClient(BufReader::new(stream));
    let request = format!("GET {path} HTTP/1.1\r\nhost: pinhole\r\naccept: text/html\r\n\r\n");
    client.send(request).await;
    let (_, body) = client.response().await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// A client's directory next to a secret, and secrets inside it where no client looks.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for the server; the suite writes the files of its own server"
)]
fn write_files(outer: &Path) -> Result<()> {
    let client = outer.join("client");
    for directory in ["static", ".git", "api/v1", "v1", "ollama"] {
        fs::create_dir_all(client.join(directory))?;
    }
    fs::write(client.join("index.html"), "<html><head></head></html>")?;
    fs::write(client.join("app.js"), "// client file")?;
    fs::write(outer.join("secret"), SECRET)?;
    for name in [
        ".env",
        ".git/config",
        "static/.hidden",
        "api/v1/forged",
        "v1/forged",
        "ollama/forged",
    ] {
        fs::write(client.join(name), SECRET)?;
    }
    symlink("../secret", client.join("link"))?;
    symlink("..", client.join("linked"))?;
    symlink("/proc/self", client.join("proc"))?;
    Ok(())
}
