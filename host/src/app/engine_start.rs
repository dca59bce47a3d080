//! The engines that are compiled after the server listens.

use anyhow::{Context, Result};
use pinhole_sandbox::{EngineStart, Engines};

use super::App;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::settings::{ChoiceReason, Settings};
use crate::store::Store;

impl App {
    /// Admits the remaining engines, and makes each current with its settings. Returns when all files of the
    /// engine directory are admitted or rejected.
    ///
    /// Fails if the settings of an engine are invalid, as the start of a server does.
    pub async fn add_engines(&self, config: &Config, mut start: EngineStart) -> Result<()> {
        while start.next().await? {
            self.publish_engines(config, start.engines()).await?;
        }
        record_engine(&self.store, &self.jobs).await;
        Ok(())
    }

    async fn publish_engines(&self, config: &Config, engines: Engines) -> Result<()> {
        let _lock = self.settings.lock().await;
        let before = self.jobs.snapshot();
        let config = Config {
            environment: (*self.settings.environment()).clone(),
            ..config.clone()
        };
        let config = config.with_engine_files(&engines, Some(&before.engines))?;
        self.settings
            .replace_environment(config.environment.clone());
        let previous_engine = self.store.previous_engine().await;
        let config = Config {
            environment: self.settings.overlay().environment().clone(),
            previous_engine: previous_engine.context("cannot read the database")?,
            ..config
        };
        let added = self.jobs.add_engines(&config, engines).await;
        added.map_err(anyhow::Error::msg)
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
