//! The handles that a request may use, opened once from the [`Config`].

mod binding_changes;
mod durable_jobs;
mod engine_events;
mod host_changes;
mod maintenance;
mod reload;
mod settings_change;
mod settings_preview;
mod shared_keys;
mod shared_settings;

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir::{self, DataLock};
use pinhole_ground::environment::Environment;
use pinhole_ground::memory::ProcessMemory;
use pinhole_images::Decoder;
use tokio::sync::{Notify, Semaphore};

use crate::accounts::Accounts;
use crate::chat::Chat;
use crate::chat::model::Models;
use crate::chat::task::Tasks;
use crate::clients::Clients;
use crate::cluster::{ClusterTasks, Inbox, StopCommand};
use crate::config::{Config, PageChoice};
use crate::event::Events;
use crate::files::Files;
use crate::jobs::{ActiveJobs, Jobs};
use crate::releases::{DirectoryUse, EngineStart, Publisher, Releases};
use crate::settings::{ChoiceReason, Overlay, Settings, StoredSettings};
use crate::site::Site;
use crate::store::{Revisions, Store};

pub use durable_jobs::MAX_TAKEN_JOBS;
pub use settings_change::{ChangeError, RefusedChanges};
pub use settings_preview::{MAX_PROBLEMS, SettingsPreview, SettingsProblem};

/// Streams of engines' logs that are open at the same time.
pub const MAX_LOG_STREAMS: usize = 64;

/// The handles that a request may use.
pub struct App {
    pub audit: AuditLog,
    pub clients: Clients,
    /// The memory that requests and jobs may hold.
    pub memory: ProcessMemory,
    pub jobs: Arc<Jobs>,
    /// Jobs with a row.
    pub active_jobs: ActiveJobs,
    pub files: Files,
    /// What browsers find at `/`.
    pub site: Site,
    /// The pages of administrators are shown.
    pub has_admin_pages: bool,
    pub store: Store,
    pub settings: Arc<StoredSettings>,
    pub releases: Arc<Releases>,
    pub accounts: Accounts,
    pub events: Events,
    /// The streams of engines' logs that are open.
    pub log_streams: Arc<Semaphore>,
    /// Turns that continue after the response to their request.
    pub tasks: Tasks,
    /// What a turn uses.
    pub chat: Arc<Chat>,
    /// Notified when another host has changed the database.
    hints: Arc<Notify>,
    /// The id of this process among those that use the database.
    host: String,
    /// The revisions of what the start has loaded.
    loaded_revisions: Revisions,
    cluster_tasks: OnceLock<ClusterTasks>,
}

impl App {
    /// Opens the data directory and admits all engines.
    pub async fn open(config: &Config) -> Result<Self> {
        let (app, engines) = Self::start(config).await?;
        app.add_engines(engines).await?;
        Ok(app)
    }

    /// Opens the data directory, and admits the engines whose code is stored. [`Self::add_engines`] admits the
    /// others.
    pub async fn start(config: &Config) -> Result<(Self, EngineStart)> {
        let data = open_data_dir(config)?;
        restrict_data_dir(config, &data)?;
        let site = Site::open(config)?;
        // Opened first, because admission records refusals.
        let audit = AuditLog::open(&data, config.audit)?;
        let store = open_store(config).await?;
        // Read first: what changes meanwhile is loaded again.
        let revisions = store.revisions().await;
        let revisions = revisions.context("cannot read the database")?;
        let memory = ProcessMemory::new(config.memory_bytes);
        let decoder = Decoder::new(memory.clone());
        let start = EngineStart::new(
            config,
            store.clone(),
            audit.clone(),
            decoder.clone(),
            DirectoryUse::Install,
        )
        .await?;
        let releases = start.releases.clone();
        let engines = releases.engines();
        let started_config = config.clone();
        let config = &config.with_engine_files(&engines, None)?;
        let settings = StoredSettings::open(&data, store.clone(), &config.environment).await?;
        let settings = Arc::new(settings);
        let config = &with_stored_settings(config, &settings).await?;
        let jobs = Arc::new(Jobs::new(config, engines, decoder.clone()).await?);
        releases.attach(Publisher {
            config: started_config,
            settings: settings.clone(),
            store: store.clone(),
            jobs: jobs.clone(),
        });
        let files = Files::open(
            &data,
            store.clone(),
            decoder.clone(),
            config.storage,
            &config.storage_provider,
        )
        .await?;
        let events = match &config.redis {
            Some(redis) => Events::shared(redis),
            None => Events::new(),
        };
        let cluster = events.cluster().cloned();
        let host = uuid::Uuid::new_v4().to_string();
        let is_durable = config.durable_jobs.is_on(store.is_shared());
        let host_name = config.host.as_ref().unwrap_or(&host);
        match store
            .add_host(&host, host_name, env!("CARGO_PKG_VERSION"))
            .await
        {
            Err(error) if !is_durable => {
                tracing::warn!("cannot record the start of the server: {error}")
            }
            added => added.context("cannot record the start of the server in the database")?,
        }
        shared_keys::check(&store, &config.environment, &host).await?;
        let durable_host = is_durable.then(|| host.clone());
        let active_jobs =
            ActiveJobs::new(files.clone(), store.clone(), events.clone(), durable_host);
        interrupt_old_jobs(&active_jobs).await;
        fail_interrupted_turns(&store, &host).await;
        let servers = &jobs.snapshot().settings.model_servers;
        let models = Models::open(servers, &jobs.egress, &audit).map_err(anyhow::Error::msg)?;
        let app = Self {
            clients: Clients::new(config.clients.clone(), cluster.clone()),
            accounts: Accounts::open(&data, store.clone(), &config.environment)?
                .shared(cluster.clone()),
            chat: Arc::new(Chat {
                jobs: jobs.clone(),
                files: files.clone(),
                store: store.clone(),
                events: events.clone(),
                active_jobs: active_jobs.clone(),
                models,
            }),
            audit,
            memory,
            jobs,
            active_jobs,
            files,
            site,
            has_admin_pages: config.pages == PageChoice::On,
            store,
            settings,
            releases,
            events,
            log_streams: Arc::new(Semaphore::new(MAX_LOG_STREAMS)),
            tasks: Tasks::new(cluster),
            hints: Arc::default(),
            host,
            loaded_revisions: revisions,
            cluster_tasks: OnceLock::new(),
        };
        app.start_cluster();
        Ok((app, start))
    }

