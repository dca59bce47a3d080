//! Installs packages of Python and Node into directories of their own, and programs of the system.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::announce;

/// A file in the directory, with the contents of the files that name its packages.
const STAMP: &str = "installed";

/// Whether a program can be started.
pub(crate) fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs a program with Debian's package of the same name, unless it can be started.
pub(crate) fn install_system_package(program: &str) -> Result<()> {
    if is_installed(program) {
        return Ok(());
    }
    if install_package(program) && is_installed(program) {
        return Ok(());
    }
    bail!("cannot install {program}: install it with the system's package manager")
}

/// Installs a package of Debian. Returns false if it cannot be installed.
pub(crate) fn install_package(package: &str) -> bool {
    announce(&format!("installing {package}"));
    let install = ["install", "--yes", "--no-install-recommends", package];
    // A new machine has no list of packages, and an old list names packages that are gone.
    apt_get(&install) || (apt_get(&["update"]) && apt_get(&install))
}

fn apt_get(arguments: &[&str]) -> bool {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// A pip command that installs the packages of a requirements file into a directory.
pub(crate) fn pip_install(requirements: &Path, directory: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--retries=1", "--no-deps"])
        .arg("--target")
        .arg(directory)
        .arg("--requirement")
        .arg(requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    pip
}

/// Installs the packages of Node that the scripts of `tests/clients` need, without the programs that packages would
/// download. Returns their directory, or nothing without a network.
pub(crate) fn install_node_clients(scripts: &Path, target: &Path) -> Result<Option<PathBuf>> {
    let lists = ["package.json", "package-lock.json"].map(|name| scripts.join(name));
    let directory = target.join("clients/node");
    Ok(install(npm_install(&directory), &lists, &directory)?.then_some(directory))
}

/// An npm command that installs the packages of a lock file in a directory, and runs none of their scripts.
pub(crate) fn npm_install(directory: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=0",
        "--ignore-scripts",
    ])
    .arg("--prefix")
    .arg(directory);
    npm
}

/// Runs an installer in a fresh directory that holds copies of the files that name its packages,
/// unless these packages are installed already. Returns false if the installer failed.
pub(crate) fn install(
    mut installer: Command,
    package_lists: &[PathBuf],
    directory: &Path,
) -> Result<bool> {
    if is_marked(package_lists, directory)? {
        return Ok(true);
    }
    let context = || format!("cannot prepare {}", directory.display());
    recreate_directory(directory).with_context(context)?;
    for file in package_lists {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, directory.join(name)).with_context(context)?;
    }
    // An installer without a network prints pages.
    let succeeded = installer
        .output()
        .is_ok_and(|output| output.status.success());
    if succeeded {
        mark_installed(package_lists, directory)?;
    }
    Ok(succeeded)
}

/// Does the directory have the packages of these files?
pub(crate) fn is_marked(package_lists: &[PathBuf], directory: &Path) -> Result<bool> {
    let wanted = read_all(package_lists)?;
    Ok(fs::read(directory.join(STAMP)).is_ok_and(|installed| installed == wanted))
}

/// Records that the directory has the packages of these files.
pub(crate) fn mark_installed(package_lists: &[PathBuf], directory: &Path) -> Result<()> {
    let stamp = directory.join(STAMP);
    fs::write(&stamp, read_all(package_lists)?)
        .with_context(|| format!("cannot write {}", stamp.display()))
}

fn read_all(files: &[PathBuf]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        all.extend(bytes);
    }
    Ok(all)
}

/// Makes an empty directory, whatever was there before.
pub(crate) fn recreate_directory(directory: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(directory),
    }
}
