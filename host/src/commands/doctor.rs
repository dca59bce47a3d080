//! `pinhole doctor`: checks the configuration, the data directory, the engines with their upstreams, and the
//! servers with language models.

mod language_models;

use std::fmt;
use std::io::ErrorKind;

use anyhow::Result;
use cap_std::fs::Dir;
use clap::Args;
use pinhole::app::open_store;
use pinhole::cluster;
use pinhole::config::Config;
use pinhole::files::{self, StorageProvider};
use pinhole::jobs::{Binding, Jobs};
use pinhole::store::{DatabaseLocation, Store};
use pinhole_ground::{data_dir, disk};
use serde::Serialize;

use super::{CommandJobs, FAILED, MissingData, print_json};
use crate::logging::parse_filter;

#[derive(Args)]
pub(crate) struct Doctor {
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

/// One check.
#[derive(Serialize)]
struct Check {
    check: String,
    status: Status,
    /// The result, and the remedy.
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// The checks so far.
#[derive(Default, Serialize)]
struct Checks {
    checks: Vec<Check>,
}

/// Runs all checks. Returns the exit code.
pub(crate) async fn doctor(config: Result<Config>, arguments: Doctor) -> Result<u8> {
    let mut checks = Checks::default();
    match config {
        Ok(config) => checks.run(&config).await,
        Err(error) => checks.add("configuration", Status::Failed, format!("{error:#}")),
    }
    let failed = checks.count(Status::Failed);
    if arguments.json {
        print_json(&checks)?;
    } else {
        for check in &checks.checks {
            println!("{check}");
        }
        println!(
            "{failed} failed, {} warning(s)",
            checks.count(Status::Warning)
        );
    }
    Ok(if failed == 0 { 0 } else { FAILED })
}

impl Checks {
    fn add(&mut self, check: impl Into<String>, status: Status, message: impl Into<String>) {
        self.checks.push(Check {
            check: check.into(),
            status,
            message: message.into(),
        });
    }

    fn count(&self, status: Status) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.status == status).count()
    }

    async fn run(&mut self, config: &Config) {
        let filter = config.environment.get("PINHOLE_LOG").map(parse_filter);
        match filter.transpose() {
            Ok(_) => self.add("configuration", Status::Ok, "the variables are valid"),
            Err(error) => self.add("configuration", Status::Failed, error.to_string()),
        }
        self.check_data_dir(config).await;
        self.check_bucket(config).await;
        self.check_redis(config).await;
        match CommandJobs::open(config, MissingData::Temporary).await {
            Ok(opened) => {
                self.check_engines(&opened.jobs);
                self.check_settings(&opened.jobs, &opened.config);
                self.check_upstreams(&opened.jobs).await;
                self.check_language_models(&opened.jobs, &opened.config)
                    .await;
            }
            Err(error) => self.add("engines", Status::Failed, format!("{error:#}")),
        }
    }

    async fn check_redis(&mut self, config: &Config) {
        const NAME: &str = "redis";
        let Some(redis) = &config.redis else { return };
        match cluster::check(redis).await {
            Ok(()) => self.add(NAME, Status::Ok, "the Redis of REDIS_URL responds"),
            Err(error) => self.add(NAME, Status::Failed, error.to_string()),
        }
    }

