//! Changes of the database that other hosts make.
//!
//! A hint says that something has changed, and a poll finds it if the hint was lost. Which of both it was does not matter:
//! the revisions in the database decide what this host loads again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::App;
use crate::store::Revisions;

/// Time between two looks at the revisions: with the time to load a change, it holds after 5 seconds.
const POLL_INTERVAL: Duration = Duration::from_secs(4);

impl App {
    /// Loads what other hosts change, and tells them what this one changes. Never returns.
    pub async fn follow_hosts(self: Arc<Self>) {
        let cluster = self.events.cluster();
        if cluster.is_none() && !self.store.is_shared() {
            return std::future::pending().await;
        }
        let mut known = self.loaded_revisions;
        let mut polls = tokio::time::interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_own = tokio::select! {
                () = self.store.wait_for_change() => true,
                () = self.hints.notified() => false,
                _ = polls.tick() => false,
            };
            let current = match self.store.revisions().await {
                Ok(current) => current,
                Err(error) => {
                    tracing::warn!("cannot see whether other hosts changed settings: {error}");
                    continue;
                }
            };
            if let Some(cluster) = cluster.filter(|_| is_own) {
                let hint = json!({
                    "settings": current.settings,
                    "engines": current.engines,
                });
                cluster.announce_change(&hint).await;
            }
            known = self.load_changes(known, current).await;
            if self.store.is_shared()
                && let Err(error) = self.releases.report_loaded(&self.host).await
            {
                tracing::warn!("cannot record which engines this host has loaded: {error}");
            }
        }
    }

    /// Loads what has another revision. Returns the revisions that are loaded: the next look tries the others again.
    async fn load_changes(&self, known: Revisions, current: Revisions) -> Revisions {
        let mut loaded = current;
        if (known.engines != current.engines || !self.releases.is_complete())
            && let Err(error) = self.releases.reload().await
        {
            tracing::error!("cannot load the engines that another host changed: {error:#}");
            loaded.engines = known.engines;
        }
        if known.settings != current.settings
            && let Err(error) = self.load_settings().await
        {
            tracing::error!(
                "cannot apply the settings that another host changed; they stay as they are: {error:#}"
            );
            loaded.settings = known.settings;
        }
        loaded
    }

    async fn load_settings(&self) -> Result<()> {
        let _lock = self.settings.lock().await;
        self.apply_newer_settings().await
    }
}
