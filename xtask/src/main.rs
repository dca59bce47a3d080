//! `cargo xtask`: the commands of this repository.
//!
//! | module | content |
//! |---|---|
//! | `workspace` | the repository, its target directory, and the cargo commands that run in it |
//! | `steps` | the lines that announce each step |
//! | `wasm_targets` | adds missing WebAssembly targets |
//! | `tools`, `packages`, `authors` | install the programs and packages of others |
//! | `engines` | builds engines and encodes them as components |
//! | `postgres` | starts PostgreSQL for the tests |
//! | `programs` | builds the server and the security test suite |
//! | `pages` | builds the server's own pages with Node |
//! | `release` | builds the optimized server with the pages |
//! | `first_image`, `server`, `http` | `run`: starts the server and generates a first image |
//! | `buckets` | starts servers of S3 and Azure for the tests |
//! | `chaos` | runs hosts that fail at random |
//! | `statements` | writes the statements that PostgreSQL gets |
//! | `test`, `bench` | run the tests and benchmarks |
//! | `clients` | runs official client libraries against the server |
//! | `web_client` | runs Open WebUI's web client in a browser |
//! | `sdk` | tests of the SDKs, and the package `pinhole-sdk` |
//! | `fuzz` | runs the libFuzzer targets |
//! | `deny` | checks licenses, banned crates and sources |
//! | `prose` | checks spelling and the word list |

#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the server; this build tool reads the environment and writes files"
)]

mod authors;
mod bench;
mod browser;
mod buckets;
#[cfg(test)]
mod c_bindings;
mod chaos;
mod clients;
mod deny;
mod engines;
mod first_image;
mod fuzz;
mod http;
mod packages;
mod pages;
mod postgres;
mod programs;
mod prose;
mod redis;
mod release;
mod sdk;
mod server;
mod statements;
mod steps;
mod test;
mod tools;
mod wasm_targets;
mod web_client;
mod workspace;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The commands of this repository")]
struct Cli {
    #[command(subcommand)]
    command: XtaskCommand,
}

#[derive(Subcommand)]
enum XtaskCommand {
    /// Build the engines into target/engines
    Engines,
    /// Build everything, start the server and generate a first image
    Run(first_image::Options),
    /// Build the server's own pages into host/ui/dist
    Pages,
    /// Build the engines and the optimized server with its pages
    Release,
    /// Build everything and run the tests
    Test(test::Options),
    /// Pack and build the package pinhole-sdk, and run the unit tests of the other SDKs
    Sdk,
    /// Run official client libraries and an OpenAPI fuzzer against the server
    Clients,
    /// Use every page of the server in a browser, and look for faults
    Browse,
    /// Run Open WebUI's web client in a browser, in front of the server
    WebClient,
    /// Write the statements of this version into tests/sql, for the tests of later versions
    Statements,
    /// Run the security test suite against a server
    Adversary {
        /// For `pinhole-adversary`, such as `--case NAME`
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<String>,
    },
    /// Run the benchmarks, optimized
    Bench(bench::Options),
    /// Run several hosts that fail at random while clients send jobs to them
    Chaos(chaos::Options),
    /// Run each fuzz target for a while
    Fuzz(fuzz::Options),
    /// Check the licenses and sources of dependencies, and that none is banned
    Deny,
    /// Check spelling and the word list
    Prose(prose::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    execute(cli.command).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn execute(command: XtaskCommand) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        XtaskCommand::Engines => engines::build(&workspace)?,
        XtaskCommand::Pages => {
            pages::build(&workspace)?;
        }
        XtaskCommand::Release => release::run(&workspace)?,
        XtaskCommand::Run(options) => {
            pages::build(&workspace)?;
            engines::build(&workspace)?;
            programs::build_server(&workspace)?;
            return first_image::run(&workspace, &options);
        }
        XtaskCommand::Test(options) => {
            return test::run(&workspace, &options, test::Setup::default());
        }
        XtaskCommand::Chaos(options) => return chaos::run(&workspace, &options),
        XtaskCommand::Sdk => {
            wasm_targets::ensure_installed(&workspace, &[wasm_targets::ENGINES])?;
            authors::install_packages(&workspace)?;
            sdk::run_tests(&workspace)?;
        }
        XtaskCommand::Browse => {
            if pages::build(&workspace)? {
                engines::build_with_test_guests(&workspace)?;
                programs::build_server(&workspace)?;
                browser::run(&workspace)?;
            }
        }
        XtaskCommand::Clients => {
            pages::build(&workspace)?;
            engines::build(&workspace)?;
            programs::build_server(&workspace)?;
            clients::run(&workspace)?;
        }
        XtaskCommand::WebClient => {
            engines::build(&workspace)?;
            programs::build_server(&workspace)?;
            web_client::run(&workspace)?;
        }
        XtaskCommand::Adversary { arguments } => return run_adversary(&workspace, &arguments),
        XtaskCommand::Bench(options) => return bench::run(&workspace, &options),
        XtaskCommand::Fuzz(options) => return fuzz::run(&workspace, &options),
        XtaskCommand::Statements => return statements::run(&workspace),
        XtaskCommand::Deny => deny::run(&workspace)?,
        XtaskCommand::Prose(options) => return prose::run(&workspace, &options),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the security test suite with the components and the server that were just built.
fn run_adversary(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    engines::build_with_test_guests(workspace)?;
    programs::build_server(workspace)?;
    programs::build_adversary(workspace)?;
    let status = Command::new(workspace.adversary_program())
        .args(arguments)
        .env("PINHOLE_ENGINES", workspace.engines())
        .env("PINHOLE_PROGRAM", workspace.server_program())
        .status()
        .context("cannot start pinhole-adversary")?;
    Ok(workspace::exit_code(status))
}
