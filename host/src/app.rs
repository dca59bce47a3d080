//! The handles that a request may use, opened once from the [`Config`].

mod settings_change;

use std::sync::Arc;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_ground::memory::ProcessMemory;
use pinhole_images::Decoder;

use crate::accounts::Accounts;
use crate::chat::Chat;
use crate::chat::event::Events;
use crate::chat::model::Models;
use crate::chat::task::Tasks;
use crate::config::Config;
use crate::files::Files;
use crate::jobs::Jobs;
use crate::settings::StoredSettings;
use crate::store::Store;

pub use settings_change::ChangeError;

/// The handles that a request may use.
pub struct App {
    pub audit: AuditLog,
    /// The memory that requests and jobs may hold.
    pub memory: ProcessMemory,
    pub jobs: Arc<Jobs>,
    pub files: Files,
    pub store: Store,
    pub settings: StoredSettings,
    pub accounts: Accounts,
    pub events: Events,
    /// Turns that continue after the response to their request.
    pub tasks: Tasks,
    /// What a turn uses.
    pub chat: Arc<Chat>,
}

impl App {
    /// Opens the data directory and admits the engines.
    pub async fn open(config: &Config) -> Result<Self> {
        let data = open_data_dir(config)?;
        // Opened first, because admission records refusals.
        let audit = AuditLog::open(&data)?;
        let store = Store::open(&config.data).await?;
        let settings = StoredSettings::open(&data, store.clone(), &config.environment).await?;
        let config = &with_stored_settings(config, &settings);
        let memory = ProcessMemory::new(config.memory_bytes);
        let decoder = Decoder::new(memory.clone());
        let jobs = Arc::new(Jobs::open(config, audit.clone(), decoder.clone()).await?);
        let files = Files::open(&data, store.clone(), decoder)?;
        let events = Events::new();
        let servers = &jobs.snapshot().settings.model_servers;
        let models = Models::open(servers, &jobs.egress, &audit).map_err(anyhow::Error::msg)?;
        Ok(Self {
            accounts: Accounts::open(&data, store.clone(), &config.environment)?,
            chat: Arc::new(Chat {
                jobs: jobs.clone(),
                files: files.clone(),
                store: store.clone(),
                events: events.clone(),
                models,
            }),
            audit,
            memory,
            jobs,
            files,
            store,
            settings,
            events,
            tasks: Tasks::default(),
        })
    }
}

/// The configuration with the stored settings, for commands that start no server.
pub async fn load_stored_settings(config: &Config) -> Result<Config> {
    let data = open_data_dir(config)?;
    if !data.exists(Store::FILE) {
        return Ok(config.clone());
    }
    // Only the start of a server resets the settings.
    let no_reset = ("RESET_CONFIG_ON_START".to_owned(), String::new());
    let environment = config.environment.overlaid([no_reset]);
    let store = Store::open(&config.data).await?;
    let settings = StoredSettings::open(&data, store, &environment).await?;
    Ok(with_stored_settings(config, &settings))
}

fn open_data_dir(config: &Config) -> Result<Dir> {
    data_dir::create(&config.data)
        .context("cannot use the data directory: set PINHOLE_DATA to a writable directory")
}

fn with_stored_settings(config: &Config, settings: &StoredSettings) -> Config {
    Config {
        environment: settings.overlay().environment().clone(),
        ..config.clone()
    }
}
