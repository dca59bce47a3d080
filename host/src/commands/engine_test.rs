//! `pinhole engine test`: runs the conformance cases of an engine against a component.

mod junit;
mod summary;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole::conformance_host::ConformanceHost;
use pinhole::store::Store;
use pinhole_conformance::{CapturedLog, CaseReport, ConformanceSuite, Verdict};
use pinhole_ground::data_dir;
use tokio::time::Instant;

use super::{FAILED, WRONG_USE, print_json, write_file};
use summary::Summary;

/// The default directory of cases.
const CASES: &str = "tests/cases";

#[derive(Args)]
pub(crate) struct EngineTest {
    /// Component file
    component: PathBuf,
    /// Directory of cases, with a subdirectory for each engine [default: tests/cases]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Run only cases whose name starts with PREFIX (repeatable)
    #[arg(long = "case", value_name = "PREFIX")]
    case: Vec<String>,
    /// Print a line for each case, also if it passes
    #[arg(long)]
    verbose: bool,
    /// Print one JSON object: the counts, and each case with its failures
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Write a JUnit report to FILE
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Where compiled components are stored between runs: in the cache, in the data directory of a server, or else in a
/// directory of this person.
pub(super) fn code_cache(config: &Config) -> Option<PathBuf> {
    let cache = if let Some(cache) = &config.cache {
        cache.clone()
    } else if data_dir::open(&config.data).is_ok_and(|data| Store::exists(&data, &config.database))
    {
        config.data.clone()
    } else {
        config.own_cache.clone()?
    };
    data_dir::create(&cache).ok().map(|_| cache)
}

/// Runs the cases and prints those that fail. Returns the exit code.
pub(crate) async fn test(config: &Config, arguments: EngineTest, log: CapturedLog) -> Result<u8> {
    let cases = arguments.cases.as_deref().unwrap_or(Path::new(CASES));
    let suite = match ConformanceSuite::open(
        &arguments.component,
        cases,
        &arguments.case,
        code_cache(config),
        &config.compiler.for_person(),
        log,
    )
    .await
    {
        Ok(suite) => suite,
        Err(error) => {
            eprintln!("pinhole: {error:#}");
            return Ok(WRONG_USE);
        }
    };
    let mut out = std::io::stdout();
    let dim = out.is_terminal() && config.environment.get("NO_COLOR").is_none();
    let start = Instant::now();
    let mut reports = Vec::new();
    let mut written = Ok(());
    suite
        .run::<ConformanceHost>(|report| {
            let is_failure = matches!(report.verdict, Verdict::Failed(_));
            let is_shown = !arguments.json && (arguments.verbose || is_failure);
            if is_shown && written.is_ok() {
                written = writeln!(out, "{}", line(&report, dim));
            }
            reports.push(report);
        })
        .await;
    written?;
    let summary = Summary::new(&suite.engine, start.elapsed(), &reports);
    if arguments.json {
        print_json(&summary)?;
    } else {
        writeln!(out, "{summary}")?;
    }
    if let Some(file) = &arguments.junit {
        write_file(file, &junit::report(&summary)?)?;
    }
    Ok(if summary.failed == 0 { 0 } else { FAILED })
}

/// The line of a case, with its cost if it passed.
fn line(report: &CaseReport, dim: bool) -> String {
    match &report.verdict {
        Verdict::Passed if dim => format!("{report}  \x1b[2m{}\x1b[0m", report.cost()),
        Verdict::Passed => format!("{report}  {}", report.cost()),
        Verdict::Failed(_) | Verdict::KnownFailure(_) => report.to_string(),
    }
}
