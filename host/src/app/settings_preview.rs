//! Settings that are not stored yet: what they lead to, and their problems.

use std::sync::Arc;

use super::App;
use super::settings_change::{ChangeError, Secrets};
use crate::accounts::Rules;
use crate::jobs::{BINDINGS, Snapshot};
use crate::settings::Change;

/// Problems that a check of settings reports. The values of further ones are not looked at.
pub const MAX_PROBLEMS: usize = 20;

/// What settings that are not stored lead to.
pub struct SettingsPreview {
    /// The snapshot with those of them that can be used.
    pub snapshot: Arc<Snapshot>,
    pub problems: Vec<SettingsProblem>,
}

/// Why a value cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The name of the setting.
    pub name: String,
    /// The problem and the remedy.
    pub message: String,
}

impl App {
    /// The snapshot that these changes lead to, with their problems. Nothing changes.
    ///
    /// Fails if the server cannot use a value at all.
    pub async fn preview_settings(&self, changes: &[Change]) -> Result<Arc<Snapshot>, ChangeError> {
        let complete = self.jobs.complete_snapshot().await;
        let complete = complete.map_err(|error| ChangeError::Refused(error.to_string()))?;
        if changes.is_empty() {
            return Ok(complete);
        }
        let overlay = self.settings.preview(changes);
        let preview = self.jobs.preview(overlay.environment()).await;
        preview.map_err(|message| ChangeError::Refused(Secrets::of(changes).redact(message)))
    }

    /// Checks changes as [`Self::change_settings`] does. Nothing changes.
    ///
    /// After a problem, checks the other changes without it: so it reports one problem of each value.
    pub async fn check_settings(&self, mut changes: Vec<Change>) -> SettingsPreview {
        let secrets = Secrets::of(&changes);
        let mut problems = Vec::new();
        while !changes.is_empty() && problems.len() < MAX_PROBLEMS {
            let message = match self.prepare_changes(&changes).await {
                Ok(snapshot) => return SettingsPreview { snapshot, problems },
                Err(message) => message,
            };
            let change = changes.remove(culprit(&changes, &message));
            problems.push(SettingsProblem {
                name: change.key().name.clone(),
                message: secrets.redact(message),
            });
        }
        let snapshot = self.jobs.snapshot();
        SettingsPreview { snapshot, problems }
    }

    async fn prepare_changes(&self, changes: &[Change]) -> Result<Arc<Snapshot>, String> {
        let overlay = self.settings.preview(changes);
        Rules::from_environment(overlay.environment())?;
        self.jobs.prepare(overlay.environment()).await
    }
}

/// The index of the change to which a message belongs: the one that it names, or else that of the bindings, which
/// can be the cause of a message about another setting.
fn culprit(changes: &[Change], message: &str) -> usize {
    let named = changes.iter().position(|it| it.key().is_named_in(message));
    let bindings = || changes.iter().position(|it| it.key().name == BINDINGS);
    named.or_else(bindings).unwrap_or_default()
}
