//! The control socket: how commands of this machine reach the server that runs.
//!
//! # What it prevents
//!
//! A command that changes the database behind a server's back is unknown to the server until it restarts, and a key on a
//! command line is in the list of processes. So commands speak to the server, and the operating system says who they
//! are.
//!
//! # How
//!
//! `control.sock` in the data directory is accessible to the server's user only, before it accepts connections. The server
//! asks the system for the user of each connection, and serves itself and root: also if the permissions of the file
//! were changed.
//!
//! # Invariant
//!
//! Only connections of this listener get [`CommandLine`], and nothing that a client sends can.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cap_std::fs::{Permissions, PermissionsExt};
use pinhole_ground::data_dir::{self, DataLock};
use pinhole_ground::guard::{Guard, Refusal};
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// The socket in the data directory.
const FILE: &str = "control.sock";
/// Length of a socket's path in bytes, which the system limits.
const MAX_PATH_BYTES: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Only the owner can connect.
const PRIVATE_SOCKET: u32 = 0o600;

/// A person who uses the command line on the server's machine, as the server's user or root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine {
    uid: u32,
}

impl CommandLine {
    /// The person who runs this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            uid: geteuid().as_raw(),
        }
    }

    /// The user of a connection. Fails if it is neither root nor the server's own user.
    pub fn of_peer(uid: u32) -> Result<Self, Refusal> {
        let own = geteuid().as_raw();
        Guard::ControlPeer.refuse_if(uid != own && uid != 0, || {
            format!("user {uid} of this machine may not use {FILE}: only user {own}, as whom the server runs, and root may")
        })?;
        Ok(Self { uid })
    }

    /// The name in the history of an engine.
    #[must_use]
    pub fn name(self) -> String {
        format!("command line (uid {})", self.uid)
    }
}

/// The path of the socket.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Listens in this data directory, whose lock the caller holds. Replaces the socket of an earlier server.
///
/// Fails if the path of the data directory is too long for a socket, or its file system has none.
pub fn listen(data: &Path, _lock: &DataLock) -> Result<UnixListener> {
    let path = path(data);
    let length = path.as_os_str().len();
    ensure!(
        length <= MAX_PATH_BYTES,
        "the path of the data directory is too long for {FILE} ({length} bytes, at most {MAX_PATH_BYTES})"
    );
    let failure = || format!("cannot listen on {}", path.display());
    let directory = data_dir::open(data).with_context(failure)?;
    if directory.symlink_metadata(FILE).is_ok() {
        directory.remove_file(FILE).with_context(failure)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).with_context(failure)?;
    socket.bind(&SockAddr::unix(&path)?).with_context(failure)?;
    // Before anyone can connect.
    if Guard::ControlPeer.applies(true) {
        let private = Permissions::from_mode(PRIVATE_SOCKET);
        directory
            .set_permissions(FILE, private)
            .with_context(failure)?;
    }
    socket.listen(BACKLOG).with_context(failure)?;
    socket.set_nonblocking(true).with_context(failure)?;
    let listener = StdListener::from(OwnedFd::from(socket));
    UnixListener::from_std(listener).with_context(failure)
}

#[cfg(test)]
mod tests {
    use cap_std::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn control_socket_replaces_an_earlier_one_and_is_private() {
        let data = tempfile::tempdir().unwrap();
        let directory = data_dir::open(data.path()).unwrap();
        let lock = data_dir::lock(&directory).unwrap();
        for _ in 0..2 {
            let listener = listen(data.path(), &lock).unwrap();
            let mode = directory.symlink_metadata(FILE).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
            let connected = tokio::net::UnixStream::connect(path(data.path())).await;
            let peer = listener.accept().await.unwrap().0.peer_cred().unwrap();
            let caller = CommandLine::of_peer(peer.uid()).unwrap();
            assert_eq!(caller, CommandLine::of_this_process());
            drop(connected);
        }
    }

    #[tokio::test]
    async fn control_socket_refuses_a_long_path() {
        let data = tempfile::tempdir().unwrap();
        let long = data.path().join("x".repeat(MAX_PATH_BYTES));
        let lock = data_dir::lock(&data_dir::open(data.path()).unwrap()).unwrap();
        let error = listen(&long, &lock).unwrap_err().to_string();
        assert!(error.contains("is too long for control.sock"), "{error}");
    }

    #[test]
    fn peer_is_root_or_the_user_of_the_server() {
        let own = geteuid().as_raw();
        assert_eq!(
            CommandLine::of_peer(0).unwrap().name(),
            "command line (uid 0)"
        );
        assert_eq!(CommandLine::of_peer(own).unwrap().uid, own);
        let refusal = CommandLine::of_peer(own + 1).unwrap_err();
        assert_eq!(refusal.guard, Some(Guard::ControlPeer));
    }
}
