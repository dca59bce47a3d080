//! `pinhole engine dev`: builds an engine on each change, and runs it in a private server.
//!
//! The server is part of this process, and has a data directory that is removed at the end. Build scripts and cases run in
//! process groups of their own, which are killed when they are not needed any more: whatever ends the command, no process
//! and no temporary file remain.

mod folder;
mod private_server;
mod process_group;
mod traffic_lines;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole_ground::data_dir;
use pinhole_sandbox::{MAX_COMPONENT_BYTES, TrafficRecorder};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::serve::{received, shutdown_signal};
use super::{WRONG_USE, print_error};
use folder::{Change, EngineFolder};
use private_server::PrivateServer;
use process_group::ProcessGroup;
use traffic_lines::TrafficLines;

#[derive(Args)]
pub(crate) struct EngineDev {
    /// Folder of the engine, with its build.sh
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print the bodies of requests and responses too, without secrets
    #[arg(long)]
    verbose: bool,
}

/// The engine under development.
struct Session<'a> {
    config: &'a Config,
    folder: EngineFolder,
    recorder: TrafficRecorder,
    /// Started with the first component, whose engine generates by default.
    server: watch::Sender<Option<Arc<PrivateServer>>>,
    /// The cases that run. Dropping it stops them.
    cases: Option<AbortOnDropHandle<()>>,
}

/// Builds, loads and tests the engine until it receives Ctrl-C, SIGTERM or SIGHUP. Returns the exit code.
pub(crate) async fn develop(config: &Config, arguments: EngineDev) -> Result<u8> {
    let stop = stop_signal();
    let folder = match EngineFolder::open(&arguments.folder) {
        Ok(folder) => folder,
        Err(message) => {
            eprintln!("pinhole: {message}");
            return Ok(WRONG_USE);
        }
    };
    let (recorder, mut steps) = TrafficRecorder::new();
    let mut lines = TrafficLines::new(arguments.verbose);
    let _traffic = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(step) = steps.recv().await {
            if let Some(line) = lines.line(step) {
                println!("{line}");
            }
        }
    }));
    let mut session = Session {
        config,
        folder,
        recorder,
        server: watch::Sender::default(),
        cases: None,
    };
    let _prompts = AbortOnDropHandle::new(tokio::spawn(generate(
        session.server.subscribe(),
        session.folder.build_directory(),
        read_prompts(),
    )));
    let result = tokio::select! {
        result = session.run() => result,
        () = stop => Ok(()),
    };
    let server = session.server.send_replace(None);
    drop(session);
    if let Some(server) = server {
        server.shut_down().await;
    }
    result.map(|()| 0)
}

/// Waits for Ctrl-C, SIGTERM or SIGHUP, from this call on.
fn stop_signal() -> impl Future<Output = ()> {
    let mut hangups = signal(SignalKind::hangup()).ok();
    let shutdown = shutdown_signal();
    async move {
        tokio::select! {
            () = shutdown => {}
            () = received(&mut hangups) => {}
        }
    }
}

impl Session<'_> {
    /// Never returns, unless the server cannot start.
    async fn run(&mut self) -> Result<()> {
        let mut state = self.folder.state();
        self.build_and_load().await?;
        loop {
            let (next, change) = self.folder.wait_for_change(&state).await;
            // The state of the moment before: what changes meanwhile is a change.
            state = next;
            match change {
                Change::Cases => self.run_cases(),
                Change::Source => self.build_and_load().await?,
            }
        }
    }

    /// Builds the engine and lets it serve. If that fails, the version before serves.
    async fn build_and_load(&mut self) -> Result<()> {
        self.cases = None;
        println!("building");
        if !self.build().await {
            self.print_serving("build failed");
            return Ok(());
        }
        let built = Instant::now();
        let component = match self.folder.newest_component() {
            Ok(component) => component,
            Err(message) => {
                self.print_serving(&message);
                return Ok(());
            }
        };
        let bytes = match data_dir::read_whole(&component, MAX_COMPONENT_BYTES as usize) {
            Ok(bytes) => bytes,
            Err(error) => {
                let shown = component.display();
                self.print_serving(&format!("cannot read {shown}: {error:#}"));
                return Ok(());
            }
        };
        let server = self.server(&component).await?;
        match server.load(bytes).await {
            Ok(loaded) => {
                let seconds = built.elapsed().as_secs_f32();
                for right in &loaded.granted {
                    println!("granted: {right}");
                }
                println!(
                    "{} {} serves after {seconds:.1} s",
                    loaded.engine, loaded.version
                );
                self.run_cases();
            }
            Err(reason) => self.print_serving(&format!("refused: {reason}")),
        }
        Ok(())
    }

    async fn build(&self) -> bool {
        let script = self.folder.build_script();
        let mut command = Command::new(&script);
        command.current_dir(self.folder.path());
        match ProcessGroup::spawn(command) {
            Ok(mut build) => build.wait().await,
            Err(error) => {
                println!("cannot run {}: {error}", script.display());
                false
            }
        }
    }

    /// The server. Starts it for the engine of this component file.
    async fn server(&self, component: &Path) -> Result<Arc<PrivateServer>> {
        if let Some(server) = self.server.borrow().as_ref() {
            return Ok(server.clone());
        }
        let engine = component.file_stem().unwrap_or_default().to_string_lossy();
        let server = PrivateServer::start(self.config, &engine, self.recorder.clone()).await?;
        let server = Arc::new(server);
        println!("{}", server.introduction());
        self.server.send_replace(Some(server.clone()));
        Ok(server)
    }

    fn print_serving(&self, problem: &str) {
        let serving = self.server.borrow().as_ref().and_then(|it| it.serving());
        match serving {
            Some(version) => println!("{problem}; {version} still serves"),
            None => println!("{problem}"),
        }
    }

    /// Runs the cases of the folder with the newest component, in place of those that run.
    fn run_cases(&mut self) {
        self.cases = None;
        let Some(server) = self.server.borrow().clone() else {
            return;
        };
        let Ok(component) = self.folder.newest_component() else {
            return;
        };
        let Some(cases) = self.folder.cases(&server.engine()) else {
            println!("cases: none in cases/{}", server.engine());
            return;
        };
        let mut command = Command::new(&self.config.compiler.program);
        command
            .args(["engine", "test"])
            .arg(component)
            .arg("--cases")
            .arg(cases)
            .env("PINHOLE_CACHE", server.code_cache())
            .env_remove("PINHOLE_LOG");
        self.cases = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            match ProcessGroup::spawn(command) {
                Ok(mut running) => {
                    running.wait().await;
                }
                Err(error) => println!("cannot run the cases: {error}"),
            }
        })));
    }
}

/// Makes an image with each prompt, one after the other, with the version that serves then.
async fn generate(
    server: watch::Receiver<Option<Arc<PrivateServer>>>,
    directory: PathBuf,
    mut prompts: UnboundedReceiver<String>,
) {
    while let Some(prompt) = prompts.recv().await {
        let current = server.borrow().clone();
        let Some(current) = current else {
            println!("no version serves yet");
            continue;
        };
        match current.generate(&prompt, &directory).await {
            Ok(paths) => {
                for path in paths {
                    println!("image: {}", path.display());
                }
            }
            Err(error) => {
                print_error(&error);
            }
        }
    }
}

/// The lines of standard input. Its end means nothing.
fn read_prompts() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    // A task that reads would delay the end of the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else {
                return;
            };
            let prompt = line.trim();
            if !prompt.is_empty() && sender.send(prompt.to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
