//! `pinhole files sweep`: removes expired and orphaned files.

use std::io::Write;

use anyhow::Result;
use pinhole::app;
use pinhole::config::Config;
use pinhole::files::{Confirmation, Sweep};

/// Sweeps files, with or without an administrator's confirmation, and prints how many were removed.
pub(crate) async fn sweep(config: &Config, is_confirmed: bool) -> Result<()> {
    eprintln!("data directory: {}", config.data.display());
    let files = app::open_files(config).await?;
    let confirmation = if is_confirmed {
        Confirmation::Administrator
    } else {
        Confirmation::None
    };
    let Sweep { expired, orphaned } = files.clean_up(config.file_retention, confirmation).await?;
    writeln!(
        std::io::stdout(),
        "removed {expired} expired and {orphaned} orphaned file(s)"
    )?;
    Ok(())
}
