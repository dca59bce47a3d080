//! The OpenAPI fuzzer, which asks a server of its own: one that draws by itself and asks nobody.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Place, make_fresh};
use crate::server::Server;
use crate::workspace::Workspace;

/// The engine that needs no upstream.
const ENGINE: &str = "sketch";

/// Runs the fuzzer, where the packages of Python's clients are installed.
pub(super) fn run(workspace: &Workspace, place: &Place) -> Result<()> {
    let packages = place.built.join("python");
    if !packages.join("installed").exists() {
        return Ok(());
    }
    let server = serve(workspace, &place.built.join("fuzzed"))?;
    let status = Command::new("python3")
        .arg(place.scripts.join("fuzz.py"))
        .env("PYTHONPATH", packages)
        .env("CLIENT_SERVER", &server.facts.address)
        .env("CLIENT_KEY", server.facts.key.clone().unwrap_or_default())
        .status()
        .context("cannot start the fuzzer")?;
    match status.success() {
        true => Ok(()),
        false => bail!("the fuzzer found what stands above"),
    }
}

/// The server that was just built, with no other engine: what the fuzzer says leads nowhere.
fn serve(workspace: &Workspace, data: &Path) -> Result<Server> {
    let engines = data.join("engines");
    let named = || format!("cannot prepare {}", data.display());
    make_fresh(data).with_context(named)?;
    make_fresh(&engines).with_context(named)?;
    let file = format!("{ENGINE}.wasm");
    fs::copy(workspace.engines().join(&file), engines.join(&file)).with_context(named)?;
    let mut command = Command::new(workspace.program());
    command
        .args(["serve", "--listen=127.0.0.1:0"])
        // What a developer has set for his own server is not for this one.
        .env_clear()
        .env("PINHOLE_ENGINES", engines)
        .env("PINHOLE_DATA", data.join("data"))
        .env("PINHOLE_LOG", "off")
        .env("IMAGE_GENERATION_ENGINE", ENGINE)
        .env("ENABLE_SIGNUP", "true");
    Server::start(command)
}