    async fn check_data_dir(&mut self, config: &Config) {
        const NAME: &str = "data directory";
        let path = config.data.display();
        let directory = match data_dir::open(&config.data) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("{path} does not exist yet; `pinhole serve` creates it");
                return self.add(NAME, Status::Ok, message);
            }
            Err(error) => {
                let message = format!(
                    "cannot open {path}: {error}; set PINHOLE_DATA or --data to a directory"
                );
                return self.add(NAME, Status::Failed, message);
            }
            Ok(directory) => directory,
        };
        if let Err(error) = data_dir::create(&config.data) {
            let message = format!("{error:#}; let the user of the server write to it");
            return self.add(NAME, Status::Failed, message);
        }
        match data_dir::lock_holder(&directory) {
            Some(id) => self.add(
                NAME,
                Status::Ok,
                format!("{path} is used by a server (process {id})"),
            ),
            None => self.add(
                NAME,
                Status::Ok,
                format!("{path} is writable; no server uses it"),
            ),
        }
        if data_dir::is_writable_by_others(&directory).unwrap_or(false) {
            let message = format!("other users can write to it: run `chmod go-w {path}`");
            self.add(NAME, Status::Warning, message);
        }
        self.check_disk(&directory, config);
        if !Store::exists(&directory, &config.database) {
            return;
        }
        match open_store(config).await {
            Ok(_) => {
                let name = match &config.database {
                    DatabaseLocation::DataDirectory => Store::FILE.to_owned(),
                    DatabaseLocation::Sqlite(file) => file.display().to_string(),
                    DatabaseLocation::Postgres(server) => format!("PostgreSQL at {server}"),
                };
                self.add("database", Status::Ok, format!("{name} can be used"));
            }
            Err(error) => self.add("database", Status::Failed, format!("{error:#}")),
        }
    }

    fn check_disk(&mut self, directory: &Dir, config: &Config) {
        match disk::free_bytes(directory) {
            Ok(free) if free < config.storage.reserved_bytes => {
                let message = format!(
                    "the disk has {} MiB left, less than PINHOLE_RESERVED_DISK_MIB: free space, or nothing new is stored",
                    free >> 20
                );
                self.add("disk", Status::Failed, message);
            }
            Ok(free) => self.add("disk", Status::Ok, format!("{} MiB are free", free >> 20)),
            Err(error) => self.add(
                "disk",
                Status::Warning,
                format!("cannot read the free space: {error:#}"),
            ),
        }
    }

    async fn check_bucket(&mut self, config: &Config) {
        let StorageProvider::Bucket(bucket) = &config.storage_provider else {
            return;
        };
        let name = format!("bucket {}", bucket.service.name());
        match files::check_provider(&config.storage_provider).await {
            Ok(()) => self.add(name, Status::Ok, "it can be written and read"),
            Err(error) => self.add(name, Status::Failed, format!("{error:#}")),
        }
    }

    fn check_engines(&mut self, jobs: &Jobs) {
        let engines = &jobs.snapshot().engines;
        for component in engines.admitted() {
            let description = &component.description;
            let message = format!("version {} ({})", description.version, component.file);
            self.add(format!("engine {}", description.name), Status::Ok, message);
        }
        for pending in &engines.pending {
            let name = format!("engine {}", pending.engine);
            self.add(
                name,
                Status::Warning,
                format!("{}: {}", pending.file, pending.reason()),
            );
        }
        for rejected in &engines.rejected {
            let message = format!("is not admitted: it {}", rejected.reason);
            self.add(
                format!("engine file {}", rejected.file),
                Status::Failed,
                message,
            );
        }
        if engines.admitted().next().is_none() {
            let message =
                "there is no engine: set PINHOLE_ENGINES to the directory of component files";
            self.add("engines", Status::Failed, message);
        }
    }

    fn check_settings(&mut self, jobs: &Jobs, config: &Config) {
        let snapshot = jobs.snapshot();
        let settings = &snapshot.settings;
        for warning in config.warnings(&snapshot.engines) {
            self.add("variables", Status::Warning, warning);
        }
        for problem in snapshot.unknown_names() {
            self.add("settings", Status::Failed, problem);
        }
        for binding in snapshot.bindings() {
            for problem in binding.problems() {
                self.add(
                    format!("settings of {}", binding.name),
                    Status::Failed,
                    problem,
                );
            }
        }
        if settings.enabled {
            let message = format!("{} generates: {}", settings.engine, settings.engine_reason);
            self.add("settings", Status::Ok, message);
        } else {
            let message = "image generation is disabled: set ENABLE_IMAGE_GENERATION to true";
            self.add("settings", Status::Warning, message);
        }
    }

    async fn check_upstreams(&mut self, jobs: &Jobs) {
        let snapshot = jobs.snapshot();
        for binding in snapshot.bindings() {
            if !needs_upstream(jobs, binding, &snapshot.settings.engine) {
                continue;
            }
            let name = format!("upstream of {}", binding.name);
            match jobs.verify(binding).await {
                Ok(found) if found.problems.is_empty() => {
                    self.add(name, Status::Ok, "it responds and accepts the key");
                }
                Ok(found) => {
                    for problem in found.problems {
                        self.add(name.clone(), Status::Warning, problem);
                    }
                }
                Err(error) => self.add(name, Status::Failed, error.for_operator()),
            }
        }
    }
}

/// Is the binding in use? Its problems are listed already.
fn needs_upstream(jobs: &Jobs, binding: &Binding, current: &str) -> bool {
    let has_upstreams = !binding.component.description.upstreams.is_empty();
    let is_in_use = binding.name == current || jobs.is_configured(binding);
    has_upstreams && is_in_use && binding.problems().is_empty()
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
        };
        write!(formatter, "{status:<8} {}: {}", self.check, self.message)
    }
}
