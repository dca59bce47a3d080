//! `cargo xtask test`: builds what the tests need, and runs them with nextest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::buckets::Buckets;
use crate::postgres::{PostgresServer, PostgresUse};
use crate::redis::TestRedis;
use crate::steps::{announce, announce_build};
use crate::tools::CARGO_NEXTEST;
use crate::workspace::{self, Workspace};
use crate::{authors, browser, clients, engines, packages, pages, programs, sdk};

/// The data directory, in the target directory, with the engines' code.
const TEST_DATA: &str = "test-data";
/// The variable with the URL of a PostgreSQL server, without a database. Tests create databases of their own.
pub(crate) const POSTGRES_URL: &str = "PINHOLE_TEST_POSTGRES";
/// The variable with the directory of PostgreSQL's programs. Tests of fail-over start servers of their own.
const POSTGRES_PROGRAMS: &str = "PINHOLE_TEST_POSTGRES_PROGRAMS";
/// The variable with the URL of a Redis.
pub(crate) const REDIS_URL: &str = "PINHOLE_TEST_REDIS";
/// The variable with the library that gives a server another clock, for `LD_PRELOAD`.
const FAKETIME: &str = "PINHOLE_TEST_FAKETIME";

#[derive(Args)]
#[command(after_help = "\
Without arguments: the official clients, the pages in a browser, the documentation tests and all other tests.
With arguments, only the tests that `cargo nextest run ARGS` selects:
  cargo xtask test chat::                        tests whose path contains chat::
  cargo xtask test --test it chat::              the same, only in the integration tests
  cargo xtask test -p pinhole-egress             the tests of one package
  cargo xtask test -E 'test(/^chat::/)'          a nextest filter expression
  cargo xtask test NAME --no-capture             with the output of the test
  PINHOLE_TEST_DATABASE=postgres cargo xtask test gallery::     servers use PostgreSQL
  cargo xtask test -- --exact chat::reply        the one test with this path")]
pub(crate) struct Options {
    /// For `cargo nextest run`, such as part of a test's path or `--test NAME`
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    nextest: Vec<String>,
    /// After `--`: `--exact`, `--skip NAME` and names, as for `cargo test`
    #[arg(last = true, value_name = "TEST ARGS")]
    test_binary: Vec<String>,
}

impl Options {
    /// Only these arguments for nextest.
    pub(crate) fn of_nextest(arguments: &[&str]) -> Self {
        Self {
            nextest: arguments.iter().map(|it| (*it).to_owned()).collect(),
            test_binary: Vec::new(),
        }
    }

    /// The arguments as a person typed them, with the `--` that clap removes.
    fn typed(&self) -> Vec<&str> {
        let separator = (!self.test_binary.is_empty()).then_some("--");
        self.nextest
            .iter()
            .map(String::as_str)
            .chain(separator)
            .chain(self.test_binary.iter().map(String::as_str))
            .collect()
    }

    /// The arguments of nextest: those typed, for the whole workspace unless they name a package.
    fn nextest_arguments(&self) -> Vec<&str> {
        let names_package = self.nextest.iter().any(|argument| {
            argument == "--package"
                || argument.starts_with("--package=")
                || is_short_package(argument)
        });
        let mut arguments = vec!["nextest", "run"];
        if !names_package {
            arguments.push("--workspace");
        }
        arguments.extend(self.typed());
        arguments
    }
}

fn is_short_package(argument: &str) -> bool {
    argument.starts_with("-p") && !argument.starts_with("--")
}

/// What a run of tests has in addition.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// The directory in which PostgreSQL logs the tests' statements.
    pub(crate) statement_log: Option<&'a Path>,
}

/// Runs all tests, or those that the arguments select. The exit code is that of nextest, and its
/// summary is the last output.
pub(crate) fn run(workspace: &Workspace, options: &Options, setup: Setup<'_>) -> Result<ExitCode> {
    let nextest = CARGO_NEXTEST.ensure_installed(workspace)?;
    let has_pages = pages::build(workspace)?;
    engines::build_with_test_guests(workspace)?;
    let runs_all = options.typed().is_empty();
    if runs_all {
        programs::build_server_and_tests(workspace)?;
    } else {
        programs::build_server(workspace)?;
    }
    compile_engines(workspace)?;
    authors::install_packages(workspace)?;
    if runs_all {
        clients::run(workspace)?;
        if has_pages {
            pages::test(workspace)?;
            browser::run(workspace)?;
        }
        run_documentation_tests(workspace)?;
        sdk::run_tests(workspace)?;
    }
    let purpose = match setup.statement_log {
        Some(log) => PostgresUse::StatementLog(log),
        None => PostgresUse::Tests,
    };
    let postgres = PostgresServer::start(purpose);
    let buckets = Buckets::start(workspace)?;
    let redis = TestRedis::start()?;
    let binaries = workspace.target.join("nextest");
    announce_build(
        "building and running the tests, which run for about 6 minutes",
        &binaries,
        "3 minutes",
    );
    let server_program = workspace.server_program();
    let mut command = workspace.cargo_command(&nextest, &options.nextest_arguments());
    if let Some(postgres) = &postgres {
        command.env(POSTGRES_URL, postgres.url());
        command.env(POSTGRES_PROGRAMS, postgres.programs());
    }
    command.envs(buckets.variables());
    if let Some(redis) = &redis {
        command.env(REDIS_URL, redis.url());
    }
    match faketime_library() {
        Ok(library) => {
            command.env(FAKETIME, library);
        }
        Err(error) => announce(&format!("skipping servers with other clocks: {error}")),
    }
    command.envs(setup.variables.iter().copied());
    run_with_test_environment(workspace, command, &server_program)
}

