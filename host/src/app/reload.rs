//! What `SIGHUP` reloads: the files that variables name, such as keys and certificates, and the engine directory.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::App;
use crate::accounts::Rules;
use crate::config::Config;

impl App {
    /// Reads the files of variables again, and looks at the engine directory. Running jobs continue with what they have.
    ///
    /// If it fails, the settings are as before.
    pub async fn reload(self: &Arc<Self>, config: &Config) -> Result<()> {
        self.reload_files(config).await?;
        self.releases.update().await?;
        Ok(())
    }

    async fn reload_files(&self, config: &Config) -> Result<()> {
        let config = Config::from_environment(Some(config.data.clone()))?;
        let _lock = self.settings.lock().await;
        let before = self.jobs.snapshot();
        let config = config.with_engine_files(&before.engines, None)?;
        let overlay = self.settings.overlay_on(&config.environment);
        let environment = overlay.environment().clone();
        let rules = Rules::from_environment(&environment).map_err(anyhow::Error::msg)?;
        let previous_engine = self.store.previous_engine().await;
        let prepared = Config {
            environment,
            previous_engine: previous_engine.context("cannot read the database")?,
            ..config.clone()
        };
        let engines = before.engines.clone();
        let snapshot = self.jobs.prepare_engines(&prepared, engines).await;
        let snapshot = snapshot.map_err(anyhow::Error::msg)?;
        snapshot
            .refuse_new_problems(&before)
            .map_err(anyhow::Error::msg)?;
        self.settings.replace_environment(config.environment);
        self.accounts.publish(rules);
        self.jobs.publish(snapshot);
        Ok(())
    }
}
