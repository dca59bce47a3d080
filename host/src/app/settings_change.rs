//! Changes of settings while the server runs: all are checked, then all are stored, then all apply.

use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole_ground::text::plain;

use super::App;
use crate::accounts::Rules;
use crate::jobs;
use crate::settings::{Change, Overlay, SettingKey, setting_keys};
use crate::store::User;

/// Length of the message of a refused change in bytes; a longer one is cut. It may repeat the request.
const MAX_REFUSAL_BYTES: usize = 1000;
/// Length of the shortest secret that is redacted. A shorter one would remove letters of ordinary words.
const MIN_SECRET_BYTES: usize = 4;

/// Why settings were not changed. All of them are as before.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A value is invalid: names the setting and the values that it accepts.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Changes that were refused together.
pub struct RefusedChanges {
    pub changes: Vec<Change>,
    pub reason: String,
}

impl App {
    /// Changes all of these settings, or none, even if the caller disconnects. The next request uses the new
    /// settings; running jobs continue with the old ones.
    pub async fn change_settings(
        self: &Arc<Self>,
        user: &User,
        changes: Vec<Change>,
    ) -> Result<(), ChangeError> {
        self.change_settings_with(user, |_| Ok(changes)).await
    }

    /// Makes all of these changes at once, without those that a refusal names. Returns what was refused.
    pub async fn change_accepted_settings(
        self: &Arc<Self>,
        user: &User,
        changes: Vec<Change>,
    ) -> Result<Vec<RefusedChanges>> {
        let (app, user) = (self.clone(), user.clone());
        let task = tokio::spawn(async move {
            let _lock = app.settings.lock().await;
            app.apply_newer_settings().await?;
            app.apply_accepted_changes(&user, changes).await
        });
        task.await?
    }

    /// The same. The caller holds the lock of the settings, and has the newest ones.
    pub(super) async fn apply_accepted_changes(
        &self,
        user: &User,
        mut changes: Vec<Change>,
    ) -> Result<Vec<RefusedChanges>> {
        let mut refused = Vec::new();
        while !changes.is_empty() {
            let reason = match self.apply_changes(user, changes.clone()).await {
                Ok(()) => break,
                Err(ChangeError::Refused(reason)) => reason,
                Err(ChangeError::Internal(error)) => return Err(error),
            };
            let is_named = |change: &Change| change.key().is_named_in(&reason);
            let names_one = changes.iter().any(is_named);
            let (named, others) = changes
                .into_iter()
                .partition(|change| !names_one || is_named(change));
            changes = others;
            refused.push(RefusedChanges {
                changes: named,
                reason,
            });
        }
        Ok(refused)
    }

    /// The same for changes that depend on the settings. No other change comes between.
    pub(super) async fn change_settings_with(
        self: &Arc<Self>,
        user: &User,
        changes: impl FnOnce(&Overlay) -> Result<Vec<Change>, ChangeError> + Send + 'static,
    ) -> Result<(), ChangeError> {
        let (app, user) = (self.clone(), user.clone());
        let task = tokio::spawn(async move {
            let _lock = app.settings.lock().await;
            app.apply_newer_settings().await?;
            let changes = changes(&app.settings.overlay())?;
            app.apply_changes(&user, changes).await
        });
        task.await.map_err(anyhow::Error::from)?
    }

    /// All settings that can be changed, including those of the engines, for which it waits.
    pub async fn setting_keys(&self) -> Result<Vec<SettingKey>, jobs::Error> {
        let snapshot = self.jobs.complete_snapshot().await?;
        let engines = snapshot.engines.admitted();
        Ok(setting_keys(engines.map(|engine| &engine.description)))
    }

    /// The caller holds the lock of the settings.
    async fn apply_changes(&self, user: &User, changes: Vec<Change>) -> Result<(), ChangeError> {
        let secrets = Secrets::of(&changes);
        let Some(plan) = self.settings.plan(user, changes)? else {
            return Ok(());
        };
        let refused = |message: String| ChangeError::Refused(secrets.redact(message));
        let environment = plan.overlay.environment();
        let rules = Rules::from_environment(environment).map_err(refused)?;
        let snapshot = self.jobs.prepare(environment).await.map_err(refused)?;
        let saved = self.settings.save(&plan).await.map_err(|error| {
            anyhow::Error::from(error).context("cannot write the settings to the database")
        })?;
        let revision = saved.ok_or_else(|| {
            // As for a database that is busy: the client tries again.
            let error = anyhow::Error::from(sqlx::Error::PoolTimedOut);
            error.context("another server changed settings at the same time")
        })?;
        self.accounts.publish(rules);
        self.jobs.publish(snapshot);
        let author = if user.id.is_empty() {
            &user.name
        } else {
            &user.id
        };
        tracing::info!("user {author} changed {}", plan.names().join(", "));
        self.settings.publish(plan.overlay, revision);
        Ok(())
    }

    /// Applies what another server or command has stored since this one read the settings. The caller holds the lock
    /// of the settings.
    pub(super) async fn apply_newer_settings(&self) -> Result<()> {
        let newer = self.settings.newer_overlay().await;
        let Some((overlay, revision)) = newer.context("cannot read the settings")? else {
            return Ok(());
        };
        let environment = overlay.environment();
        let rules = Rules::from_environment(environment).map_err(anyhow::Error::msg)?;
        let snapshot = self.jobs.prepare(environment).await;
        let snapshot = snapshot.map_err(anyhow::Error::msg)?;
        self.accounts.publish(rules);
        self.jobs.publish(snapshot);
        self.settings.publish(overlay, revision);
        Ok(())
    }
}

/// The secrets of changes, which a message may repeat.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(changes: &[Change]) -> Self {
        let secrets = changes.iter().filter_map(Change::secret);
        let long = secrets.filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        Self(long.map(str::to_owned).collect())
    }

    /// The message as plain text, with `…` in place of each secret.
    pub(super) fn redact(&self, message: String) -> String {
        let redacted = self
            .0
            .iter()
            .fold(message, |text, secret| text.replace(secret.as_str(), "…"));
        plain(&redacted, MAX_REFUSAL_BYTES)
    }
}