    /// Exchanges events and commands with other hosts, if there are any.
    fn start_cluster(&self) {
        let Some(cluster) = self.events.cluster() else {
            return;
        };
        let (events, hints) = (self.events.clone(), self.hints.clone());
        let inbox = Inbox {
            on_event: Box::new(move |user_id, incoming| events.receive(user_id, incoming)),
            on_hint: Box::new(move || hints.notify_one()),
        };
        let (tasks, jobs) = (self.tasks.clone(), self.active_jobs.clone());
        let on_stop = move |command| match command {
            StopCommand::Task { id, user_id } => {
                let user_id = user_id.as_deref();
                let is_stopped = tasks.stop_own(user_id, &id) || jobs.stop_own(user_id, &id);
                usize::from(is_stopped)
            }
            StopCommand::Jobs { user_id } => jobs.stop_all_own(user_id.as_deref()),
        };
        self.cluster_tasks
            .set(cluster.start(inbox, Box::new(on_stop)))
            .ok();
    }

    /// Admits the remaining engines, and makes each current with its settings. Returns when all files of the
    /// engine directory are admitted or rejected.
    ///
    /// Fails if the settings of an engine are invalid, as the start of a server does.
    pub async fn add_engines(&self, start: EngineStart) -> Result<()> {
        start.finish().await?;
        record_engine(&self.store, &self.jobs).await;
        Ok(())
    }
}

/// Records the engine that the environment configures alone, so that a second one does not replace it.
async fn record_engine(store: &Store, jobs: &Jobs) {
    let snapshot = jobs.snapshot();
    let Settings {
        engine,
        engine_reason,
        ..
    } = &snapshot.settings;
    if !matches!(engine_reason, ChoiceReason::OnlyConfigured { .. }) {
        return;
    }
    if let Err(error) = store.set_previous_engine(engine).await {
        tracing::warn!("cannot record that engine {engine} is used: {error}");
    }
}

/// Opens the database of the configuration.
pub async fn open_store(config: &Config) -> Result<Store> {
    Store::connect(&config.data, &config.database).await
}

/// Opens the database and migrates its tables. Creates the data directory if it is missing.
pub async fn open_database(config: &Config) -> Result<Store> {
    open_data_dir(config)?;
    open_store(config).await
}

/// The engines of a data directory, for commands that start no server. While a server runs, it decides about the
/// engine directory.
pub async fn open_releases(config: &Config) -> Result<Arc<Releases>> {
    let data = data_dir::create(&config.data)?;
    let directory_use = match data_dir::lock_holder(&data) {
        Some(_) => DirectoryUse::Inspect,
        None => DirectoryUse::Install,
    };
    let store = open_store(config).await?;
    let (audit, decoder) = (AuditLog::default(), Decoder::default());
    let start = EngineStart::new(config, store, audit, decoder, directory_use).await?;
    start.finish().await
}

/// The engines of a data directory without its engine directory: what the last server or command left.
pub async fn open_stored_releases(config: &Config) -> Result<Arc<Releases>> {
    let store = open_store(config).await?;
    let (audit, decoder) = (AuditLog::default(), Decoder::default());
    let directory_use = DirectoryUse::Ignore;
    let start = EngineStart::new(config, store, audit, decoder, directory_use).await?;
    Ok(start.releases)
}

