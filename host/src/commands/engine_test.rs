//! `pinhole engine test`: the conformance cases of an engine, against any component.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole_conformance::{Kit, Lines, Verdict};
use tokio::time::Instant;

use crate::{FAILED, WRONG_USE};

/// Where the cases are when nothing is said.
const CASES: &str = "tests/cases";

/// What `pinhole engine test` is told.
#[derive(Args)]
pub(crate) struct EngineTest {
    /// The component's file
    component: PathBuf,
    /// The folder of cases, with a folder for each engine [default: tests/cases]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Only cases whose folder begins so; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    case: Vec<String>,
}

/// Runs the cases and prints a line for each. The exit code.
pub(crate) async fn test(config: &Config, asked: EngineTest, lines: Lines) -> Result<u8> {
    let cases = asked.cases.as_deref().unwrap_or(Path::new(CASES));
    let kit = match Kit::open(
        &asked.component,
        cases,
        &asked.case,
        &config.compiler,
        lines,
    )
    .await
    {
        Ok(kit) => kit,
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
    kit.run(|played| {
        let line = match &played.verdict {
            Verdict::Passed if dim => format!("{played}  \x1b[2m{}\x1b[0m", played.cost()),
            Verdict::Passed => format!("{played}  {}", played.cost()),
            _ => played.to_string(),
        };
        match played.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed(_) => failed += 1,
            Verdict::Known(_) => known += 1,
        }
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    })
    .await;
    written?;
    let mut summary = format!("{passed} passed, {failed} failed");
    if known > 0 {
        summary.push_str(&format!(", {known} known not to pass"));
    }
    writeln!(out, "{summary} in {:.1} s", started.elapsed().as_secs_f32())?;
    Ok(if failed == 0 { 0 } else { FAILED })
}
