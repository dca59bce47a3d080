//! The server's own pages: installs the packages of `host/ui` and builds them with Node.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::announce;
use crate::workspace::Workspace;

/// The oldest Node that builds the pages.
const MIN_NODE: u32 = 20;
/// The variable that names the built pages.
pub(crate) const VARIABLE: &str = "PINHOLE_UI_DIR";
/// The packages that are installed. npm removes the directory before it installs others.
const PACKAGES: &str = "node_modules";

/// Builds the pages. Returns false after one line that says why not.
pub(crate) fn build(workspace: &Workspace) -> Result<bool> {
    let sources = workspace.root.join("host/ui");
    if !sources.join("package.json").is_file() {
        announce("skipping the pages: host/ui has no package.json");
        return Ok(false);
    }
    if let Err(reason) = check_node() {
        announce(&format!(
            "skipping the pages: {reason}; install Node {MIN_NODE} or later, and npm"
        ));
        return Ok(false);
    }
    if !install_packages(&sources)? {
        announce("skipping the pages: cannot install their packages, check the network");
        return Ok(false);
    }
    announce("building the pages");
    let status = npm(&sources)
        .args(["run", "--silent", "build"])
        .status()
        .context("cannot start npm")?;
    if !status.success() {
        bail!("cannot build the pages: see the message of `npm run build` above");
    }
    Ok(true)
}

/// Checks the types of the pages against the server's OpenAPI document, and runs their unit tests. The pages are built.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    announce("checking the types of the pages, and running their tests");
    for script in ["types", "test"] {
        let status = npm(&workspace.root.join("host/ui"))
            .args(["run", "--silent", script])
            .env("PINHOLE_PROGRAM", workspace.server_program())
            .status()
            .context("cannot start npm")?;
        if !status.success() {
            bail!("`npm run {script}` failed in host/ui: see its message above");
        }
    }
    Ok(())
}

/// Lets the server that the command starts serve the built pages, if there are any.
pub(crate) fn serve(command: &mut Command, workspace: &Workspace) {
    let directory = workspace.root.join("host/ui/dist");
    if directory.join("index.html").is_file() {
        command.env(VARIABLE, directory);
    }
}

fn check_node() -> Result<(), String> {
    if !packages::is_installed("npm") {
        return Err("npm is not installed".to_owned());
    }
    let output = Command::new("node").arg("--version").output();
    let output = output.map_err(|_| "node is not installed".to_owned())?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major_version(&version) {
        Some(major) if major >= MIN_NODE => Ok(()),
        _ => Err(format!("node has version {version:?}")),
    }
}

/// The first number of a version such as `v22.3.0`.
fn major_version(version: &str) -> Option<u32> {
    let number = version.strip_prefix('v')?.split('.').next()?;
    number.parse().ok()
}

/// Installs the packages unless those of the lock file are installed. Returns false without a network.
fn install_packages(sources: &Path) -> Result<bool> {
    let lists = ["package.json", "package-lock.json"].map(|name| sources.join(name));
    let directory = sources.join(PACKAGES);
    if packages::is_marked(&lists, &directory)? {
        return Ok(true);
    }
    announce("installing the packages of the pages");
    let installed = npm(sources)
        .args(["ci", "--no-audit", "--no-fund"])
        .output()
        .is_ok_and(|output| output.status.success());
    if installed {
        packages::mark_installed(&lists, &directory)?;
    }
    Ok(installed)
}

fn npm(sources: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(sources);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_the_first_number() {
        assert_eq!(major_version("v22.3.0"), Some(22));
        assert_eq!(major_version("v8"), Some(8));
        assert_eq!(major_version("22.3.0"), None);
        assert_eq!(major_version(""), None);
    }
}
