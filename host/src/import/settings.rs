//! Image settings, with all checks of a change by an administrator.

use anyhow::Result;

use super::{Kind, Run};
use crate::app::RefusedChanges;
use crate::settings::Change;
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
                Ok(Some(change)) => accepted.push(change),
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

    async fn change_settings(&mut self, accepted: Vec<Change>) -> Result<()> {
        let user = User {
            id: String::new(),
            name: "pinhole import".to_owned(),
            role: "admin".to_owned(),
        };
        let mut imported = accepted.len();
        let refused = self.app.change_accepted_settings(&user, accepted).await?;
        for RefusedChanges { changes, reason } in refused {
            for change in &changes {
                let path = &change.key().path;
                self.report.skipped(Kind::Settings, path, &reason);
            }
            imported -= changes.len();
        }
        for _ in 0..imported {
            self.report.imported(Kind::Settings);
        }
        Ok(())
    }
}
