//! Adds the WebAssembly targets that rustc does not have yet.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// The target of engines: their components import the contract and nothing else.
pub(crate) const ENGINES: &str = "wasm32-unknown-unknown";
/// The target of the one test engine that imports WASI 0.2.
pub(crate) const WASI: &str = "wasm32-wasip2";

/// Makes sure that rustc can build for each target.
///
/// A target that was installed without rustup, for example by a distribution, counts as well. The
/// error names the command that installs the targets.
pub(crate) fn ensure_installed(workspace: &Workspace, targets: &[&str]) -> Result<()> {
    let missing = missing_targets(workspace, targets)?;
    if missing.is_empty() {
        return Ok(());
    }
    // rustup's own error is several lines long and names no remedy.
    let rustup = Command::new("rustup")
        .args(["target", "add"])
        .args(&missing)
        .current_dir(&workspace.root)
        .output();
    let added = rustup.is_ok_and(|output| output.status.success());
    if !added || !missing_targets(workspace, &missing)?.is_empty() {
        bail!(installation_advice(&missing));
    }
    eprintln!("added {}", target_names(&missing));
    Ok(())
}

fn missing_targets<'a>(workspace: &Workspace, targets: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for target in targets {
        if !is_installed(workspace, target)? {
            missing.push(*target);
        }
    }
    Ok(missing)
}

/// Whether rustc finds the standard library of this target.
fn is_installed(workspace: &Workspace, target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    let directory = String::from_utf8_lossy(&output.stdout);
    let has_files = Path::new(directory.trim())
        .read_dir()
        .is_ok_and(|mut files| files.next().is_some());
    Ok(output.status.success() && has_files)
}

fn installation_advice(missing: &[&str]) -> String {
    format!(
        "cannot add {}: connect to a network and run rustup target add {}",
        target_names(missing),
        missing.join(" ")
    )
}

fn target_names(targets: &[&str]) -> String {
    let noun = if targets.len() == 1 {
        "target"
    } else {
        "targets"
    };
    format!("the Rust {noun} {}", targets.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_advice_names_the_command() {
        assert_eq!(
            installation_advice(&[ENGINES]),
            "cannot add the Rust target wasm32-unknown-unknown: connect to a network and run \
             rustup target add wasm32-unknown-unknown"
        );
        assert_eq!(
            installation_advice(&[ENGINES, WASI]),
            "cannot add the Rust targets wasm32-unknown-unknown and wasm32-wasip2: connect to a \
             network and run rustup target add wasm32-unknown-unknown wasm32-wasip2"
        );
    }
}
