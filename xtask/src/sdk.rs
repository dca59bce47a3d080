//! The tests of the SDKs: `pinhole-sdk` as a package, and the unit tests in JavaScript and Python.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::authors;
use crate::packages;
use crate::steps::announce;
use crate::wasm_targets;
use crate::workspace::Workspace;

const JS_TESTS: &str = "sdk/js/tests/index.test.mjs";
const PYTHON_TESTS: &str = "sdk/python/tests";

/// Runs the tests of each SDK. Prints a line for each language that is skipped.
pub(crate) fn run_tests(workspace: &Workspace) -> Result<()> {
    check_package(workspace)?;
    run_js_tests(workspace)?;
    run_python_tests(workspace)
}

/// Packs `pinhole-sdk` and builds the packed files for the target of engines, as its publication does.
pub(crate) fn check_package(workspace: &Workspace) -> Result<()> {
    announce("packing and building the package pinhole-sdk");
    let arguments = [
        "package",
        "--package",
        "pinhole-sdk",
        "--target",
        wasm_targets::ENGINES,
        "--allow-dirty",
        "--offline",
        "--quiet",
    ];
    workspace.build("the package pinhole-sdk", &arguments)
}

fn run_js_tests(workspace: &Workspace) -> Result<()> {
    if !packages::is_installed("node") {
        announce("skipping the tests of the SDK in JavaScript: node is not installed");
        return Ok(());
    }
    let mut node = Command::new("node");
    node.args(["--test", JS_TESTS]).current_dir(&workspace.root);
    run(node, "JavaScript")
}

/// The tests need the modules of the contract, which `componentize-py` writes.
fn run_python_tests(workspace: &Workspace) -> Result<()> {
    let programs = authors::python_programs(workspace);
    let compiler = programs.join("componentize-py");
    if !compiler.exists() {
        announce("skipping the tests of the SDK in Python: componentize-py is not installed");
        return Ok(());
    }
    let modules = authors::directory(workspace).join("python-modules");
    packages::recreate_directory(&modules)
        .with_context(|| format!("cannot prepare {}", modules.display()))?;
    let mut bindings = Command::new(compiler);
    bindings
        .args(["--wit-path", "wit"])
        .args(["--world", "image-engine-with-explain", "bindings"])
        .arg(&modules)
        .current_dir(&workspace.root);
    run(bindings, "Python")?;
    let paths = [modules.as_path(), Path::new("sdk/python")];
    let paths = std::env::join_paths(paths).context("the target directory has a colon")?;
    let mut python = Command::new(programs.join("python3"));
    python
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(PYTHON_TESTS)
        .env("PYTHONPATH", paths)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&workspace.root);
    run(python, "Python")
}

/// Runs a command, and prints its output only if it fails.
fn run(mut command: Command, language: &str) -> Result<()> {
    announce(&format!("testing the SDK in {language}"));
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        bail!("the tests of the SDK in {language} failed:\n{text}");
    }
    Ok(())
}
