//! The hosts: processes with one database, one Redis and one bucket. Each reaches the database and Redis through
//! proxies of its own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pinhole_tests::{ServerProcess, TestDatabase, copy_compiled_engines, program};
use tempfile::TempDir;

use super::upstreams::Upstreams;
use crate::cut::{Proxy, ServerAddress};
use crate::files::buckets::TestBucket;
use crate::files::start_command;

const HOSTS: usize = 3;
/// Time between two looks at the jobs of a host that was killed.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Hosts {
    pub(super) all: Vec<Arc<Host>>,
    pub(super) database: TestDatabase,
    /// The administrator's.
    pub(super) key: String,
    /// The ids in the database of all processes so far. Hosts start one after the other.
    ids: tokio::sync::Mutex<HashSet<String>>,
    log_directory: PathBuf,
    _bucket: TestBucket,
}

pub(super) struct Host {
    index: usize,
    data: TempDir,
    variables: Vec<(String, String)>,
    pub(super) database: Proxy,
    pub(super) redis: Proxy,
    process: Mutex<Running>,
    /// Held while something fails for this host.
    pub(super) disturbance: Arc<tokio::sync::Mutex<()>>,
}

/// The process of a host, and what remains known of it.
#[derive(Default)]
struct Running {
    process: Option<ServerProcess>,
    url: String,
    /// In the database.
    id: String,
    starts: usize,
}

impl Hosts {
    pub(super) async fn start(
        postgres: String,
        redis: &str,
        upstreams: &Upstreams,
        seed: u64,
    ) -> Self {
        let database = TestDatabase::create_postgres(postgres.clone()).await;
        let bucket = TestBucket::gcs().await;
        let mut shared = database.variables();
        shared.extend(upstreams.variables());
        shared.extend([
            ("REDIS_KEY_PREFIX", format!("chaos-{}", std::process::id())),
            ("PINHOLE_REQUESTS_PER_MINUTE", "100000".to_owned()),
            ("PINHOLE_SLOTS", "32".to_owned()),
        ]);
        let of_bucket = bucket.variables().into_iter();
        let of_bucket = of_bucket.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shared = shared
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let shared: Vec<_> = shared.chain(of_bucket).collect();
        let mut all = Vec::new();
        for index in 0..HOSTS {
            let data = tempfile::tempdir().unwrap();
            copy_compiled_engines(&data);
            let redis_address = redis.strip_prefix("redis://").unwrap();
            let redis_address: std::net::SocketAddr = redis_address.parse().unwrap();
            let host = Host {
                index,
                data,
                variables: shared.clone(),
                database: Proxy::start(ServerAddress::of_postgres(&postgres)).await,
                redis: Proxy::start(redis_address).await,
                process: Mutex::default(),
                disturbance: Arc::default(),
            };
            all.push(Arc::new(host));
        }
        let log_directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
        std::fs::create_dir_all(&log_directory).unwrap();
        eprintln!("chaos: logs in {}", log_directory.display());
        let mut hosts = Self {
            all,
            database,
            key: String::new(),
            ids: tokio::sync::Mutex::default(),
            log_directory,
            _bucket: bucket,
        };
        for host in hosts.all.clone() {
            let key = hosts.start_host(&host).await;
            // The first has it.
            hosts.key = key.unwrap_or(hosts.key);
        }
        hosts
    }

    /// Starts the process of a host. Returns the administrator's key if the host knows it.
    pub(super) async fn start_host(&self, host: &Host) -> Option<String> {
        let mut ids = self.ids.lock().await;
        let data = host.data.path().to_owned();
        let mut variables = host.variables.clone();
        variables.extend([
            (
                "DATABASE_URL".to_owned(),
                self.database.url_at(host.database.address),
            ),
            (
                "REDIS_URL".to_owned(),
                format!("redis://{}", host.redis.address),
            ),
        ]);
        let starting = tokio::task::spawn_blocking(move || {
            let variables: Vec<_> = variables
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            start_command(Command::new(program()), &data, &variables)
        });
        let process = starting.await.unwrap();
        let known = self.database.texts("SELECT id FROM hosts", &[]).await;
        let id = known.into_iter().find(|id| !ids.contains(id)).unwrap();
        ids.insert(id.clone());
        let key = process.key.clone();
        let mut running = host.running();
        *running = Running {
            url: process.url.clone(),
            process: Some(process),
            id,
            starts: running.starts + 1,
        };
        key
    }

    /// Kills the process of a host. Returns its id in the database.
    pub(super) fn kill(&self, host: &Host) -> String {
        self.save_log(host);
        let mut running = host.running();
        running.process = None;
        running.id.clone()
    }

    /// Stops the process of a host as an upgrade does, and starts another one.
    pub(super) async fn restart(&self, host: &Host) {
        self.save_log(host);
        let process = host.running().process.take().unwrap();
        let stopping = tokio::task::spawn_blocking(move || process.shut_down());
        stopping.await.unwrap().unwrap();
        self.start_host(host).await;
    }

    /// Waits until each job that a killed host had was taken or has ended. Returns how long each took.
    pub(super) async fn take_over_times(&self, id: &str, killed: Instant) -> Vec<Duration> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let (mut times, mut before) = (Vec::new(), None);
        loop {
            looks.tick().await;
            let select = "SELECT id FROM jobs WHERE host = $1 AND ended_at IS NULL";
            let count = self.database.texts(select, &[id]).await.len();
            let taken = before.unwrap_or(count).saturating_sub(count);
            times.extend(std::iter::repeat_n(killed.elapsed(), taken));
            if count == 0 {
                return times;
            }
            before = Some(count);
        }
    }

    /// Stores the logs of the running processes.
    pub(super) fn save_logs(&self) {
        for host in &self.all {
            self.save_log(host);
        }
    }

    fn save_log(&self, host: &Host) {
        let running = host.running();
        let log = running.process.as_ref().map(ServerProcess::log);
        let log = log.unwrap_or_default();
        let name = format!("host-{}-start-{}.log", host.index, running.starts);
        std::fs::write(self.log_directory.join(name), &log).unwrap();
        assert!(!log.contains("panicked"), "host {}: {log}", host.index);
    }
}

impl Host {
    /// Of the last start.
    pub(super) fn url(&self) -> String {
        self.running().url.clone()
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, name: &str) {
        let running = self.running();
        running.process.as_ref().unwrap().signal(name).unwrap();
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.process.lock().unwrap()
    }
}
