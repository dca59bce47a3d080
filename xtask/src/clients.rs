//! `cargo xtask clients`: the official clients of others against a running server, script by script.

mod fuzz;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::server::Server;
use crate::workspace::Workspace;

/// Installs what is missing and runs every client. Where a tool or a network is missing, one line
/// says what was left out.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let place = Place {
        scripts: workspace.root.join("tests/clients"),
        built: workspace.target.join("clients"),
    };
    if !is_there("python3") {
        println!("clients are left out: python3 is not there");
        return Ok(());
    }
    let (upstream, address) = Upstream::start(&place.scripts.join("upstream.py"))?;
    let server = serve(workspace, &place.built.join("data"), &address)?;
    let key = server.facts.key.clone().unwrap_or_default();
    for clients in [python, node] {
        let commands = match clients(&place)? {
            Ready::Left(why) => {
                println!("{why}");
                continue;
            }
            Ready::Commands(commands) => commands,
        };
        for mut command in commands {
            command
                .env("CLIENT_SERVER", &server.facts.address)
                .env("CLIENT_KEY", &key)
                .env("CLIENT_UPSTREAM", &address);
            let script = command.get_args().next().unwrap_or_default();
            let named = script.to_string_lossy().into_owned();
            let status = command
                .status()
                .with_context(|| format!("cannot start {named}"))?;
            if !status.success() {
                bail!("the client {named} failed: its message above says why");
            }
        }
    }
    drop((server, upstream));
    fuzz::run(workspace, &place)
}

/// Where scripts lie, and where their packages are installed.
struct Place {
    scripts: PathBuf,
    built: PathBuf,
}

/// The clients of one language.
enum Ready {
    Commands(Vec<Command>),
    /// Why they are left out.
    Left(String),
}

/// Scripts, each a client of its own.
const PYTHON: &[&str] = &["images.py", "chat.py", "events.py"];
const NODE: &[&str] = &["images.mjs", "chat.mjs"];

fn python(place: &Place) -> Result<Ready> {
    let wanted = place.scripts.join("requirements.txt");
    let packages = place.built.join("python");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--retries=1",
        "--no-deps",
        "--target",
    ])
    .arg(&packages)
    .arg("--requirement")
    .arg(&wanted)
    .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    if !install(pip, &[wanted], &packages)? {
        return Ok(Ready::Left(
            "the Python clients are left out: their packages cannot be installed, is there a network?"
                .to_owned(),
        ));
    }
    let script = |name| {
        let mut command = Command::new("python3");
        command
            .arg(place.scripts.join(name))
            .env("PYTHONPATH", &packages);
        command
    };
    Ok(Ready::Commands(PYTHON.iter().map(script).collect()))
}

fn node(place: &Place) -> Result<Ready> {
    if !is_there("node") || !is_there("npm") {
        let why = "the Node clients are left out: node or npm is not there";
        return Ok(Ready::Left(why.to_owned()));
    }
    let wanted = ["package.json", "package-lock.json"].map(|name| place.scripts.join(name));
    let packages = place.built.join("node");
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=0",
        "--prefix",
    ])
    .arg(&packages);
    if !install(npm, &wanted, &packages)? {
        return Ok(Ready::Left(
            "the Node clients are left out: their packages cannot be installed, is there a network?"
                .to_owned(),
        ));
    }
    let script = |name| {
        let mut command = Command::new("node");
        command
            .arg(place.scripts.join(name))
            .env("CLIENT_PACKAGES", &packages);
        command
    };
    Ok(Ready::Commands(NODE.iter().map(script).collect()))
}

/// Runs an installer in a fresh folder that holds copies of the files that say what is wanted,
/// unless just that is installed already. False where the installer failed.
fn install(mut installer: Command, wanted: &[PathBuf], packages: &Path) -> Result<bool> {
    let done = packages.join("installed");
    let mut stamp = Vec::new();
    for file in wanted {
        let read = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        stamp.extend(read);
    }
    if fs::read(&done).is_ok_and(|installed| installed == stamp) {
        return Ok(true);
    }
    let named = || format!("cannot prepare {}", packages.display());
    make_fresh(packages).with_context(named)?;
    for file in wanted {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, packages.join(name)).with_context(named)?;
    }
    // What installers have to say about a missing network is pages long.
    if !installer.output().is_ok_and(|said| said.status.success()) {
        return Ok(false);
    }
    fs::write(done, stamp).with_context(named)?;
    Ok(true)
}

fn make_fresh(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
}

fn is_there(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("--version").stdout(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

/// The server that was just built, with engine `openai` and a language model in front of this
/// upstream.
fn serve(workspace: &Workspace, data: &Path, upstream: &str) -> Result<Server> {
    make_fresh(data).with_context(|| format!("cannot prepare {}", data.display()))?;
    let mut command = Command::new(workspace.program());
    command
        .args(["serve", "--listen=127.0.0.1:0"])
        // What a developer has set for his own server is not for this one.
        .env_clear()
        .env("PINHOLE_ENGINES", workspace.engines())
        .env("PINHOLE_DATA", data)
        .env("PINHOLE_LOG", "error")
        .env("IMAGE_GENERATION_ENGINE", "openai")
        .env("IMAGE_GENERATION_MODEL", "gpt-image-2")
        .env("IMAGE_EDIT_MODEL", "gpt-image-2")
        .env("IMAGES_OPENAI_API_BASE_URL", format!("{upstream}/v1"))
        .env("OPENAI_API_BASE_URL", format!("{upstream}/chat/v1"));
    Server::start(command)
}

/// The images API that the clients' server asks; ended when dropped.
struct Upstream(Child);

impl Upstream {
    /// Starts the script, whose first line is its address.
    fn start(script: &Path) -> Result<(Self, String)> {
        let named = || format!("cannot start {}", script.display());
        let child = Command::new("python3")
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(named)?;
        let mut upstream = Self(child);
        let stdout = upstream.0.stdout.take().with_context(named)?;
        let mut address = String::new();
        BufReader::new(stdout)
            .read_line(&mut address)
            .with_context(named)?;
        if address.is_empty() {
            bail!("{} ended before it listened", script.display());
        }
        Ok((upstream, address.trim().to_owned()))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Both fail only for a script that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
