//! Changes of settings while the server runs: checked whole, kept whole, then in force.

use std::sync::Arc;

use super::App;
use crate::accounts::Rules;
use crate::settings::{Change, Key, keys};
use crate::store::User;
use pinhole_ground::text::plain;

/// Length of what is said of a change that is refused, in bytes: it may repeat what was sent.
const MAX_REFUSAL_BYTES: usize = 1000;
/// Secrets that are shorter would take letters out of ordinary words.
const MIN_SECRET_BYTES: usize = 4;

/// Why settings were not changed. They are all as they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot work with one of them: which, and what it may hold.
    #[error("{0}")]
    Refused(String),
    /// Our own failure.
    #[error(transparent)]
    Ours(#[from] anyhow::Error),
}

impl App {
    /// Changes settings: all of them or none, also where the caller goes away meanwhile. The next
    /// request meets the new ones; what runs goes on with the old.
    pub async fn change(self: &Arc<Self>, user: &User, changes: Vec<Change>) -> Result<(), Error> {
        let (app, user) = (self.clone(), user.clone());
        let changed = tokio::spawn(async move { app.change_here(&user, changes).await });
        changed.await.map_err(anyhow::Error::from)?
    }

    /// Every setting that can be changed, those of the engines included.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let engines = self.jobs.engines.admitted();
        keys(engines.map(|engine| &engine.description))
    }

    async fn change_here(&self, user: &User, changes: Vec<Change>) -> Result<(), Error> {
        let secrets = changes.iter().filter_map(Change::secret);
        let secrets: Vec<String> = secrets.map(str::to_owned).collect();
        let _turn = self.settings.turn().await;
        let Some(plan) = self.settings.plan(user, changes)? else {
            return Ok(());
        };
        let refused = |message: String| {
            let message = without(&secrets, message);
            Error::Refused(plain(&message, MAX_REFUSAL_BYTES))
        };
        let environment = plan.overlay.environment();
        let rules = Rules::read(environment).map_err(refused)?;
        let next = self.jobs.prepare(environment).await;
        let next = next.map_err(refused)?;
        let kept = self.settings.keep(&plan).await;
        kept.map_err(|error| anyhow::Error::from(error).context("cannot keep the settings"))?;
        self.accounts.publish(rules);
        self.jobs.publish(next);
        tracing::info!("user {} has changed {}", user.id, plan.names().join(", "));
        self.settings.publish(plan.overlay);
        Ok(())
    }
}

/// The text with `…` in place of each secret.
fn without(secrets: &[String], text: String) -> String {
    let long = secrets
        .iter()
        .filter(|secret| secret.len() >= MIN_SECRET_BYTES);
    long.fold(text, |text, secret| text.replace(secret.as_str(), "…"))
}
