//! Hosts with one database.

use std::path::{Path, PathBuf};

use crate::HostsBench;
use crate::bench_server::{BenchServer, ServerOptions};
use crate::database::BenchDatabase;

/// What the hosts of a row have in common.
#[derive(Default)]
pub(crate) struct HostOptions<'a> {
    /// `None` is SQLite, for a single host.
    pub(crate) database: Option<&'a BenchDatabase>,
    /// The prefix of their keys in Redis. `None`: they do not use Redis.
    pub(crate) redis_prefix: Option<&'a str>,
    /// The engine; `openai` if it is empty.
    pub(crate) engine: &'static str,
    /// More variables.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// Running hosts. Dropping them kills the processes.
pub(crate) struct ClusterHosts<'a> {
    pub(crate) servers: Vec<BenchServer>,
    bench: &'a HostsBench,
    directory: PathBuf,
    engine: &'static str,
    variables: Vec<(&'static str, String)>,
}

impl<'a> ClusterHosts<'a> {
    /// Starts this number of hosts, one after the other: the first one creates the tables and the administrator.
    pub(crate) fn start(
        bench: &'a HostsBench,
        name: &str,
        count: usize,
        options: HostOptions<'a>,
    ) -> Self {
        // Engines are compiled once for all hosts.
        let cache = bench.directory.path().join("cache");
        let mut variables = vec![("PINHOLE_CACHE", path_text(&cache))];
        variables.extend(
            options
                .database
                .into_iter()
                .flat_map(BenchDatabase::variables),
        );
        if let Some(prefix) = options.redis_prefix {
            variables.push(("REDIS_URL", bench.redis.clone()));
            variables.push(("REDIS_KEY_PREFIX", prefix.to_owned()));
        }
        variables.extend(options.variables);
        let engine = match options.engine {
            "" => "openai",
            engine => engine,
        };
        let mut hosts = Self {
            servers: Vec::new(),
            bench,
            directory: bench.directory.path().join(name),
            engine,
            variables,
        };
        for index in 0..count {
            let key = hosts.servers.first().map(|first| first.key.clone());
            let server = hosts.start_server(index, key.as_deref());
            hosts.servers.push(server);
        }
        hosts
    }

    /// Kills a host without notice.
    pub(crate) fn kill(&mut self, index: usize) -> KilledHost {
        let server = self.servers.remove(index);
        let key = server.key.clone();
        // Sends SIGKILL.
        drop(server);
        KilledHost { index, key }
    }

    /// Starts a host that was killed, with its data directory.
    pub(crate) fn restart(&mut self, killed: &KilledHost) {
        let server = self.start_server(killed.index, Some(&killed.key));
        self.servers.insert(killed.index, server);
    }

    fn start_server(&self, index: usize, key: Option<&str>) -> BenchServer {
        let data_dir = self.directory.join(index.to_string());
        std::fs::create_dir_all(&data_dir).unwrap();
        BenchServer::start(&ServerOptions {
            data_dir: &data_dir,
            upstream: self.bench.upstream.address(),
            engine: self.engine,
            key,
            variables: &self.variables,
        })
    }
}

/// A host that was killed.
pub(crate) struct KilledHost {
    index: usize,
    key: String,
}

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
