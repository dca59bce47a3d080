//! Other processes and users that have access to the data directory.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use cap_std::fs::{Dir, MetadataExt, Permissions, PermissionsExt};
use pinhole_ground::data_dir;

use super::small_server::{SmallServer, start_process};
use crate::image::{small_png, upload_form};
use crate::target::AttackTarget;

pub(super) async fn second_server(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let first = SmallServer::start(target, data.path(), &[]).await?;
    match start_process(target, data.path(), &[]).await {
        Ok(_) => bail!("a second server starts"),
        Err(error) => ensure!(
            error.to_string().contains("another server (process "),
            "the second server stops for another reason: {error}"
        ),
    }
    // The first was killed, which releases the directory.
    drop(first);
    start_process(target, data.path(), &[]).await?;
    Ok(())
}

pub(super) async fn readable_files(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let directory = data_dir::open(data.path())?;
    directory.set_permissions(".", Permissions::from_mode(0o755))?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let image = small_png(&[])?;
    let stored = server.client.send(upload_form("x.png", &image)).await?;
    stored.require_success("storing an image")?;
    require_private(data.path())?;
    drop(server);

    // As an earlier version, or an administrator, left them.
    for entry in directory.entries()? {
        let entry = entry?;
        let mode = if entry.metadata()?.is_dir() {
            0o755
        } else {
            0o644
        };
        directory.set_permissions(entry.file_name(), Permissions::from_mode(mode))?;
    }
    start_process(target, data.path(), &[]).await?;
    require_private(data.path())
}

/// Fails if other users can read a file.
fn require_private(path: &Path) -> Result<()> {
    let mut directories: Vec<Dir> = vec![data_dir::open(path)?];
    while let Some(directory) = directories.pop() {
        for entry in directory.entries()? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let (name, mode) = (entry.file_name(), metadata.mode() & 0o777);
            let is_open = mode & 0o077 != 0;
            ensure!(
                !is_open || metadata.is_dir(),
                "{} has the mode {mode:o}",
                name.display()
            );
            if is_open {
                directories.push(entry.open_dir()?);
            }
        }
    }
    Ok(())
}
