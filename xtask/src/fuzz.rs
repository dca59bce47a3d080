//! `cargo xtask fuzz`: runs each libFuzzer target for a while.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::steps::announce_build;
use crate::tools::CARGO_FUZZ;
use crate::workspace::Workspace;

/// The workspace of the libFuzzer targets.
const HARNESS: &str = "tests/fuzz/libfuzzer";
/// The seeds of each target.
const SEEDS: &str = "tests/fuzz/corpus";
/// All of our code is safe Rust: without a sanitizer it builds with the stable compiler and runs
/// faster.
const FLAGS: [&str; 4] = ["--fuzz-dir", HARNESS, "--sanitizer", "none"];
/// An input that takes longer is a finding.
const MAX_INPUT_SECS: u32 = 30;

#[derive(Args)]
pub(crate) struct Options {
    /// The only target to run
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// The statistics that libFuzzer prints at the end of a run.
#[derive(Debug, Default, PartialEq)]
struct Statistics {
    runs: u64,
    runs_per_second: u64,
    /// The edges of the program that the inputs reached.
    coverage: u64,
}

/// Builds the targets, runs each, and prints its statistics. Exits with 1 if a target has found an
/// input that violates a property.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let cargo_fuzz = CARGO_FUZZ.ensure_installed(workspace)?;
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => list_targets(workspace)?,
    };
    let programs = workspace.root.join(HARNESS).join("target");
    announce_build("building the fuzz targets", &programs, "10 minutes");
    build(workspace, &cargo_fuzz, options.target.as_deref())?;

    let programs = programs.join(host_triple(workspace)?).join("release");
    println!(
        "{:12} {:>9} {:>7} {:>9}  finding",
        "target", "runs", "runs/s", "coverage"
    );
    let mut has_findings = false;
    for target in &targets {
        has_findings |= run_target(workspace, &programs.join(target), target, options.seconds)?;
    }
    Ok(ExitCode::from(u8::from(has_findings)))
}

fn build(workspace: &Workspace, cargo_fuzz: &Path, target: Option<&str>) -> Result<()> {
    let status = workspace
        .cargo_command(cargo_fuzz, &["fuzz", "build"])
        .args(FLAGS)
        .args(target)
        .status()
        .context("cannot start cargo-fuzz")?;
    if !status.success() {
        bail!("cannot build the fuzz targets: see cargo's message above");
    }
    Ok(())
}

/// The targets, sorted by name.
fn list_targets(workspace: &Workspace) -> Result<Vec<String>> {
    let directory = workspace.root.join(HARNESS).join("fuzz_targets");
    let context = || format!("cannot read {}", workspace.display(&directory));
    let mut targets = Vec::new();
    for entry in fs::read_dir(&directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap_or_default();
            targets.push(name.to_string_lossy().into_owned());
        }
    }
    targets.sort();
    Ok(targets)
}

/// The target triple that cargo-fuzz builds for, which is part of a path.
fn host_triple(workspace: &Workspace) -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    let version = String::from_utf8_lossy(&output.stdout);
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple
        .context("rustc -vV prints no line `host: `")?
        .to_owned())
}

/// Runs a target and prints its statistics. Returns whether it has found something.
fn run_target(workspace: &Workspace, program: &Path, target: &str, seconds: u32) -> Result<bool> {
    let log_file = output_directory(workspace, &["target", "logs"])?.join(target);
    let succeeded = fuzz(workspace, program, target, seconds, &log_file)?;
    let log_name = workspace.display(&log_file);
    let log = fs::read(&log_file).with_context(|| format!("cannot read {log_name}"))?;
    let log = String::from_utf8_lossy(&log);
    let statistics = Statistics::parse(&log);
    if statistics == Statistics::default() && !succeeded {
        bail!("cannot run fuzz target {target}: see {log_name}");
    }
    let Statistics {
        runs,
        runs_per_second,
        coverage,
    } = statistics;
    let finding = if succeeded {
        "none".to_owned()
    } else {
        find_artifact(&log).unwrap_or_else(|| log_name.to_string())
    };
    println!("{target:12} {runs:>9} {runs_per_second:>7} {coverage:>9}  {finding}");
    Ok(!succeeded)
}

/// Runs libFuzzer with its output in the log file. Returns whether it succeeded.
fn fuzz(
    workspace: &Workspace,
    program: &Path,
    target: &str,
    seconds: u32,
    log_file: &Path,
) -> Result<bool> {
    let corpus = output_directory(workspace, &["target", "corpus", target])?;
    let artifacts = output_directory(workspace, &["artifacts", target])?;
    let seeds = workspace.root.join(SEEDS).join(target);
    let context = || format!("cannot write {}", workspace.display(log_file));
    let output = File::create(log_file).with_context(context)?;
    let errors = output.try_clone().with_context(context)?;
    let status = Command::new(program)
        // libFuzzer adds new inputs to the first directory: the seeds do not change.
        .args([&corpus, &seeds])
        .arg("-print_final_stats=1")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={MAX_INPUT_SECS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .stdout(output)
        .stderr(errors)
        .status();
    let status = status.with_context(|| format!("cannot start {}", workspace.display(program)))?;
    Ok(status.success())
}

/// Creates a directory in the harness that git ignores.
fn output_directory(workspace: &Workspace, steps: &[&str]) -> Result<PathBuf> {
    let mut directory = workspace.root.join(HARNESS);
    directory.extend(steps);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", workspace.display(&directory)))?;
    Ok(directory)
}

/// The file with the input that violates a property.
fn find_artifact(log: &str) -> Option<String> {
    let line = log
        .lines()
        .find(|line| line.contains("Test unit written to "))?;
    let (_, path) = line.split_once("Test unit written to ")?;
    Some(path.trim().to_owned())
}

impl Statistics {
    /// Parses the final statistics, and the last line that has a coverage.
    fn parse(log: &str) -> Self {
        let number = |name: &str| {
            log.lines()
                .rev()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
                .unwrap_or_default()
        };
        let coverage = |line: &str| {
            let (_, rest) = line.split_once(" cov: ")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Self {
            runs: number("stat::number_of_executed_units:"),
            runs_per_second: number("stat::average_exec_per_sec:"),
            coverage: log.lines().rev().find_map(coverage).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_parsed() {
        let log = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                   #900\tDONE   cov: 345 ft: 700 corp: 20/3Kb lim: 40 exec/s: 450 rss: 50Mb\n\
                   stat::number_of_executed_units: 900\n\
                   stat::average_exec_per_sec:     450\n";
        let expected = Statistics {
            runs: 900,
            runs_per_second: 450,
            coverage: 345,
        };
        assert_eq!(Statistics::parse(log), expected);
        let failure = Statistics::parse("error: cannot compile");
        assert_eq!(failure, Statistics::default());
    }

    #[test]
    fn artifact_is_found() {
        let log = "x\nartifact_prefix='a/'; Test unit written to a/crash-12\nBase64: eA==\n";
        assert_eq!(find_artifact(log).as_deref(), Some("a/crash-12"));
        assert_eq!(find_artifact("nothing"), None);
    }
}
