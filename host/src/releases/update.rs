//! A look at the engine directory that a person asks for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::folder::QUIET_TIME;
use super::{EngineList, EngineStatus, RejectedEngineFile, ReleaseError, Releases};

/// What a look at the engine directory has changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdateReport {
    /// The engines that have changed, by name.
    pub changed: Vec<EngineStatus>,
    /// All files that are refused.
    pub rejected: Vec<RejectedEngineFile>,
}

impl UpdateReport {
    /// The engines that are not as they were before.
    #[must_use]
    pub fn between(before: &EngineList, after: EngineList) -> Self {
        let state = |status: &EngineStatus| {
            let versions = status.versions.iter();
            let states = versions.map(|it| (it.digest.clone(), it.state.clone()));
            (status.revision, states.collect::<Vec<_>>())
        };
        let is_changed = |status: &EngineStatus| {
            let mut engines = before.engines.iter();
            !engines.any(|it| it.name == status.name && state(it) == state(status))
        };
        Self {
            changed: after.engines.into_iter().filter(is_changed).collect(),
            rejected: after.rejected,
        }
    }
}

impl Releases {
    /// Looks at all files of the engine directory, also at those that were refused, and decides about them. A file that
    /// is missing counts later.
    pub async fn update(self: &Arc<Self>) -> Result<UpdateReport, ReleaseError> {
        let before = self.list();
        if !before.starting.is_empty() {
            return Err(ReleaseError::Conflict(format!(
                "the server is still starting its engines ({}): retry later",
                before.starting.join(", ")
            )));
        }
        self.look_again();
        self.look_at_directory().await;
        // A program may still write a file.
        tokio::time::sleep(QUIET_TIME).await;
        self.look(true).await;
        Ok(UpdateReport::between(&before, self.list()))
    }
}
