//! A PostgreSQL server with a standby. Both are this test's own, in a temporary directory, without a network port.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pinhole_tests::postgres_server;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

/// The user of the servers.
const USER: &str = "postgres";
/// Nothing survives a test, so nothing waits for the disk.
const OPTIONS: &str = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=50 \
     -c dynamic_shared_memory_type=mmap";

/// Dropping it stops both servers.
pub(super) struct PostgresPair {
    programs: PathBuf,
    directory: TempDir,
    /// As whom the servers run.
    owner: Owner,
}

#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

/// One of the servers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Primary,
    Standby,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }

    /// In the name of its socket.
    fn port(self) -> u16 {
        match self {
            Self::Primary => 5432,
            Self::Standby => 5433,
        }
    }
}

impl PostgresPair {
    /// Starts both. `None` if this machine has no PostgreSQL.
    pub(super) fn start() -> Option<Self> {
        let programs = std::env::var_os("PINHOLE_TEST_POSTGRES_PROGRAMS")?;
        let shared: PgConnectOptions = postgres_server()?.parse().unwrap();
        let owner = shared.get_socket().unwrap().metadata().unwrap();
        let pair = Self {
            programs: programs.into(),
            directory: tempfile::tempdir().unwrap(),
            owner: Owner {
                user: owner.uid(),
                group: owner.gid(),
            },
        };
        let Owner { user, group } = pair.owner;
        chown(pair.directory.path(), Some(user), Some(group)).unwrap();
        let sockets = pair.directory.path().to_str().unwrap();
        let primary = pair.data(Role::Primary);
        pair.run(
            "initdb",
            &[
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
                "--pgdata",
                &primary,
            ],
        );
        pair.start_server(Role::Primary);
        let standby = pair.data(Role::Standby);
        pair.run(
            "pg_basebackup",
            &[
                "--host",
                sockets,
                "--username",
                USER,
                "--pgdata",
                &standby,
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
            ],
        );
        pair.start_server(Role::Standby);
        Some(pair)
    }

    /// A URL without a database.
    pub(super) fn url(&self, role: Role) -> String {
        let path = self.directory.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://{USER}@{path}:{}", role.port())
    }

    /// The standby becomes a server that accepts writes.
    pub(super) fn promote(&self) {
        let standby = self.data(Role::Standby);
        self.run(
            "pg_ctl",
            &["promote", "--wait", "--silent", "--pgdata", &standby],
        );
    }

    /// Stops a server, as a crash does.
    pub(super) fn stop(&self, role: Role) {
        let data = self.data(role);
        self.run(
            "pg_ctl",
            &["stop", "--mode=immediate", "--silent", "--pgdata", &data],
        );
    }

    fn start_server(&self, role: Role) {
        let (data, sockets) = (self.data(role), self.directory.path().display());
        let log = format!("{sockets}/{}.log", role.name());
        let options = format!("{OPTIONS} -k {sockets} -p {}", role.port());
        self.run(
            "pg_ctl",
            &[
                "start",
                "--wait",
                "--silent",
                "--pgdata",
                &data,
                "--log",
                &log,
                "--options",
                &options,
            ],
        );
    }

    fn data(&self, role: Role) -> String {
        let path = self.directory.path().join(role.name());
        path.into_os_string().into_string().unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.command(program, arguments).status().unwrap();
        assert!(status.success(), "{program}: {status}");
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .uid(self.owner.user)
            .gid(self.owner.group)
            .stdin(Stdio::null())
            // Its server inherits the streams.
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for PostgresPair {
    fn drop(&mut self) {
        for role in [Role::Primary, Role::Standby] {
            let data = self.data(role);
            let arguments = ["stop", "--mode=immediate", "--silent", "--pgdata", &data];
            // One that was stopped already cannot be stopped.
            self.command("pg_ctl", &arguments).status().ok();
        }
    }
}
