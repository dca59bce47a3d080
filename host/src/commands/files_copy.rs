//! `pinhole files copy`: copies the bytes of files between a directory and a bucket.

use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pinhole::config::Config;
use pinhole::files::{self, CopyCounts, CopyMode, Storage, StorageProvider};
use pinhole_ground::data_dir;

use super::FAILED;

#[derive(Args)]
pub(crate) struct FilesCopy {
    /// Where the images are
    #[arg(long, value_name = "PROVIDER")]
    from: Provider,
    /// Where to copy them
    #[arg(long, value_name = "PROVIDER")]
    to: Provider,
    /// Only count what would be copied
    #[arg(long)]
    dry_run: bool,
}

/// A value of `STORAGE_PROVIDER`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    /// The data directory
    Local,
    /// The bucket of S3_BUCKET_NAME
    S3,
    /// The bucket of GCS_BUCKET_NAME
    Gcs,
    /// The container of AZURE_STORAGE_CONTAINER_NAME
    Azure,
}

/// Copies what the destination does not have, and prints how much that was. The exit code is that of a failure if
/// an image could not be copied.
pub(crate) async fn copy(config: &Config, arguments: &FilesCopy) -> Result<u8> {
    if arguments.from == arguments.to {
        bail!("--from and --to are the same: name two providers");
    }
    let from = config.storage_provider_named(arguments.from.name())?;
    let to = config.storage_provider_named(arguments.to.name())?;
    if !arguments.dry_run {
        files::check_provider(&to).await?;
    }
    let (from, to) = (open(config, &from)?, open(config, &to)?);
    let mode = if arguments.dry_run {
        CopyMode::DryRun
    } else {
        CopyMode::Write
    };
    let report = |name: &str, error: &std::io::Error| {
        eprintln!("pinhole: cannot copy {name}: {error}");
    };
    let counts = from.copy_to(&to, mode, report).await?;
    writeln!(std::io::stdout(), "{}", summary(counts, mode))?;
    if counts.failed > 0 {
        eprintln!("pinhole: run the command again: it continues with what is missing");
        return Ok(FAILED);
    }
    Ok(0)
}

impl Provider {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

fn open(config: &Config, provider: &StorageProvider) -> Result<Storage> {
    let path = config.data.display();
    let data = data_dir::open(&config.data).with_context(|| {
        format!("cannot open the data directory {path}: set PINHOLE_DATA or --data")
    })?;
    Storage::open(data, provider)
}

fn summary(counts: CopyCounts, mode: CopyMode) -> String {
    let CopyCounts {
        copied,
        copied_bytes,
        present,
        ignored,
        failed,
    } = counts;
    let verb = match mode {
        CopyMode::Write => "copied",
        CopyMode::DryRun => "would copy",
    };
    let mib = copied_bytes.div_ceil(1 << 20);
    format!(
        "{verb} {copied} file(s) of {mib} MiB; {present} present, {failed} failed, {ignored} ignored"
    )
}
