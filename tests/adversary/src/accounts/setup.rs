//! The setup of the first administrator, by clients that did not read the server's output.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::small_server::{PASSWORD, SmallServer};
use crate::target::{AttackTarget, ClientRequest};

const SETUP: &str = "/api/v1/setup";
/// More attempts than one IP address has.
const MANY_ATTEMPTS: usize = 80;

fn setup(code: &str) -> Value {
    json!({"code": code, "name": "Eve", "email": "eve@adversary.invalid", "password": PASSWORD})
}

pub(super) async fn guessed_code(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let (mut limited, zeros) = (0, "0".repeat(32));
    let codes = ["", "0", &zeros, "null", "%", "administrator"];
    for code in codes.into_iter().cycle().take(MANY_ATTEMPTS) {
        let response = server.post_anonymously(SETUP, &setup(code)).await?;
        let is_refused =
            [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&response.status);
        ensure!(is_refused, "the code {code:?}: {}", response.text());
        limited += usize::from(response.status == StatusCode::TOO_MANY_REQUESTS);
    }
    ensure!(limited > 0, "{MANY_ATTEMPTS} codes were tried");
    let state = server.client.get(SETUP).await?.json()?;
    ensure!(
        state.get("needed") == Some(&true.into()),
        "the setup was completed"
    );
    Ok(())
}

pub(super) async fn later_setup(target: &AttackTarget) -> Result<()> {
    let (data, pages) = (tempfile::tempdir()?, tempfile::tempdir()?);
    write_page(pages.path())?;
    let directory = pages.path().to_string_lossy();
    let variables = [("PINHOLE_UI_DIR", &*directory)];
    let server = SmallServer::start(target, data.path(), &variables).await?;
    let code = read_code(data.path())?;
    let first = server.post_anonymously(SETUP, &setup(&code)).await?;
    first.require_success("the setup")?;
    for later_code in [code.as_str(), "guessed"] {
        let again = server.post_anonymously(SETUP, &setup(later_code)).await?;
        ensure!(
            again.status == StatusCode::CONFLICT,
            "a second setup: {}",
            again.text()
        );
    }
    // The first password is not replaced.
    let body = json!({"email": "eve@adversary.invalid", "password": PASSWORD});
    let request = ClientRequest::json("/api/v1/auths/signin", &body);
    let session = server
        .client
        .send_as(&server.client.anonymous, request)
        .await?;
    session.require_success("signing in after the setup")
}

/// A directory that counts as the server's pages, so that the server writes the URL of the setup.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for the server; the suite writes the files of its own server"
)]
fn write_page(directory: &Path) -> Result<()> {
    std::fs::write(directory.join("index.html"), "<html></html>")?;
    Ok(())
}

/// The code in the file that only the server's user can read.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for the server; the suite reads the files of its own server"
)]
fn read_code(data: &Path) -> Result<String> {
    let url = std::fs::read_to_string(data.join("setup-url"))?;
    let (_, code) = url.trim().split_once('#').context("the URL has no code")?;
    Ok(code.to_owned())
}
