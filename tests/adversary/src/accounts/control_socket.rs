//! Another user of the machine who opens the control socket.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cap_std::fs::{Dir, MetadataExt, Permissions, PermissionsExt};
use pinhole_ground::data_dir;

use super::small_server::SmallServer;
use crate::target::AttackTarget;

const SOCKET: &str = "control.sock";
/// The user `nobody` of most systems.
const OTHER_USER: u32 = 65534;

pub(super) async fn other_user(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let directory = data_dir::open(data.path())?;
    directory.set_permissions(".", Permissions::from_mode(0o755))?;
    let _server = SmallServer::start(target, data.path(), &[]).await?;
    let mode = directory.symlink_metadata(SOCKET)?.mode() & 0o777;
    ensure!(mode & 0o077 == 0, "{SOCKET} has the mode {mode:o}");
    // As a mistaken `chmod` leaves them.
    for file in [SOCKET, "server.lock"] {
        directory.set_permissions(file, Permissions::from_mode(0o666))?;
    }
    connect_as_other_user(target, &directory, data.path())
}

/// Fails if another user can list the engines. Only root can act as another user.
fn connect_as_other_user(target: &AttackTarget, directory: &Dir, data: &Path) -> Result<()> {
    if directory.dir_metadata()?.uid() != 0 {
        return Ok(());
    }
    let mut command = Command::new(&target.program);
    command
        .args(["engine", "list"])
        .env_clear()
        .env("PINHOLE_DATA", data)
        .current_dir("/")
        .uid(OTHER_USER)
        .gid(OTHER_USER);
    let Ok(output) = command.output() else {
        // The other user cannot even start the program.
        return Ok(());
    };
    let message = String::from_utf8(output.stderr).context("the message is not text")?;
    ensure!(
        message.contains("may not use control.sock") && !output.status.success(),
        "another user gets {}: {message}",
        output.status
    );
    Ok(())
}
