//! Pinhole's own commands: `cargo xtask run`, `test`, `clients`, `adversary`, `engines` and `bench`.
//!
//! | module | what it does |
//! |---|---|
//! | `workspace` | where the repository and its `target` folder are; cargo, run there |
//! | `targets` | adds the WebAssembly targets where they are missing |
//! | `engines` | builds guests and encodes them as components |
//! | `serve` | `run`: the server, and a first picture made with it |
//! | `server` | the server as a child process, and what it says about itself |
//! | `clients` | the official clients of others, and a fuzzer, against running servers |
//! | `fuzz` | the fuzz targets, each for a while |
//! | `http` | one HTTP request over a plain socket |

#![allow(
    clippy::disallowed_methods,
    reason = "the bans shape the server; this is a build tool, which reads the environment and writes files"
)]

mod clients;
mod engines;
mod fuzz;
mod http;
mod serve;
mod server;
mod targets;
mod workspace;

use std::path::Path;
use std::process::{self, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use workspace::Workspace;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Pinhole's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the engines into target/engines
    Engines,
    /// Builds everything, starts the server and makes a first picture
    Run(serve::Options),
    /// Builds everything and runs every test
    Test(TestOptions),
    /// Builds everything and runs the official clients of others, and a fuzzer, against servers
    Clients,
    /// Builds everything and attacks a server in every way we know
    Adversary {
        /// For `pinhole adversary`, such as `--case NAME`
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<String>,
    },
    /// Builds everything optimised and runs the benchmarks
    Bench(BenchOptions),
    /// Builds the fuzz targets and runs each for a while
    Fuzz(fuzz::Options),
}

#[derive(Args)]
struct TestOptions {
    /// For `cargo test`, such as a test's name or `--test NAME`
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    cargo: Vec<String>,
    /// For the test binaries, such as `--nocapture`
    #[arg(last = true, value_name = "TEST ARGS")]
    binaries: Vec<String>,
}

impl TestOptions {
    /// As they were typed. A `--` that clap took for its own is put back.
    fn arguments(&self) -> Vec<&str> {
        let dashes = (!self.binaries.is_empty()).then_some("--");
        let typed = self.cargo.iter().map(String::as_str);
        typed
            .chain(dashes)
            .chain(self.binaries.iter().map(String::as_str))
            .collect()
    }
}

#[derive(Args)]
struct BenchOptions {
    /// The only benchmark to run
    benchmark: Option<Benchmark>,
    /// For that benchmark, such as `--quick` or what it shall measure
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    /// A component beside native code
    Engine,
    /// The server's faces beside the upstream asked directly
    Faces,
    /// The egress beside the same HTTP client without a guard
    Guard,
    /// Events to many connected sockets
    Sockets,
    /// A well-behaved tenant beside hostile ones
    Tenants,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    execute(cli.command).unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn execute(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Engines => engines(&workspace).map(|()| ExitCode::SUCCESS),
        Command::Run(options) => {
            engines(&workspace)?;
            serve::run(&workspace, &options)
        }
        Command::Test(options) => test(&workspace, &options),
        Command::Clients => {
            engines(&workspace)?;
            serve::build(&workspace)?;
            clients::run(&workspace).map(|()| ExitCode::SUCCESS)
        }
        Command::Adversary { arguments } => adversary(&workspace, &arguments),
        Command::Bench(options) => bench(&workspace, &options),
        Command::Fuzz(options) => fuzz::run(&workspace, &options),
    }
}

fn engines(workspace: &Workspace) -> Result<()> {
    targets::ensure(workspace, &[targets::ENGINES])?;
    engines::build(workspace)
}

/// Runs every test, and before them the clients of others unless only some tests are asked for.
/// The exit code is that of `cargo test`, and its words are the last.
fn test(workspace: &Workspace, options: &TestOptions) -> Result<ExitCode> {
    targets::ensure(workspace, &[targets::ENGINES, targets::WASI])?;
    engines::build(workspace)?;
    engines::build_test_guests(workspace)?;
    serve::build(workspace)?;
    if options.arguments().is_empty() {
        clients::run(workspace)?;
    }
    let mut cargo = workspace.cargo(&["test", "--workspace"]);
    cargo.args(options.arguments());
    run_with_parts(workspace, cargo, &workspace.program())
}

