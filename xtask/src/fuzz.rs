//! The fuzz targets, each for a while.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::Workspace;

/// Where cargo-fuzz finds the targets.
const FOLDER: &str = "fuzz";
/// All our code is safe Rust: without a sanitizer the stable compiler will do, and it runs faster.
const FLAGS: [&str; 4] = ["--fuzz-dir", FOLDER, "--sanitizer", "none"];
/// An input that takes longer counts as found, in seconds.
const MAX_INPUT_SECS: u32 = 30;

#[derive(Args)]
pub(crate) struct Options {
    /// The only target to run
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// What libFuzzer said of a run.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    runs: u64,
    runs_per_second: u64,
    /// Edges of the program that were taken.
    coverage: u64,
}

/// Builds the targets, runs each, and prints a line of figures for it. Fails where one has found
/// an input that breaks a property.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    ensure(workspace)?;
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets(workspace)?,
    };
    let mut build = vec!["fuzz", "build"];
    build.extend(FLAGS);
    build.extend(options.target.as_deref());
    workspace.build("a fuzz target", &build)?;
    let programs = workspace.root.join(FOLDER).join("target");
    let programs = programs.join(host_triple(workspace)?).join("release");
    println!(
        "{:12} {:>9} {:>7} {:>9}  found",
        "target", "runs", "runs/s", "coverage"
    );
    let mut found = false;
    for target in &targets {
        found |= run_target(workspace, &programs.join(target), target, options.seconds)?;
    }
    Ok(ExitCode::from(u8::from(found)))
}

/// Makes sure that there is a `cargo fuzz`.
fn ensure(workspace: &Workspace) -> Result<()> {
    let mut asking = workspace.cargo(&["fuzz", "--version"]);
    asking.stdout(Stdio::null()).stderr(Stdio::null());
    if asking.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("cargo-fuzz is missing and is being installed");
    workspace.build("cargo-fuzz", &["install", "--locked", "cargo-fuzz"])
}

/// The targets, in the order of their names.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join(FOLDER).join("fuzz_targets");
    let cannot = || format!("cannot read {}", workspace.shown(&folder));
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap_or_default();
            targets.push(name.to_string_lossy().into_owned());
        }
    }
    targets.sort();
    Ok(targets)
}

/// What cargo-fuzz builds for, which names a folder: this machine.
fn host_triple(workspace: &Workspace) -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let triple = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple
        .context("rustc does not say what it runs on")?
        .to_owned())
}

/// Runs one target as it was built. True where it has found something.
fn run_target(workspace: &Workspace, program: &Path, target: &str, seconds: u32) -> Result<bool> {
    let grown = made_folder(workspace, &["target", "corpus", target])?;
    let artifacts = made_folder(workspace, &["artifacts", target])?;
    let seeds = workspace.root.join(FOLDER).join("corpus").join(target);
    let log = made_folder(workspace, &["target", "logs"])?.join(target);
    let shown = || format!("cannot write {}", workspace.shown(&log));
    let output = File::create(&log).with_context(shown)?;
    let errors = output.try_clone().with_context(shown)?;
    // What libFuzzer finds worth keeping goes into the first folder: the seeds stay as they are.
    let status = Command::new(program)
        .args([&grown, &seeds])
        .arg("-print_final_stats=1")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={MAX_INPUT_SECS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .stdout(output)
        .stderr(errors)
        .status();
    let status = status.with_context(|| format!("cannot start {}", workspace.shown(program)))?;
    let said = fs::read(&log).with_context(|| format!("cannot read {}", workspace.shown(&log)))?;
    let said = String::from_utf8_lossy(&said);
    let figures = Figures::read(&said);
    if figures == Figures::default() && !status.success() {
        bail!(
            "fuzz target {target} did not run: {} says why",
            workspace.shown(&log)
        );
    }
    let Figures {
        runs,
        runs_per_second,
        coverage,
    } = figures;
    let found = match status.success() {
        true => "nothing".to_owned(),
        false => artifact(&said).unwrap_or_else(|| workspace.shown(&log).to_string()),
    };
    println!("{target:12} {runs:>9} {runs_per_second:>7} {coverage:>9}  {found}");
    Ok(!status.success())
}

/// A folder in that of the targets, which git does not keep.
fn made_folder(workspace: &Workspace, steps: &[&str]) -> Result<PathBuf> {
    let mut folder = workspace.root.join(FOLDER);
    folder.extend(steps);
    let cannot = || format!("cannot make {}", workspace.shown(&folder));
    fs::create_dir_all(&folder).with_context(cannot)?;
    Ok(folder)
}

/// The file with the input that broke a property.
fn artifact(said: &str) -> Option<String> {
    let line = said
        .lines()
        .find(|line| line.contains("Test unit written to "))?;
    let (_, path) = line.split_once("Test unit written to ")?;
    Some(path.trim().to_owned())
}

impl Figures {
    /// From the lines of statistics, and the last one that tells a coverage.
    fn read(said: &str) -> Self {
        let stat = |name: &str| {
            let lines = said.lines().rev();
            let mut found = lines.filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            found.next().unwrap_or_default()
        };
        let covers = |line: &str| {
            let (_, rest) = line.split_once(" cov: ")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Self {
            runs: stat("stat::number_of_executed_units:"),
            runs_per_second: stat("stat::average_exec_per_sec:"),
            coverage: said.lines().rev().find_map(covers).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_libfuzzer_says() {
        let said = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #900\tDONE   cov: 345 ft: 700 corp: 20/3Kb lim: 40 exec/s: 450 rss: 50Mb\n\
                    stat::number_of_executed_units: 900\n\
                    stat::average_exec_per_sec:     450\n";
        let expected = Figures {
            runs: 900,
            runs_per_second: 450,
            coverage: 345,
        };
        assert_eq!(Figures::read(said), expected);
        assert_eq!(Figures::read("error: it did not build"), Figures::default());
    }

    #[test]
    fn the_input_that_was_found_is_named() {
        let said = "x\nartifact_prefix='a/'; Test unit written to a/crash-12\nBase64: eA==\n";
        assert_eq!(artifact(said).as_deref(), Some("a/crash-12"));
        assert_eq!(artifact("nothing"), None);
    }
}
