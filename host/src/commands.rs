//! The commands of the binary.

mod allocator;
pub(crate) mod backup;
pub(crate) mod compile;
pub(crate) mod config;
mod control_client;
pub(crate) mod database;
pub(crate) mod doctor;
pub(crate) mod engine;
mod engine_changes;
mod engine_control;
mod engine_dev;
mod engine_encode;
mod engine_grant;
mod engine_list;
mod engine_log;
mod engine_models;
mod engine_new;
mod engine_record;
mod engine_show;
mod engine_test;
mod engine_text;
mod engine_verify;
pub(crate) mod files_copy;
pub(crate) mod files_sweep;
mod first_key;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod restore;
pub(crate) mod serve;
mod setup_url;
pub(crate) mod user;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole::app;
use pinhole::config::Config;
use pinhole::jobs::{Error, Jobs, Snapshot};
use pinhole::releases::Releases;
use pinhole_ground::data_dir;
use pinhole_images::Decoder;
use serde::Serialize;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Exit code: a valid request failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code: the request is invalid. Clap uses the same.
pub(crate) const WRONG_USE: u8 = 2;

/// What a command does if the data directory does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingData {
    Create,
    /// Uses a temporary one.
    Temporary,
}

/// The engines of a data directory without a server.
struct CommandEngines {
    config: Config,
    releases: Arc<Releases>,
    snapshot: OnceCell<Arc<Snapshot>>,
    /// Removed at the end.
    temporary: Option<TempDir>,
}

/// The engines with the settings that a server has, without an audit log.
struct CommandJobs {
    jobs: Jobs,
    config: Config,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

/// The configuration for a command, and its temporary data directory.
struct CommandConfig {
    config: Config,
    temporary: Option<TempDir>,
}

impl CommandConfig {
    /// Prints which data directory is used.
    fn new(config: &Config, missing: MissingData) -> Result<Self> {
        let path = config.data.display();
        let exists = data_dir::open(&config.data).map(drop).map_or_else(
            |error| error.kind() != std::io::ErrorKind::NotFound,
            |()| true,
        );
        if exists || missing == MissingData::Create {
            eprintln!("data directory: {path}");
            data_dir::create(&config.data).context(
                "cannot use the data directory: set PINHOLE_DATA or --data to a writable directory",
            )?;
            return Ok(Self {
                config: config.clone(),
                temporary: None,
            });
        }
        eprintln!("data directory: {path} (missing: nothing is stored)");
        let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
        let config = Config {
            data: temporary.path().to_owned(),
            cache: config.cache.clone().or_else(|| usable_cache(config)),
            ..config.clone()
        };
        Ok(Self {
            config,
            temporary: Some(temporary),
        })
    }
}

/// The person's own directory for compiled engines, if it can be written.
fn usable_cache(config: &Config) -> Option<std::path::PathBuf> {
    let cache = config.own_cache.clone()?;
    data_dir::create(&cache).ok()?;
    Some(cache)
}

impl CommandEngines {
    /// Opens the engines. New files of the engine directory are installed, unless a server does so.
    async fn open(config: &Config, missing: MissingData) -> Result<Self> {
        let CommandConfig { config, temporary } = CommandConfig::new(config, missing)?;
        Ok(Self {
            releases: app::open_releases(&config).await?,
            snapshot: OnceCell::new(),
            config,
            temporary,
        })
    }

    /// The bindings that follow from the engines and the settings.
    async fn snapshot(&self) -> Result<&Arc<Snapshot>> {
        let read = async || Ok(self.jobs().await?.0.snapshot());
        self.snapshot.get_or_try_init(read).await
    }

    /// The engines with their settings, and the configuration that has them.
    async fn jobs(&self) -> Result<(Jobs, Config)> {
        let engines = self.releases.engines();
        for warning in self.config.warnings(&engines) {
            eprintln!("pinhole: warning: {warning}");
        }
        let with_files = self.config.with_engine_files(&engines, None)?;
        let config = app::load_stored_settings(&with_files).await?;
        let jobs = Jobs::new(&config, engines, Decoder::default()).await?;
        Ok((jobs, config))
    }
}

impl CommandJobs {
    async fn open(config: &Config, missing: MissingData) -> Result<Self> {
        let engines = CommandEngines::open(config, missing).await?;
        let (jobs, with_settings) = engines.jobs().await?;
        Ok(Self {
            jobs,
            config: with_settings,
            _temporary: engines.temporary,
        })
    }
}

/// Writes a file in an existing directory, or replaces it.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let (directory, name) = find_file_name(path).with_context(context)?;
    let directory = data_dir::open(directory).with_context(context)?;
    data_dir::write_whole(&directory, name, bytes).with_context(context)
}

/// The directory and the name of a file to write.
fn find_file_name(path: &Path) -> Result<(&Path, &str)> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().and_then(OsStr::to_str);
    Ok((
        directory,
        name.context("the path has no file name in UTF-8")?,
    ))
}

/// Prints a value as one JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Prints an error in one line and returns the exit code.
fn print_error(error: &Error) -> u8 {
    eprintln!("pinhole: {}", error.for_operator());
    match error {
        Error::Invalid { .. } | Error::Unsupported { .. } => WRONG_USE,
        Error::Disabled(_)
        | Error::Starting
        | Error::QueueFull(_)
        | Error::RateLimited { .. }
        | Error::MemoryFull(_)
        | Error::Engine { .. } => FAILED,
    }
}
