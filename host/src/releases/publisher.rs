//! Makes the engines of a change current: settings, bindings and engines follow in one step.

use std::sync::Arc;

use anyhow::Context;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::Engines;
use tokio::sync::MutexGuard;

use crate::config::Config;
use crate::jobs::{Jobs, Snapshot};
use crate::settings::StoredSettings;
use crate::store::Store;

/// The parts of a server that use engines. A command without a server has none.
pub struct Publisher {
    pub config: Config,
    pub settings: Arc<StoredSettings>,
    pub store: Store,
    pub jobs: Arc<Jobs>,
}

/// A snapshot with other engines. Nothing has changed yet, and no setting can change meanwhile.
pub(super) struct Prepared<'a> {
    _settings_lock: MutexGuard<'a, ()>,
    publisher: &'a Publisher,
    environment: Environment,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Publisher {
    /// The snapshot that these engines lead to.
    ///
    /// Fails with a message for the operator if the settings of an engine are invalid.
    pub(super) async fn prepare(&self, engines: &Engines) -> anyhow::Result<Prepared<'_>> {
        let lock = self.settings.lock().await;
        let before = self.jobs.snapshot();
        let config = Config {
            environment: (*self.settings.environment()).clone(),
            ..self.config.clone()
        };
        let config = config.with_engine_files(engines, Some(&before.engines))?;
        let environment = config.environment.clone();
        let overlay = self.settings.overlay_on(&environment);
        let previous_engine = self.store.previous_engine().await;
        let config = Config {
            environment: overlay.environment().clone(),
            previous_engine: previous_engine.context("cannot read the database")?,
            ..config
        };
        let snapshot = self.jobs.prepare_engines(&config, engines.clone()).await;
        Ok(Prepared {
            _settings_lock: lock,
            publisher: self,
            environment,
            snapshot: snapshot.map_err(anyhow::Error::msg)?,
        })
    }
}

impl Prepared<'_> {
    /// Makes the snapshot current. Running jobs continue with the snapshot of their plan.
    pub(super) fn publish(self) {
        let settings = &self.publisher.settings;
        settings.replace_environment(self.environment);
        self.publisher.jobs.publish(self.snapshot);
    }
}
