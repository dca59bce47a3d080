//! The packages with which the tests build a new engine in each language, installed once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::packages;
use crate::steps::announce;
use crate::workspace::Workspace;

/// Where the packages are, in the directory of [`directory`].
const NODE: &str = "node";
const PYTHON: &str = "python";

/// The directory of packages and builds of `tests/it/authors.rs`.
pub(crate) fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("authors")
}

/// The programs of the virtual environment for Python.
pub(crate) fn python_programs(workspace: &Workspace) -> PathBuf {
    directory(workspace).join(PYTHON).join("bin")
}

/// Installs the missing packages. Prints a line for each language that is skipped because a program or a network is
/// missing.
pub(crate) fn install_packages(workspace: &Workspace) -> Result<()> {
    let templates = workspace.root.join("host/templates");
    let directory = directory(workspace);
    if !packages::is_installed("node") || !packages::is_installed("npm") {
        announce("skipping engines in JavaScript: node or npm is not installed");
    } else if !install_node(&templates, &directory.join(NODE))? {
        announce(
            "skipping engines in JavaScript: cannot install their packages, check the network",
        );
    }
    if !packages::is_installed("python3") {
        announce("skipping engines in Python and C: python3 is not installed");
    } else if !install_python(&templates, &directory.join(PYTHON))? {
        announce(
            "skipping engines in Python and C: cannot install their packages, check the network",
        );
    }
    Ok(())
}

fn install_node(templates: &Path, directory: &Path) -> Result<bool> {
    let lists = ["package.json", "package-lock.json"].map(|name| templates.join("js").join(name));
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--fetch-retries=0"])
        .arg("--prefix")
        .arg(directory);
    packages::install(npm, &lists, directory)
}

/// A virtual environment, as the build scripts make it.
fn install_python(templates: &Path, directory: &Path) -> Result<bool> {
    let lists = ["python", "c"].map(|name| templates.join(name).join("requirements.txt"));
    let script = "python3 -m venv \"$1\" && \"$1/bin/pip\" install --retries=1 -r \"$2\" -r \"$3\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(directory)
        .args(&lists)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    packages::install(shell, &lists, directory)
}
