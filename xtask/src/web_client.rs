//! `cargo xtask web-client`: Open WebUI's web client in a browser, in front of the server.
//!
//! The client's files are those of the PyPI packages and stay in the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::clients::Upstream;
use crate::packages;
use crate::server::{self, Server};
use crate::steps::announce;
use crate::workspace::Workspace;

/// The releases whose front ends are tested.
const RELEASES: [&str; 2] = ["0.6.43", "0.12.4"];
/// The browser's name as a program and as a package of Debian.
const BROWSER: &str = "chromium";

/// The directories of the scripts, and of what xtask installs and writes for them.
struct Directories {
    scripts: PathBuf,
    built: PathBuf,
}

/// Installs what is missing, and runs the browser with each release. The screenshots are in
/// `target/web-client/screenshots`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let directories = Directories {
        scripts: workspace.root.join("tests/web-client"),
        built: workspace.target.join("web-client"),
    };
    for program in ["python3", "node", "npm"] {
        if !packages::is_installed(program) {
            bail!("{program} is not installed: install it");
        }
    }
    packages::install_system_package(BROWSER)?;
    let node = install_driver(&directories)?;
    for release in RELEASES {
        let files = install_front_end(&directories, release)?;
        announce(&format!("running Open WebUI {release} in {BROWSER}"));
        run_browser(workspace, &directories, &node, &files, release)?;
    }
    Ok(())
}

/// Installs the library that drives the browser, without a browser of its own.
fn install_driver(directories: &Directories) -> Result<PathBuf> {
    let lists = ["package.json", "package-lock.json"].map(|name| directories.scripts.join(name));
    let directory = directories.built.join("node");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .arg("--prefix")
        .arg(&directory);
    if !packages::install(npm, &lists, &directory)? {
        bail!("cannot install the packages of Node: check the network");
    }
    Ok(directory)
}

/// Downloads a release and unpacks its front end. Returns the directory of the client's files.
fn install_front_end(directories: &Directories, release: &str) -> Result<PathBuf> {
    let directory = directories.built.join(release);
    let list = directories
        .scripts
        .join(format!("open-webui-{release}.txt"));
    let files = directory.join("open_webui/frontend");
    if files.is_dir() {
        return Ok(files);
    }
    announce(&format!("downloading Open WebUI {release}"));
    packages::recreate_directory(&directory)
        .with_context(|| format!("cannot prepare {}", directory.display()))?;
    let mut pip = Command::new("python3");
    // The package is for some versions of Python, its front end for all.
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(["--ignore-requires-python", "--dest"])
        .arg(&directory)
        .arg("--requirement")
        .arg(list)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    run_to_end(pip, "download the package open-webui")?;
    let mut unpack = Command::new("python3");
    unpack
        .arg(directories.scripts.join("unpack.py"))
        .arg(&directory);
    run_to_end(unpack, "unpack the package open-webui")?;
    Ok(files)
}

fn run_browser(
    workspace: &Workspace,
    directories: &Directories,
    node: &Path,
    files: &Path,
    release: &str,
) -> Result<()> {
    let screenshots = directories.built.join("screenshots").join(release);
    let data = directories.built.join("data").join(release);
    for directory in [&screenshots, &data] {
        packages::recreate_directory(directory)
            .with_context(|| format!("cannot prepare {}", directory.display()))?;
    }
    let upstream = Upstream::start(&workspace.root.join("tests/clients/upstream.py"))?;
    let server = start_server(workspace, &data, files, &upstream.url)?;
    let mut driver = Command::new("node");
    driver
        .arg(directories.scripts.join("drive.mjs"))
        .env("CLIENT_SERVER", &server.access.url)
        .env("CLIENT_PACKAGES", node)
        .env("CLIENT_RELEASE", release)
        .env("CLIENT_SCREENSHOTS", &screenshots);
    run_to_end(driver, &format!("use Open WebUI {release} in {BROWSER}"))?;
    announce(&format!("screenshots: {}", screenshots.display()));
    Ok(())
}

/// Starts the server with the client, the engine `sketch` and a language model.
fn start_server(
    workspace: &Workspace,
    data: &Path,
    files: &Path,
    upstream_url: &str,
) -> Result<Server> {
    let mut command = server::isolated_command(workspace, data);
    command
        .env("PINHOLE_LOG", "warn")
        .env("PINHOLE_WEB_CLIENT", files)
        .env("ENABLE_SIGNUP", "true")
        .env("IMAGE_GENERATION_ENGINE", "sketch")
        .env("ENABLE_IMAGE_PROMPT_GENERATION", "false")
        .env("OPENAI_API_BASE_URL", format!("{upstream_url}/chat/v1"));
    Server::start(command)
}

fn run_to_end(mut command: Command, purpose: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot {purpose}"))?;
    if !status.success() {
        bail!("cannot {purpose}: see the message above");
    }
    Ok(())
}
