//! The snapshot of settings and bindings that is current, and the next one.

use std::sync::Arc;

use pinhole_ground::environment::Environment;
use pinhole_sandbox::Engines;
use tokio::sync::watch;

use super::{Binding, Error, Jobs, Operation, Snapshot};
use crate::config::Config;
use crate::settings::ConfiguredEngines;

impl Jobs {
    /// The settings and bindings at this moment. Load it once for each request and pass it down.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The snapshot that other settings lead to. Nothing changes yet.
    ///
    /// Fails with a message for the operator if the settings introduce a problem. Problems that existed
    /// before are accepted.
    pub async fn prepare(&self, environment: &Environment) -> Result<Arc<Snapshot>, String> {
        let next = self.preview(environment).await?;
        next.refuse_new_problems(&self.snapshot())?;
        Ok(next)
    }

    /// The snapshot that other settings lead to, with their problems. Nothing changes.
    ///
    /// Fails with a message for the operator if the server cannot use the settings.
    pub async fn preview(&self, environment: &Environment) -> Result<Arc<Snapshot>, String> {
        let before = self.snapshot();
        let next = Snapshot::new(
            environment,
            before.configured.clone(),
            before.engines.clone(),
            &self.egress,
            Some(&before),
        )
        .await?;
        Ok(Arc::new(next))
    }

    /// The snapshot with other engines. The variables are those that the configuration has for them. Nothing changes
    /// yet.
    ///
    /// Fails with a message for the operator if the settings of an engine are invalid.
    pub async fn prepare_engines(
        &self,
        config: &Config,
        engines: Engines,
    ) -> Result<Arc<Snapshot>, String> {
        let before = self.snapshot();
        let environment = &config.environment;
        let previous = config.previous_engine.clone();
        let configured = ConfiguredEngines::find(&engines, environment, previous);
        let next = Snapshot::new(
            environment,
            configured,
            engines,
            &self.egress,
            Some(&before),
        )
        .await?;
        Ok(Arc::new(next))
    }

    /// The snapshot for a request that names this engine and this model, if any. Waits for an engine that is
    /// not admitted yet, at most as long as a job may take.
    pub async fn snapshot_for(
        &self,
        operation: Operation,
        engine: Option<&str>,
        model: Option<&str>,
    ) -> Result<Arc<Snapshot>, Error> {
        self.snapshot_when(|it| {
            let alias = model.and_then(|model| it.alias(model));
            let binding = alias.map(|alias| alias.binding.as_str());
            !it.is_uncertain(operation, engine.or(binding))
        })
        .await
    }

    /// The snapshot for a chat turn, which decides later whether it generates or edits. Waits as
    /// [`Self::snapshot_for`].
    pub async fn snapshot_for_turn(&self, engine: Option<&str>) -> Result<Arc<Snapshot>, Error> {
        self.snapshot_when(|it| {
            let is_uncertain = |operation| it.is_uncertain(operation, engine);
            !is_uncertain(Operation::Generate) && !is_uncertain(Operation::Edit)
        })
        .await
    }

    /// The snapshot with all engines. Waits as [`Self::snapshot_for`].
    pub async fn complete_snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        self.snapshot_when(Snapshot::has_all_engines).await
    }

    async fn snapshot_when(
        &self,
        is_enough: impl Fn(&Snapshot) -> bool,
    ) -> Result<Arc<Snapshot>, Error> {
        let current = self.snapshot();
        if is_enough(&current) {
            return Ok(current);
        }
        let mut published = self.published.subscribe();
        let enough = async {
            loop {
                let next = self.snapshot();
                if is_enough(&next) {
                    return next;
                }
                if published.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            found = tokio::time::timeout(self.timeout, enough) => found.map_err(|_| Error::Starting),
            () = self.shutdown.cancelled() => Err(Error::Starting),
        }
    }

    /// True if an operator configured the binding: by a name of its own, or by variables of its engine.
    #[must_use]
    pub fn is_configured(&self, binding: &Binding) -> bool {
        binding.name != binding.engine() || self.snapshot().configured.contains(&binding.name)
    }

    /// Changes when a snapshot is published.
    #[must_use]
    pub fn follow_snapshots(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// Makes a prepared snapshot current. Running jobs continue with the snapshot of their plan.
    pub fn publish(&self, next: Arc<Snapshot>) {
        self.snapshot.store(next);
        self.published.send_replace(());
    }
}
