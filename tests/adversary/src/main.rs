//! `pinhole adversary`: attacks a server, and says which attacks failed.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use crate::{self, Options, Verdict};
use pinhole::config::Config;
use tokio::time::Instant;

use crate::{FAILED, WRONG_USE};

/// What `pinhole adversary` is told.
#[derive(Args)]
pub(crate) struct AdversaryTest {
    /// Only cases whose names begin so; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// A server that runs already, such as http://127.0.0.1:8080; one is started when left out
    #[arg(long, value_name = "URL", requires = "key")]
    against: Option<String>,
    /// An administrator's key of that server
    #[arg(long, value_name = "KEY", requires = "against")]
    key: Option<String>,
    /// The folder of hostile components [default: guests beside the folder of engines]
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// Name the cases, with the checks that each guards, and run none
    #[arg(long)]
    list: bool,
}

/// Runs the cases and prints a line for each. The exit code.
pub(crate) async fn test(config: &Config, asked: AdversaryTest) -> Result<u8> {
    let mut out = std::io::stdout();
    if asked.list {
        return list(&mut out).map(|()| 0);
    }
    let options = Options {
        cases: asked.cases,
        components: asked
            .components
            .unwrap_or_else(|| config.engines.with_file_name("guests")),
        against: asked.against.zip(asked.key),
    };
    let started = Instant::now();
    let (mut held, mut failed, mut skipped) = (0, 0, 0);
    let mut written = Ok(());
    let ran = adversary::run(config, &options, |played| {
        match played.verdict {
            Verdict::Held => held += 1,
            Verdict::Failed(_) => failed += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
        if written.is_ok() {
            written = writeln!(out, "{played}");
        }
    });
    if let Err(error) = ran.await {
        eprintln!("pinhole: {error:#}");
        return Ok(WRONG_USE);
    }
    written?;
    let seconds = started.elapsed().as_secs();
    writeln!(
        out,
        "{held} attacks failed as they must, {failed} succeeded, {skipped} were not tried; {seconds} s"
    )?;
    Ok(if failed > 0 { FAILED } else { 0 })
}

/// One line a case: its name, the checks it guards, and what must not happen.
fn list(out: &mut impl Write) -> Result<()> {
    for case in adversary::cases() {
        let guards: Vec<_> = case.guards.iter().map(|check| check.name()).collect();
        writeln!(
            out,
            "{}\t{}\t{}",
            case.name,
            guards.join(","),
            case.must_not
        )?;
    }
    Ok(())
}