/// The library of Debian's package `faketime`, as `LD_PRELOAD` names it.
fn faketime_library() -> Result<String> {
    packages::install_system_package("faketime")?;
    let output = Command::new("faketime")
        .args(["-m", "-f", "+0s", "printenv", "LD_PRELOAD"])
        .output()
        .context("cannot start faketime")?;
    let library = String::from_utf8(output.stdout).context("faketime names no library")?;
    Ok(library.trim().to_owned())
}

/// Compiles the engines once for all tests: each test runs in a process of its own, with a data
/// directory of its own. Code of older engines is removed.
fn compile_engines(workspace: &Workspace) -> Result<()> {
    announce("compiling the engines for the tests");
    let data = workspace.target.join(TEST_DATA);
    let engines = engines::components(workspace);
    let inputs: Vec<&Path> = engines.iter().map(PathBuf::as_path).collect();
    let stamp = data.join("xtask-stamp");
    if !engines::is_current(&stamp, &inputs) {
        packages::recreate_directory(&data)
            .with_context(|| format!("cannot prepare {}", data.display()))?;
    }
    let status = Command::new(workspace.server_program())
        .args(["engine", "list"])
        .env_clear()
        .env("PINHOLE_ENGINES", workspace.engines())
        .env("PINHOLE_DATA", &data)
        .stdout(Stdio::null())
        .status()
        .context("cannot start pinhole engine list")?;
    if !status.success() {
        bail!("cannot compile the engines: see the message of pinhole engine list above");
    }
    fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))
}

fn run_documentation_tests(workspace: &Workspace) -> Result<()> {
    announce("building and running the documentation tests");
    // `--workspace --doc` would run those of packages with `doctest = false` as well.
    let packages = workspace.packages_with_doctests.iter();
    let status = workspace
        .cargo(&["test", "--doc", "--quiet"])
        // The same features as in the whole workspace, so that cargo builds nothing again.
        .args(["--package", "workspace-hack"])
        .args(["--features", "workspace-hack/wasm"])
        .args(packages.flat_map(|package| ["--package", package]))
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the documentation tests failed: see cargo's message above");
    }
    Ok(())
}

/// Runs cargo with the paths of the components and programs that were just built.
pub(crate) fn run_with_test_environment(
    workspace: &Workspace,
    mut cargo: Command,
    server_program: &Path,
) -> Result<ExitCode> {
    cargo
        .env("PINHOLE_TEST_ENGINES", workspace.engines())
        .env("PINHOLE_TEST_GUESTS", workspace.guests())
        .env("PINHOLE_TEST_PROGRAM", server_program)
        .env("PINHOLE_TEST_AUTHORS", authors::directory(workspace))
        .env(
            "PINHOLE_TEST_COMPILED",
            workspace.target.join(TEST_DATA).join("compiled"),
        )
        // Without it, insta starts cargo in each test process to find the snapshots.
        .env("INSTA_WORKSPACE_ROOT", &workspace.root);
    let status = cargo.status().context("cannot start cargo")?;
    Ok(workspace::exit_code(status))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Options {
        let typed = ["test"].iter().chain(arguments);
        Cli::try_parse_from(typed).unwrap().options
    }

    #[test]
    fn arguments_reach_nextest_unchanged() {
        for arguments in [
            &[][..],
            &["sandbox"],
            &["--", "--exact", "x"],
            &["sandbox", "--", "--skip", "x"],
            &[
                "--test", "it", "-E", "test(a)", "chat::", "--", "--exact", "x",
            ],
        ] {
            assert_eq!(parse(arguments).typed(), arguments);
        }
    }

    #[test]
    fn nextest_runs_the_workspace_unless_a_package_is_named() {
        let check = |arguments: &[&str], expected: &[&str]| {
            assert_eq!(parse(arguments).nextest_arguments(), expected);
        };
        check(&["x"], &["nextest", "run", "--workspace", "x"]);
        check(&["-p", "sdk"], &["nextest", "run", "-p", "sdk"]);
        check(&["--package=sdk"], &["nextest", "run", "--package=sdk"]);
        check(
            &["--profile", "ci"],
            &["nextest", "run", "--workspace", "--profile", "ci"],
        );
    }
}