/// Attacks a server, with the components that were just built.
fn adversary(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    targets::ensure(workspace, &[targets::ENGINES, targets::WASI])?;
    engines::build(workspace)?;
    engines::build_test_guests(workspace)?;
    serve::build(workspace)?;
    let mut program = process::Command::new(workspace.program());
    program
        .arg("adversary")
        .args(arguments)
        .env("PINHOLE_ENGINES", workspace.engines());
    let status = program.status().context("cannot start pinhole")?;
    Ok(workspace::as_exit_code(status))
}

/// Runs the benchmarks, one of which starts the optimised program.
fn bench(workspace: &Workspace, options: &BenchOptions) -> Result<ExitCode> {
    targets::ensure(workspace, &[targets::ENGINES, targets::WASI])?;
    engines::build(workspace)?;
    engines::build_test_guests(workspace)?;
    serve::build_optimised(workspace)?;
    let mut cargo = workspace.cargo(&["bench", "--workspace"]);
    cargo.args(options.for_cargo());
    run_with_parts(workspace, cargo, &workspace.optimised_program())
}

impl BenchOptions {
    fn for_cargo(&self) -> Vec<&str> {
        let chosen: &[&str] = match self.benchmark {
            None => &[
                "--bench", "engine", "--bench", "faces", "--bench", "guard", "--bench", "sockets",
                "--bench", "tenants",
            ],
            Some(Benchmark::Engine) => &["--bench", "engine", "--"],
            Some(Benchmark::Faces) => &["--bench", "faces", "--"],
            Some(Benchmark::Guard) => &["--bench", "guard", "--"],
            Some(Benchmark::Sockets) => &["--bench", "sockets", "--"],
            Some(Benchmark::Tenants) => &["--bench", "tenants", "--"],
        };
        let arguments = self.arguments.iter().map(String::as_str);
        chosen.iter().copied().chain(arguments).collect()
    }
}

/// Runs cargo with the names of all that was just built.
fn run_with_parts(
    workspace: &Workspace,
    mut cargo: process::Command,
    program: &Path,
) -> Result<ExitCode> {
    cargo
        .env("PINHOLE_TEST_ENGINES", workspace.engines())
        .env("PINHOLE_TEST_GUESTS", workspace.guests())
        .env("PINHOLE_TEST_PROGRAM", program);
    let status = cargo.status().context("cannot start cargo")?;
    Ok(workspace::as_exit_code(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[&str]) {
        let typed = ["cargo xtask", "test"].iter().chain(line);
        let Command::Test(options) = Cli::try_parse_from(typed).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(options.arguments(), line);
    }

    #[test]
    fn one_benchmark_gets_arguments() {
        let check = |line: &[&str], expected: &[&str]| {
            let typed = ["cargo xtask", "bench"].iter().chain(line);
            let Command::Bench(options) = Cli::try_parse_from(typed).unwrap().command else {
                panic!("another command")
            };
            assert_eq!(options.for_cargo(), expected);
        };
        let all = [
            "--bench", "engine", "--bench", "faces", "--bench", "guard", "--bench", "sockets",
            "--bench", "tenants",
        ];
        check(&[], &all);
        check(&["engine"], &["--bench", "engine", "--"]);
        let faces = ["--bench", "faces", "--", "--quick", "one", "many"];
        check(&["faces", "--quick", "one", "many"], &faces);
    }

    #[test]
    fn arguments_reach_cargo_test_as_they_were_typed() {
        check(&[]);
        check(&["sandbox"]);
        check(&["--", "--nocapture"]);
        check(&["sandbox", "--", "--nocapture"]);
        check(&["--test", "it", "-q", "swap", "--", "--exact", "x"]);
    }
}
