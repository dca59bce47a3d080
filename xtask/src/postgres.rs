//! A PostgreSQL server for tests and benchmarks: in a temporary directory, without a network port, gone afterwards.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::packages;
use crate::steps::announce;

/// The user as whom PostgreSQL runs if xtask runs as root, which PostgreSQL refuses.
const USER: &str = "postgres";
/// Debian's package.
const PACKAGE: &str = "postgresql";
/// Where Debian installs each version.
const VERSIONS: &str = "/usr/lib/postgresql";
const OPTIONS: &str =
    "-c listen_addresses='' -c max_connections=300 -c dynamic_shared_memory_type=mmap";
/// Nothing survives a test, so nothing waits for the disk.
const TEST_OPTIONS: &str = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off";
/// Commits wait for the disk, and statements are counted.
const BENCHMARK_OPTIONS: &str = "-c shared_preload_libraries=pg_stat_statements";

/// Logs each statement, without values, into one JSON file. The directory follows.
const LOG_OPTIONS: &str = " -c log_statement=all -c log_parameter_max_length=0 -c log_destination=jsonlog \
     -c logging_collector=on -c log_rotation_age=0 -c log_rotation_size=0 -c log_filename=statements \
     -c log_directory=";

/// A running server. Dropping it stops the server and removes its directory.
pub(crate) struct PostgresServer {
    programs: PathBuf,
    directory: PathBuf,
    owner: Option<Owner>,
}

/// What a server is for.
#[derive(Clone, Copy)]
pub(crate) enum PostgresUse<'a> {
    Tests,
    /// Tests whose statements are logged into this directory.
    StatementLog(&'a Path),
    Benchmarks,
}

/// The user as whom the server runs.
#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl PostgresServer {
    /// Starts a server. Without one, prints why, and that what needs it is skipped.
    pub(crate) fn start(purpose: PostgresUse<'_>) -> Option<Self> {
        match Self::try_start(purpose) {
            Ok(server) => Some(server),
            Err(error) => {
                announce(&format!("skipping what needs PostgreSQL: {error:#}"));
                None
            }
        }
    }

    fn try_start(purpose: PostgresUse<'_>) -> Result<Self> {
        announce("starting PostgreSQL");
        let is_root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
        let programs = match find_programs() {
            Some(programs) => programs,
            None if is_root && packages::install_package(PACKAGE) => {
                find_programs().context("the package has no initdb")?
            }
            None => bail!("install the package {PACKAGE} with the system's package manager"),
        };
        let owner = if is_root { Some(Owner::find()?) } else { None };
        // The path of a socket must be short.
        let name = format!("pinhole-postgres-{}", std::process::id());
        let server = Self {
            programs,
            directory: std::env::temp_dir().join(name),
            owner,
        };
        server.create_directory()?;
        let data = server.data();
        let mut initdb = server.command("initdb");
        initdb
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--username", USER, "--pgdata"])
            .arg(&data);
        run(initdb).context("initdb failed")?;
        let mut start = server.command("pg_ctl");
        let sockets = server.directory.display();
        let mut options = format!("{OPTIONS} {} -k {sockets}", purpose.options());
        if let PostgresUse::StatementLog(log) = purpose {
            server.give(log)?;
            options.push_str(LOG_OPTIONS);
            options.push_str(&log.display().to_string());
        }
        start
            .args(["start", "--wait", "--silent", "--pgdata"])
            .arg(&data)
            .arg("--log")
            .arg(server.directory.join("log"))
            .arg("--options")
            .arg(options);
        run(start).context("pg_ctl start failed")?;
        Ok(server)
    }

    /// A URL without a database. Tests add its name.
    pub(crate) fn url(&self) -> String {
        let path = self.directory.display().to_string();
        format!("postgres://{USER}@{}", path.replace('/', "%2F"))
    }

    /// The directory of `initdb` and `pg_ctl`.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn create_directory(&self) -> Result<()> {
        let context = || format!("cannot create {}", self.directory.display());
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&self.directory)
            .with_context(context)?;
        self.give(&self.directory)
    }

    /// Makes the server's user the owner of a directory.
    fn give(&self, directory: &Path) -> Result<()> {
        if let Some(Owner { user, group }) = self.owner {
            let context = || format!("cannot change the owner of {}", directory.display());
            chown(directory, Some(user), Some(group)).with_context(context)?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.directory);
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl PostgresUse<'_> {
    fn options(self) -> &'static str {
        match self {
            Self::Tests | Self::StatementLog(_) => TEST_OPTIONS,
            Self::Benchmarks => BENCHMARK_OPTIONS,
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"])
            .arg(self.data());
        // If it never started, there is nothing to stop.
        _ = run(stop);
        _ = fs::remove_dir_all(&self.directory);
    }
}

impl Owner {
    fn find() -> Result<Self> {
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let number = |field: Option<&str>| field?.parse().ok();
        let find = |line: &str| {
            let mut fields = line.split(':');
            if fields.next()? != USER {
                return None;
            }
            let user = number(fields.nth(1))?;
            let group = number(fields.next())?;
            Some(Self { user, group })
        };
        let found = users.lines().find_map(find);
        found.with_context(|| format!("there is no user {USER}"))
    }
}

/// The directory of the newest version's programs.
fn find_programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")?;
    let mut directories: Vec<PathBuf> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    directories.sort_by_key(|directory| version(directory));
    directories.reverse();
    directories.extend(std::env::split_paths(&on_path));
    directories
        .into_iter()
        .find(|directory| directory.join("initdb").exists() && directory.join("pg_ctl").exists())
}

fn version(programs: &Path) -> Option<u32> {
    programs.parent()?.file_name()?.to_str()?.parse().ok()
}

fn run(mut command: Command) -> Result<()> {
    // Its server inherits the streams, and would keep a pipe open.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start it")?;
    ensure!(status.success(), "{status}");
    Ok(())
}
