//! Adds the WebAssembly targets where they are missing.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// What our engines are built for: their components import the contract and nothing else.
pub(crate) const ENGINES: &str = "wasm32-unknown-unknown";
/// What the one test engine that imports WASI 0.2 is built for.
pub(crate) const WASI: &str = "wasm32-wasip2";

/// Makes sure that rustc can build for each target.
///
/// A target that came without rustup (from a distribution, say) counts as well. The error is one
/// sentence that says what to install.
pub(crate) fn ensure(workspace: &Workspace, targets: &[&str]) -> Result<()> {
    let missing = missing(workspace, targets)?;
    if missing.is_empty() {
        return Ok(());
    }
    // What rustup has to say about a failure is several lines of which none names a remedy.
    let added = Command::new("rustup")
        .args(["target", "add"])
        .args(&missing)
        .current_dir(&workspace.root)
        .output();
    let succeeded = |output: &Output| output.status.success();
    if !added.as_ref().is_ok_and(succeeded) || !self::missing(workspace, &missing)?.is_empty() {
        bail!(advice(&missing));
    }
    eprintln!("added {}", named(&missing));
    Ok(())
}

fn missing<'a>(workspace: &Workspace, targets: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for target in targets {
        if !present(workspace, target)? {
            missing.push(*target);
        }
    }
    Ok(missing)
}

/// Whether the standard library for this target lies where rustc looks for it.
fn present(workspace: &Workspace, target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout);
    let folder = Path::new(folder.trim());
    let filled = || {
        folder
            .read_dir()
            .is_ok_and(|mut files| files.next().is_some())
    };
    Ok(output.status.success() && filled())
}

fn advice(missing: &[&str]) -> String {
    let verb = if missing.len() == 1 { "is" } else { "are" };
    format!(
        "{} {verb} missing and could not be added: run rustup target add {} with a network, then run this command again",
        named(missing),
        missing.join(" ")
    )
}

fn named(targets: &[&str]) -> String {
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
    fn the_advice_is_one_sentence() {
        assert_eq!(
            advice(&[ENGINES]),
            "the Rust target wasm32-unknown-unknown is missing and could not be added: run \
             rustup target add wasm32-unknown-unknown with a network, then run this command again"
        );
        assert_eq!(
            advice(&[ENGINES, WASI]),
            "the Rust targets wasm32-unknown-unknown and wasm32-wasip2 are missing and could not \
             be added: run rustup target add wasm32-unknown-unknown wasm32-wasip2 with a network, \
             then run this command again"
        );
    }
}
