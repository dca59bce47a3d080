//! `cargo xtask browse`: every page of the server in a browser, from the first start on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::clients::Upstream;
use crate::packages;
use crate::server::{self, Server};
use crate::steps::announce;
use crate::workspace::Workspace;

/// The browser's name as a program and as a package of Debian.
const BROWSER: &str = "chromium";
/// The file in the data directory with the URL of the setup.
const SETUP_FILE: &str = "setup-url";

/// Starts a new server, and uses the pages, which are built. Returns after one line if Node or the browser is missing.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    if !packages::is_installed("python3") {
        announce("skipping the browser: python3 is not installed");
        return Ok(());
    }
    if let Err(error) = packages::install_system_package(BROWSER) {
        announce(&format!("skipping the browser: {error:#}"));
        return Ok(());
    }
    let scripts = workspace.root.join("tests/clients");
    let Some(node) = packages::install_node_clients(&scripts, &workspace.target)? else {
        announce("skipping the browser: cannot install the packages of Node, check the network");
        return Ok(());
    };
    announce(&format!("using the pages in {BROWSER}"));
    let built = workspace.target.join("pages");
    let (data, screenshots) = (built.join("data"), built.join("screenshots"));
    for directory in [&data, &screenshots] {
        packages::recreate_directory(directory)
            .with_context(|| format!("cannot prepare {}", directory.display()))?;
    }
    let upstream = Upstream::start(&scripts.join("upstream.py"))?;
    let server = start_server(workspace, &data, &upstream.url)?;
    let setup = fs::read_to_string(data.join(SETUP_FILE))
        .context("the server wrote no URL of its setup")?;
    let status = Command::new("node")
        .arg(scripts.join("ui.mjs"))
        .env("CLIENT_SERVER", &server.access.url)
        .env("CLIENT_SETUP", setup.trim())
        .env("CLIENT_UPSTREAM", &upstream.url)
        .env("CLIENT_PACKAGES", &node)
        .env("CLIENT_GUESTS", workspace.guests())
        .env("CLIENT_SCREENSHOTS", &screenshots)
        .status()
        .context("cannot start node")?;
    if !status.success() {
        bail!("the pages failed: see the message above");
    }
    announce(&format!("screenshots: {}", workspace.display(&screenshots)));
    Ok(())
}

/// A server that has never been started, with a language model.
fn start_server(workspace: &Workspace, data: &Path, upstream: &str) -> Result<Server> {
    let mut command = server::isolated_command(workspace, data);
    command
        .env("PINHOLE_LOG", "warn")
        .env("PINHOLE_REQUESTS_PER_MINUTE", "1000000")
        .env("ENABLE_IMAGE_PROMPT_GENERATION", "false")
        .env("OPENAI_API_BASE_URL", format!("{upstream}/chat/v1"));
    Server::start(command)
}
