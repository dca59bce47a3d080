//! `cargo xtask deny`: checks the dependencies of each workspace against `deny.toml`.

use anyhow::{Context, Result, bail};

use crate::steps::announce;
use crate::tools::CARGO_DENY;
use crate::workspace::Workspace;

/// The manifests of the workspaces in the repository.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "tests/fuzz/libfuzzer/Cargo.toml"];

/// Checks licenses, banned crates and sources. `deny.toml` says why not advisories.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let cargo_deny = CARGO_DENY.ensure_installed(workspace)?;
    for manifest in MANIFESTS {
        announce(&format!("checking the dependencies of {manifest}"));
        let options = ["--log-level=error", "--config=deny.toml", "--locked"];
        let status = workspace
            .cargo_command(&cargo_deny, &options)
            .args(["--manifest-path", manifest])
            .args(["check", "licenses", "bans", "sources"])
            .status()
            .context("cannot start cargo-deny")?;
        if !status.success() {
            bail!("the dependencies of {manifest} break a rule of deny.toml: see above");
        }
    }
    Ok(())
}
