//! `pinhole-adversary`: runs the security test suite against a server and reports which attacks failed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use pinhole::config::Config;
use pinhole_adversary::{InstalledServer, Options, Verdict};
use tokio::time::Instant;

/// An attack succeeded.
const ATTACK_SUCCEEDED: u8 = 1;
/// The suite cannot run.
const CANNOT_RUN: u8 = 2;

/// Run the security test suite against a server
///
/// Exit codes: 0 if every attack failed, 1 if an attack succeeded, 2 if the suite cannot run.
#[derive(Parser)]
#[command(name = "pinhole-adversary", version)]
struct Cli {
    /// Run only cases whose name starts with NAME (repeatable)
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// URL of a running server, such as http://127.0.0.1:8080 [default: start a server]
    #[arg(long, value_name = "URL", requires = "key")]
    against: Option<String>,
    /// An administrator's key of that server
    #[arg(long, value_name = "KEY", requires = "against")]
    key: Option<String>,
    /// Directory of hostile components [default: `guests`, next to the engine directory]
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// The program `pinhole` [default: `pinhole`, next to this program]
    #[arg(long, value_name = "FILE", env = "PINHOLE_PROGRAM")]
    program: Option<PathBuf>,
    /// List the cases, with their guards, without running them
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await.unwrap_or_else(|error| {
        eprintln!("pinhole-adversary: {error:#}");
        ExitCode::from(CANNOT_RUN)
    })
}

async fn run(cli: Cli) -> Result<ExitCode> {
    if cli.list {
        list_cases()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut config = Config::from_environment(None)?;
    let program = find_program(cli.program)?;
    if config.environment.get("PINHOLE_COMPILER").is_none() {
        config.compiler.program.clone_from(&program);
    }
    let server = |(url, key)| InstalledServer { url, key };
    let options = Options {
        cases: cli.cases,
        program,
        components: cli
            .components
            .unwrap_or_else(|| config.engines.with_file_name("guests")),
        against: cli.against.zip(cli.key).map(server),
    };
    run_cases(&config, &options).await
}

/// The program `pinhole`: the given one, else the one next to this program.
fn find_program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = match given {
        Some(program) => program,
        None => std::env::current_exe()
            .context("cannot find the directory of this program")?
            .with_file_name("pinhole"),
    };
    ensure!(
        program.is_file(),
        "cannot find the program {}: build it with `cargo build --bin pinhole`, or name it with --program",
        program.display()
    );
    Ok(program)
}

/// Runs the selected cases and prints a line for each.
async fn run_cases(config: &Config, options: &Options) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let start = Instant::now();
    let (mut blocked, mut failed, mut skipped) = (0, 0, 0);
    let mut written = Ok(());
    pinhole_adversary::run(config, options, |report| {
        match report.verdict {
            Verdict::Blocked => blocked += 1,
            Verdict::Failed(_) => failed += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
        if written.is_ok() {
            written = writeln!(out, "{report}");
        }
    })
    .await?;
    written.context("cannot write to the standard output")?;
    let seconds = start.elapsed().as_secs();
    writeln!(
        out,
        "{blocked} attacks blocked, {failed} succeeded, {skipped} skipped; {seconds} s"
    )?;
    Ok(if failed > 0 {
        ExitCode::from(ATTACK_SUCCEEDED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints a line for each case: its name, its guards and what must hold.
fn list_cases() -> Result<()> {
    let mut out = std::io::stdout();
    for case in pinhole_adversary::cases() {
        let guards: Vec<&str> = case.guards.iter().map(|guard| guard.name()).collect();
        let guards = guards.join(",");
        writeln!(out, "{}\t{guards}\t{}", case.name, case.guarantee)?;
    }
    Ok(())
}