/// The configuration with the stored settings, for commands that start no server.
pub async fn load_stored_settings(config: &Config) -> Result<Config> {
    let Some(data) = find_database_dir(config) else {
        return Ok(config.clone());
    };
    let environment = unreset_environment(&config.environment);
    let store = open_store(config).await?;
    let settings = StoredSettings::open(&data, store, &environment).await?;
    with_stored_settings(config, &settings).await
}

/// The settings of the data directory, for commands that start no server.
pub async fn read_overlay(config: &Config) -> Result<Overlay> {
    let Some(data) = find_database_dir(config) else {
        return Ok(Overlay::of_environment(&config.environment));
    };
    let environment = unreset_environment(&config.environment);
    let store = open_store(config).await?;
    let settings = StoredSettings::open(&data, store, &environment).await?;
    Ok((*settings.overlay()).clone())
}

fn unreset_environment(environment: &Environment) -> Environment {
    environment.overlaid([("RESET_CONFIG_ON_START".to_owned(), String::new())])
}

/// The configuration for a change of an existing database. Fails without one.
pub fn require_database(config: &Config) -> Result<Config> {
    open_database_dir(config)?;
    Ok(without_reset(config))
}

/// The configuration with which opening the settings resets nothing: only the start of a server does.
#[must_use]
pub fn without_reset(config: &Config) -> Config {
    Config {
        environment: unreset_environment(&config.environment),
        ..config.clone()
    }
}

/// The stored files, for commands that start no server.
pub async fn open_files(config: &Config) -> Result<Files> {
    let data = open_database_dir(config)?;
    let store = open_store(config).await?;
    let decoder = Decoder::default();
    Files::open(
        &data,
        store,
        decoder,
        config.storage,
        &config.storage_provider,
    )
    .await
}

/// The accounts of an existing data directory, for commands that start no server.
pub async fn open_accounts(config: &Config) -> Result<(Accounts, Store)> {
    let data = open_database_dir(config)?;
    let store = open_store(config).await?;
    let accounts = Accounts::open(&data, store.clone(), &config.environment)?;
    Ok((accounts, store))
}

/// A data directory with a database, which is not created.
fn open_database_dir(config: &Config) -> Result<Dir> {
    let path = config.data.display();
    find_database_dir(config).with_context(|| {
        format!(
            "{path} contains no database: set PINHOLE_DATA or --data to the server's data directory"
        )
    })
}

/// The data directory, if there is a database. With PostgreSQL it is created: it has other files.
fn find_database_dir(config: &Config) -> Option<Dir> {
    if config.database.is_postgres() {
        return data_dir::create(&config.data).ok();
    }
    let data = data_dir::open(&config.data).ok()?;
    Store::exists(&data, &config.database).then_some(data)
}

/// Locks the data directory for this server. Commands that start no server need no lock: they replace whole
/// files and use transactions.
pub fn lock_data_dir(config: &Config) -> Result<DataLock> {
    let path = config.data.display();
    data_dir::lock(&open_data_dir(config)?)
        .with_context(|| format!("cannot lock the data directory {path}"))
}

/// Repairs the permissions of the server's own files, and warns about what it repaired.
fn restrict_data_dir(config: &Config, data: &Dir) -> Result<()> {
    let path = config.data.display();
    let restricted = data_dir::restrict_entries(data)
        .with_context(|| format!("cannot restrict the permissions of files in {path}"))?;
    if !restricted.is_empty() {
        tracing::warn!(
            "other users of this machine could access {} in {path}: now only the server's user can; replace keys and passwords if others used the machine",
            restricted.join(", ")
        );
    }
    if data_dir::is_writable_by_others(data)? {
        tracing::warn!("other users can write to the data directory: run `chmod go-w {path}`");
    }
    Ok(())
}

fn open_data_dir(config: &Config) -> Result<Dir> {
    data_dir::create(&config.data)
        .context("cannot use the data directory: set PINHOLE_DATA to a writable directory")
}

/// Tells users of turns that ended with an earlier process.
async fn fail_interrupted_turns(store: &Store, own_host: &str) {
    match store.fail_interrupted_turns(own_host).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!("{count} chat turn(s) were interrupted by the last stop"),
        Err(error) => tracing::error!("cannot report interrupted chat turns: {error}"),
    }
}

/// Ends the rows of jobs that ended with an earlier process.
async fn interrupt_old_jobs(jobs: &ActiveJobs) {
    match jobs.interrupt_old().await {
        Ok(0) => {}
        Ok(count) => tracing::warn!("{count} job(s) were interrupted by the last stop"),
        Err(error) => tracing::error!("cannot report interrupted jobs: {error}"),
    }
}

async fn with_stored_settings(config: &Config, settings: &StoredSettings) -> Result<Config> {
    let previous_engine = settings.store().previous_engine().await;
    Ok(Config {
        environment: settings.overlay().environment().clone(),
        previous_engine: previous_engine.context("cannot read the database")?,
        ..config.clone()
    })
}
