//! Image settings, with all checks of a change by an administrator.

use anyhow::Result;

use super::{Kind, Run};
use crate::app::ChangeError;
use crate::settings::{Change, SettingKey};
use crate::store::User;

/// The beginnings of the paths of image settings.
const PATHS: [&str; 5] = [
    "image_generation.",
    "images.edit.",
    "task.image.",
    "task.model.",
    "user.permissions.features.image_generation",
];

impl Run<'_> {
    /// Stores the settings that this server does not have yet. Those that it cannot use are left out.
    pub(super) async fn import_settings(&mut self) -> Result<()> {
        let keys = self.app.setting_keys().await?;
        let overlay = self.app.settings.overlay();
        let mut accepted = Vec::new();
        for key in keys {
            if !PATHS.iter().any(|path| key.path.starts_with(path)) {
                continue;
            }
            let value = self.settings.value(&mut self.source, &key.path).await?;
            let Some(value) = value else {
                continue;
            };
            self.report.found(Kind::Settings);
            if overlay.is_stored(&key) {
                self.report.exists(Kind::Settings);
                continue;
            }
            match Change::new(&key, &value) {
                Ok(Some(_)) => accepted.push((key, value)),
                Ok(None) => {
                    let reason = "its value is the mark of a hidden secret";
                    self.report.skipped(Kind::Settings, &key.path, reason);
                }
                Err(reason) => {
                    let reason = format!("{} {reason}", key.name);
                    self.report.skipped(Kind::Settings, &key.path, reason);
                }
            }
        }
        self.change_settings(accepted).await?;
        self.progress(Kind::Settings);
        Ok(())
    }

    /// Makes all changes at once, without those that a refusal names.
    async fn change_settings(
        &mut self,
        mut accepted: Vec<(SettingKey, serde_json::Value)>,
    ) -> Result<()> {
        let user = User {
            id: String::new(),
            name: "pinhole import".to_owned(),
            role: "admin".to_owned(),
        };
        while !accepted.is_empty() {
            let changes = accepted.iter();
            let changes = changes.filter_map(|(key, value)| Change::new(key, value).ok().flatten());
            let changed = self.app.change_settings(&user, changes.collect()).await;
            let reason = match changed {
                Ok(()) => {
                    for _ in &accepted {
                        self.report.imported(Kind::Settings);
                    }
                    return Ok(());
                }
                Err(ChangeError::Refused(reason)) => reason,
                Err(ChangeError::Internal(error)) => return Err(error),
            };
            let is_named = |key: &SettingKey| key.is_named_in(&reason);
            let names_one = accepted.iter().any(|(key, _)| is_named(key));
            let (refused, remaining): (Vec<_>, Vec<_>) = accepted
                .into_iter()
                .partition(|(key, _)| !names_one || is_named(key));
            for (key, _) in refused {
                self.report.skipped(Kind::Settings, &key.path, &reason);
            }
            accepted = remaining;
        }
        Ok(())
    }
}
