//! `pinhole restore`: restores a backup into a new data directory, or checks one.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cap_std::ambient_authority;
use cap_std::fs::File;
use clap::Args;
use pinhole::backup::{OnProgress, RestoreTarget, Totals, check_archive};
use pinhole::config::Config;

use super::WRONG_USE;
use super::backup::{STANDARD_STREAM, describe, progress};

#[derive(Args)]
pub(crate) struct RestoreArguments {
    /// The backup, or - for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Check the whole backup and write nothing
    #[arg(long)]
    check: bool,
}

/// Restores or checks a backup. Returns the exit code.
pub(crate) async fn restore(config: &Config, arguments: RestoreArguments) -> Result<u8> {
    let RestoreArguments { from, check } = arguments;
    let (input, length) = open(&from)?;
    let name = from.display();
    if check {
        let totals = read(move |on_progress| check_archive(input, length, on_progress));
        let totals = totals
            .await
            .with_context(|| format!("{name} cannot be restored"))?;
        println!("{name} is complete: {}", describe(&totals));
        warn_of_loss(&totals);
        return Ok(0);
    }
    let data = config.data.display();
    eprintln!("data directory: {data}");
    let target = match RestoreTarget::open(&config.data) {
        Ok(target) => target,
        Err(error) => {
            eprintln!("pinhole: {error:#}");
            return Ok(WRONG_USE);
        }
    };
    let totals = read(move |on_progress| target.restore(input, length, on_progress));
    let totals = totals
        .await
        .with_context(|| format!("cannot restore {name}"))?;
    println!("restored {} to {data}", describe(&totals));
    warn_of_loss(&totals);
    Ok(0)
}

/// The archive and its length, which is 0 if it is unknown.
fn open(from: &Path) -> Result<(Box<dyn Read + Send>, u64)> {
    if from.as_os_str() == STANDARD_STREAM {
        return Ok((Box::new(std::io::stdin()), 0));
    }
    let context = || format!("cannot read {}", from.display());
    // A person chose the path, so its links are followed.
    let file = File::open_ambient(from, ambient_authority()).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    Ok((Box::new(file), length))
}

/// Reads an archive, which takes long, with a bar.
async fn read(work: impl FnOnce(&OnProgress) -> Result<Totals> + Send + 'static) -> Result<Totals> {
    let (bar, on_progress) = progress("restore");
    // A signal ends the process at once; what is written so far has a hidden name.
    let totals = tokio::task::spawn_blocking(move || work(&on_progress)).await?;
    bar.finish_and_clear();
    totals
}

fn warn_of_loss(totals: &Totals) {
    let missing = totals.missing;
    if missing > 0 {
        eprintln!(
            "pinhole: warning: {missing} part(s) were missing or damaged on the server before the backup"
        );
    }
}
