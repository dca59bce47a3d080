//! The servers of buckets for the tests: moto for S3 and Azurite for Azure, installed once and started on free ports.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::announce;
use crate::workspace::Workspace;

/// Runs a command with both outputs in one.
const JOIN_OUTPUTS: &str = "exec \"$0\" \"$@\" 2>&1";

/// The running servers. Dropping it kills them.
#[derive(Default)]
pub(crate) struct Buckets {
    servers: Vec<BucketServer>,
}

struct BucketServer {
    child: Child,
    /// The variable from which the tests read the URL.
    variable: &'static str,
    url: String,
}

/// A server that is started.
struct StartingServer {
    variable: &'static str,
    command: Command,
}

impl Buckets {
    /// Installs the missing packages and starts the servers. Prints a line for each that is skipped because a program
    /// or a network is missing: its tests then do nothing.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let lists = workspace.root.join("tests/buckets");
        let installed = workspace.target.join("buckets");
        let commands = [moto(&lists, &installed)?, azurite(&lists, &installed)?];
        let mut buckets = Self::default();
        let mut outputs = Vec::new();
        // All start at the same time.
        for StartingServer { variable, command } in commands.into_iter().flatten() {
            let (child, output) = spawn(command).with_context(|| failure(variable))?;
            buckets.servers.push(BucketServer {
                child,
                variable,
                url: String::new(),
            });
            outputs.push(output);
        }
        for (server, output) in buckets.servers.iter_mut().zip(outputs) {
            server.url = wait_for_url(output).with_context(|| failure(server.variable))?;
        }
        Ok(buckets)
    }

    /// The variables of the tests.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.servers
            .iter()
            .map(|server| (server.variable, server.url.as_str()))
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        // Both fail only if the server has stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failure(variable: &str) -> String {
    format!("cannot start the server of {variable}")
}

fn moto(lists: &Path, installed: &Path) -> Result<Option<StartingServer>> {
    if !packages::is_installed("python3") {
        announce("skipping the tests of S3: python3 is not installed");
        return Ok(None);
    }
    let (requirements, directory) = (lists.join("requirements.txt"), installed.join("python"));
    let pip = packages::pip_install(&requirements, &directory);
    if !packages::install(pip, &[requirements], &directory)? {
        announce("skipping the tests of S3: cannot install moto, check the network");
        return Ok(None);
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", JOIN_OUTPUTS, "python3", "-m", "moto.server"])
        .args(["--host", "127.0.0.1", "--port", "0"])
        .env("PYTHONPATH", directory);
    let variable = "PINHOLE_TEST_S3";
    Ok(Some(StartingServer { variable, command }))
}

fn azurite(lists: &Path, installed: &Path) -> Result<Option<StartingServer>> {
    if !packages::is_installed("node") || !packages::is_installed("npm") {
        announce("skipping the tests of Azure: node or npm is not installed");
        return Ok(None);
    }
    let files = ["package.json", "package-lock.json"].map(|name| lists.join(name));
    let directory = installed.join("node");
    let npm = packages::npm_install(&directory);
    if !packages::install(npm, &files, &directory)? {
        announce("skipping the tests of Azure: cannot install Azurite, check the network");
        return Ok(None);
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", JOIN_OUTPUTS, "node"])
        .arg(directory.join("node_modules/azurite/dist/src/blob/main.js"))
        .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
        .args(["--inMemoryPersistence", "--disableTelemetry"])
        .args(["--skipApiVersionCheck", "--silent"]);
    let variable = "PINHOLE_TEST_AZURE";
    Ok(Some(StartingServer { variable, command }))
}

fn spawn(mut command: Command) -> Result<(Child, ChildStdout)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("it has no output")?;
    Ok((child, output))
}

/// The first URL that a server prints. Further output is read and ignored.
fn wait_for_url(output: ChildStdout) -> Result<String> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next().transpose()? {
        let Some(start) = line.find("http://127.0.0.1:") else {
            continue;
        };
        thread::spawn(move || lines.for_each(drop));
        let url = line.split_at(start).1;
        return Ok(url.trim_end().trim_end_matches('/').to_owned());
    }
    bail!("it stopped before it listened")
}
