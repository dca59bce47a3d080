//! `cargo xtask release`: the engines, the pages, and the optimized server that contains the pages.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{announce, announce_build};
use crate::workspace::Workspace;
use crate::{engines, pages};

/// Builds everything and removes the symbols from the program.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    if !pages::build(workspace)? {
        bail!("a release contains the pages, which cannot be built: see the line above");
    }
    engines::build(workspace)?;
    let program = workspace.release_server_program();
    announce_build("building the optimized server", &program, "15 minutes");
    let arguments = [
        "build",
        "--release",
        "--package",
        "pinhole",
        "--bin",
        "pinhole",
        "--features",
        "ui",
    ];
    workspace.build("the optimized server", &arguments)?;
    let status = Command::new("strip").arg(&program).status();
    if !status.context("cannot start strip")?.success() {
        bail!("cannot strip {}", workspace.display(&program));
    }
    let engines = workspace.engines();
    announce(&format!(
        "built {} with the pages, and the engines in {}",
        workspace.display(&program),
        workspace.display(&engines)
    ));
    Ok(())
}
