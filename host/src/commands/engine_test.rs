//! `pinhole engine test`: runs the conformance cases of an engine against a component.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole::conformance_host::ConformanceHost;
use pinhole::store::Store;
use pinhole_conformance::{CapturedLog, ConformanceSuite, Verdict};
use pinhole_ground::data_dir;
use tokio::time::Instant;

use super::{FAILED, WRONG_USE};

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
}

/// Where compiled components are stored between runs: in the cache, in the data directory of a server, or else in a
/// directory of this person.
fn code_cache(config: &Config) -> Option<PathBuf> {
    let cache = if let Some(cache) = &config.cache {
        cache.clone()
    } else if data_dir::open(&config.data).is_ok_and(|data| data.exists(Store::FILE)) {
        config.data.clone()
    } else {
        config.own_cache.clone()?
    };
    data_dir::create(&cache).ok().map(|_| cache)
}

/// Runs the cases and prints a line for each. Returns the exit code.
pub(crate) async fn test(config: &Config, arguments: EngineTest, log: CapturedLog) -> Result<u8> {
    let cases = arguments.cases.as_deref().unwrap_or(Path::new(CASES));
    let suite = match ConformanceSuite::open(
        &arguments.component,
        cases,
        &arguments.case,
        code_cache(config),
        &config.compiler,
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
    let started = Instant::now();
    let (mut passed, mut failed, mut known) = (0, 0, 0);
    let mut written = Ok(());
    suite
        .run::<ConformanceHost>(|report| {
            let line = match &report.verdict {
                Verdict::Passed if dim => format!("{report}  \x1b[2m{}\x1b[0m", report.cost()),
                Verdict::Passed => format!("{report}  {}", report.cost()),
                _ => report.to_string(),
            };
            match report.verdict {
                Verdict::Passed => passed += 1,
                Verdict::Failed(_) => failed += 1,
                Verdict::KnownFailure(_) => known += 1,
            }
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        })
        .await;
    written?;
    let mut summary = format!("{passed} passed, {failed} failed");
    if known > 0 {
        summary.push_str(&format!(", {known} known to fail"));
    }
    writeln!(out, "{summary} in {:.1} s", started.elapsed().as_secs_f32())?;
    Ok(if failed == 0 { 0 } else { FAILED })
}
