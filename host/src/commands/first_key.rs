//! The key of the first administrator: shown on a terminal, or else written to a file.
//!
//! The output of a server that runs without a terminal ends in a journal or in the logs of containers, where others
//! can read it for years.

use std::io::{IsTerminal, stdout};
use std::path::Path;

use anyhow::{Context, Result};
use pinhole::app::App;
use pinhole_ground::data_dir;

/// The file in the data directory. Only its owner can read it.
const FILE: &str = "administrator-key";
/// More than a key has, in bytes.
const MAX_KEY_BYTES: usize = 200;

/// Creates the first administrator if there is no user. Returns a line about the key.
pub(super) async fn create(app: &App, data: &Path) -> Result<String> {
    let created = app.store.create_first_administrator().await;
    let path = data.join(FILE);
    let Some(key) = created.context("cannot create the first administrator")? else {
        if is_valid(app, &path).await? {
            return Ok(format!("administrator key: in {}", path.display()));
        }
        let line =
            "administrator key: shown at the first start; `pinhole key reset` replaces a lost one";
        return Ok(line.to_owned());
    };
    if stdout().is_terminal() {
        return Ok(format!("administrator key (shown once): {key}"));
    }
    let written = data_dir::open(data).and_then(|directory| {
        data_dir::write_whole(&directory, FILE, format!("{key}\n").as_bytes())
    });
    written.with_context(|| {
        let path = path.display();
        format!("cannot write the administrator key to {path}: create another one with `pinhole user list` and `pinhole key reset ID`")
    })?;
    Ok(format!(
        "administrator key: written to {} (only its owner can read it)",
        path.display()
    ))
}

/// True if the file has the key of a user. A file with another key is of no use and is removed.
async fn is_valid(app: &App, path: &Path) -> Result<bool> {
    let Ok(bytes) = data_dir::read_whole(path, MAX_KEY_BYTES) else {
        return Ok(false);
    };
    let key = String::from_utf8_lossy(&bytes);
    if app.store.user_by_key(key.trim()).await?.is_some() {
        return Ok(true);
    }
    if let Some(directory) = path.parent() {
        data_dir::open(directory)?.remove_file(FILE).ok();
    }
    Ok(false)
}
