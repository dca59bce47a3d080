//! The OpenAPI fuzzer, against a server of its own whose only engine needs no upstream.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Directories;
use crate::packages;
use crate::server::{self, Server};
use crate::workspace::Workspace;

/// The engine that needs no upstream.
const ENGINE: &str = "sketch";

/// Runs the fuzzer if the packages of the Python clients are installed.
pub(super) fn run(workspace: &Workspace, directories: &Directories) -> Result<()> {
    let packages = directories.built.join("python");
    if !packages.join("installed").exists() {
        return Ok(());
    }
    let server = start_server(workspace, &directories.built.join("fuzzed"))?;
    let status = Command::new("python3")
        .arg(directories.scripts.join("fuzz.py"))
        .env("PYTHONPATH", packages)
        .env("CLIENT_SERVER", &server.access.url)
        .env("CLIENT_KEY", server.access.key.clone().unwrap_or_default())
        .status()
        .context("cannot start the fuzzer")?;
    if !status.success() {
        bail!("the fuzzer found a difference from the OpenAPI document: see its message above");
    }
    Ok(())
}

fn start_server(workspace: &Workspace, data: &Path) -> Result<Server> {
    let engines = data.join("engines");
    let context = || format!("cannot prepare {}", data.display());
    packages::recreate_directory(data).with_context(context)?;
    packages::recreate_directory(&engines).with_context(context)?;
    let file = format!("{ENGINE}.wasm");
    fs::copy(workspace.engines().join(&file), engines.join(&file)).with_context(context)?;
    let mut command = server::isolated_command(workspace, &data.join("data"));
    command
        .env("PINHOLE_ENGINES", engines)
        .env("PINHOLE_LOG", "off")
        .env("IMAGE_GENERATION_ENGINE", ENGINE)
        .env("ENABLE_SIGNUP", "true");
    Server::start(command)
}
