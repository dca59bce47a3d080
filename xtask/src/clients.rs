//! `cargo xtask clients`: official client libraries against a running server.

mod api_fuzzer;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::server::{self, Server};
use crate::steps::announce;
use crate::workspace::Workspace;

const PYTHON_SCRIPTS: &[&str] = &["images.py", "chat.py", "dialects.py", "events.py"];
const LITELLM_SCRIPTS: &[&str] = &["litellm_client.py"];
const NODE_SCRIPTS: &[&str] = &["images.mjs", "chat.mjs", "dialects.mjs"];

/// The directories of the scripts, and of what xtask installs and writes for them.
struct Directories {
    scripts: PathBuf,
    built: PathBuf,
    target: PathBuf,
}

/// The clients of one language.
enum Clients {
    /// A command for each script.
    Ready(Vec<Command>),
    /// The reason why they do not run.
    Skipped(&'static str),
}

/// Installs the missing packages and runs every client. Prints a line for each language that is
/// skipped because a program or a network is missing.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let directories = Directories {
        scripts: workspace.root.join("tests/clients"),
        built: workspace.target.join("clients"),
        target: workspace.target.clone(),
    };
    if !packages::is_installed("python3") {
        announce("skipping the clients: python3 is not installed");
        return Ok(());
    }
    announce("running the official clients");
    let upstream = Upstream::start(&directories.scripts.join("upstream.py"))?;
    let data = directories.built.join("data");
    let server = start_server(workspace, &data, &upstream.url)?;
    for clients in [python_clients, litellm_clients, node_clients] {
        match clients(&directories)? {
            Clients::Skipped(reason) => announce(reason),
            Clients::Ready(commands) => {
                for command in commands {
                    run_client(command, &server, &upstream)?;
                }
            }
        }
    }
    drop((server, upstream));
    announce("running the OpenAPI fuzzer");
    api_fuzzer::run(workspace, &directories)
}

fn run_client(mut command: Command, server: &Server, upstream: &Upstream) -> Result<()> {
    command
        .env("CLIENT_SERVER", &server.access.url)
        .env("CLIENT_KEY", server.access.key.clone().unwrap_or_default())
        .env("CLIENT_UPSTREAM", &upstream.url);
    let script = command.get_args().next().unwrap_or_default();
    let script = script.to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start {script}"))?;
    if !status.success() {
        bail!("the client {script} failed: see its message above");
    }
    Ok(())
}

/// Python scripts and their packages.
struct PythonSuite {
    scripts: &'static [&'static str],
    /// The file with the packages.
    requirements: &'static str,
    /// The directory of the packages.
    packages: &'static str,
}

fn python_clients(directories: &Directories) -> Result<Clients> {
    python_commands(
        directories,
        &PythonSuite {
            scripts: PYTHON_SCRIPTS,
            requirements: "requirements.txt",
            packages: "python",
        },
    )
}

/// LiteLLM needs other versions of the same packages.
fn litellm_clients(directories: &Directories) -> Result<Clients> {
    python_commands(
        directories,
        &PythonSuite {
            scripts: LITELLM_SCRIPTS,
            requirements: "litellm.txt",
            packages: "litellm",
        },
    )
}

fn python_commands(directories: &Directories, suite: &PythonSuite) -> Result<Clients> {
    let requirements = directories.scripts.join(suite.requirements);
    let packages = directories.built.join(suite.packages);
    let pip = packages::pip_install(&requirements, &packages);
    if !packages::install(pip, &[requirements], &packages)? {
        return Ok(Clients::Skipped(
            "skipping Python clients: cannot install their packages, check the network",
        ));
    }
    let command = |name: &&str| {
        let mut python = Command::new("python3");
        python
            .arg(directories.scripts.join(name))
            .env("PYTHONPATH", &packages);
        python
    };
    Ok(Clients::Ready(suite.scripts.iter().map(command).collect()))
}

fn node_clients(directories: &Directories) -> Result<Clients> {
    if !packages::is_installed("node") || !packages::is_installed("npm") {
        return Ok(Clients::Skipped(
            "skipping the Node clients: node or npm is not installed",
        ));
    }
    let Some(packages) = packages::install_node_clients(&directories.scripts, &directories.target)?
    else {
        return Ok(Clients::Skipped(
            "skipping the Node clients: cannot install their packages, check the network",
        ));
    };
    let command = |name| {
        let mut node = Command::new("node");
        node.arg(directories.scripts.join(name))
            .env("CLIENT_PACKAGES", &packages);
        node
    };
    Ok(Clients::Ready(NODE_SCRIPTS.iter().map(command).collect()))
}

/// Starts the server with engine `openai` and a language model, both at this upstream.
fn start_server(workspace: &Workspace, data: &Path, upstream_url: &str) -> Result<Server> {
    packages::recreate_directory(data)
        .with_context(|| format!("cannot prepare {}", data.display()))?;
    let mut command = server::isolated_command(workspace, data);
    command
        .env("PINHOLE_LOG", "error")
        // One user sends all requests.
        .env("PINHOLE_REQUESTS_PER_MINUTE", "1000000")
        // The page of a client in a browser.
        .env("CORS_ALLOW_ORIGIN", "https://app.example")
        .env("IMAGE_GENERATION_ENGINE", "openai")
        .env("IMAGE_GENERATION_MODEL", "gpt-image-2")
        .env("IMAGE_EDIT_MODEL", "gpt-image-2")
        .env("IMAGES_OPENAI_API_BASE_URL", format!("{upstream_url}/v1"))
        .env("OPENAI_API_BASE_URL", format!("{upstream_url}/chat/v1"));
    Server::start(command)
}

/// The fake images API behind the server. Dropping it kills the process.
pub(crate) struct Upstream {
    child: Child,
    pub(crate) url: String,
}

impl Upstream {
    /// Starts the script, whose first line is its URL.
    pub(crate) fn start(script: &Path) -> Result<Self> {
        let context = || format!("cannot start {}", script.display());
        let child = Command::new("python3")
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(context)?;
        let mut upstream = Self {
            child,
            url: String::new(),
        };
        let stdout = upstream.child.stdout.take().with_context(context)?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .with_context(context)?;
        if line.is_empty() {
            bail!("{} stopped before it listened", script.display());
        }
        upstream.url = line.trim().to_owned();
        Ok(upstream)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Both fail only if the script has stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
