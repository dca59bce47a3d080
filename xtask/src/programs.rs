//! Builds the programs of the workspace.

use anyhow::Result;

use crate::steps::announce_build;
use crate::workspace::Workspace;

/// Builds the server.
///
/// `--workspace` gives the dependencies the same features as in `cargo nextest run --workspace`,
/// so that both share one build of wasmtime.
pub(crate) fn build_server(workspace: &Workspace) -> Result<()> {
    announce_build(
        "building the server",
        &workspace.server_program(),
        "5 minutes",
    );
    workspace.build("the server", &["build", "--workspace", "--bin", "pinhole"])
}

/// Builds the server and all tests. Together they use all processors.
pub(crate) fn build_server_and_tests(workspace: &Workspace) -> Result<()> {
    announce_build(
        "building the server and the tests",
        &workspace.server_program(),
        "10 minutes",
    );
    let arguments = ["build", "--workspace", "--bin", "pinhole", "--tests"];
    workspace.build("the server or a test", &arguments)
}

/// Builds the server, optimized.
pub(crate) fn build_release_server(workspace: &Workspace) -> Result<()> {
    announce_build(
        "building the optimized server",
        &workspace.release_server_program(),
        "15 minutes",
    );
    let arguments = ["build", "--workspace", "--bin", "pinhole", "--release"];
    workspace.build("the optimized server", &arguments)
}

/// Builds the security test suite.
pub(crate) fn build_adversary(workspace: &Workspace) -> Result<()> {
    announce_build(
        "building the security test suite",
        &workspace.adversary_program(),
        "1 minute",
    );
    let arguments = ["build", "--workspace", "--bin", "pinhole-adversary"];
    workspace.build("the security test suite", &arguments)
}
