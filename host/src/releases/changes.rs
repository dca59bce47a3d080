//! Changes of engines, for those who follow them: administrators hear of each.

use pinhole_ground::metrics;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::Releases;
use crate::store::HistoryRow;

/// Changes that a follower may be behind. It loses older ones.
const MAX_BEHIND: usize = 256;
/// The state of a release that was removed.
const REMOVED: &str = "removed";

/// Something that happened to an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineEvent {
    pub engine: String,
    /// Such as `installed`, `parked`, `promoted`, `rolled-back`, `pinned` or `removed`.
    pub what: String,
    /// SHA-256 of the component that it happened to, in hexadecimal.
    pub digest: String,
    /// Empty if the release was removed.
    pub version: String,
    /// `parked`, `candidate`, `current`, `retired`, `rolled-back` or `removed`: the state of the component now.
    pub state: String,
}

/// Tells followers of changes.
pub(super) struct Announcements(broadcast::Sender<EngineEvent>);

impl Default for Announcements {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl Releases {
    /// Follows the changes of engines from now on.
    #[must_use]
    pub fn follow_changes(&self) -> broadcast::Receiver<EngineEvent> {
        self.announcements.0.subscribe()
    }

    /// Tells followers what has happened to engines.
    pub(super) fn announce(&self, history: &[HistoryRow]) {
        let rows = self.rows();
        for entry in history {
            metrics::count_engine_change(&entry.what);
            let release = rows.releases.get(&entry.digest);
            let event = EngineEvent {
                engine: entry.engine.clone(),
                what: entry.what.clone(),
                digest: entry.digest.clone(),
                version: release.map(|it| it.version.clone()).unwrap_or_default(),
                state: release.map_or(REMOVED, |it| it.state.name()).to_owned(),
            };
            // It fails if no one follows.
            self.announcements.0.send(event).ok();
        }
    }
}
