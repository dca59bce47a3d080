//! The engines of a server for a person: which versions serve, which wait, and which files were refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::read_rights;
use super::{ReleaseError, Releases};
use crate::store::{ReleaseRow, ReleaseState, TrackRow};

/// Range of the counts of jobs.
const FIGURES_RANGE: Duration = Duration::from_hours(24);

/// All engines and the files that did not become one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EngineList {
    /// By name.
    pub engines: Vec<EngineStatus>,
    /// Files of the engine directory that were refused.
    pub rejected: Vec<RejectedEngineFile>,
    /// Files that are not admitted yet.
    pub starting: Vec<String>,
}

/// The versions of an engine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EngineStatus {
    pub name: String,
    /// False if none of its versions serves.
    pub serves: bool,
    pub pinned: bool,
    /// `watch` or `canary`, of the newest rollout.
    pub strategy: String,
    /// The share of users who get the candidate; 0 without one.
    pub percent: u8,
    /// Increases with each change.
    pub revision: i64,
    /// When the track changed, in seconds since 1970; 0 if the engine has no track.
    pub changed_at: i64,
    /// Those that wait or serve, then the newest first.
    pub versions: Vec<VersionStatus>,
}

/// A version of an engine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionStatus {
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// `parked`, `candidate`, `current`, `retired` or `rolled-back`.
    pub state: String,
    /// It was current before, and serves again at once if the engine is rolled back.
    pub is_previous: bool,
    /// Why it has this state.
    pub reason: String,
    /// Its file in the engine directory; empty if it was uploaded.
    pub file: String,
    pub size_bytes: i64,
    /// The name of the user or command that installed it; empty if the server did.
    pub added_by: String,
    /// Seconds since 1970.
    pub added_at: i64,
    /// The permissions that wait for approval.
    pub new_rights: Vec<String>,
    /// Its jobs of the last 24 hours, since the server started. `null` without a running server.
    #[schema(required = true)]
    pub jobs: Option<u64>,
    /// Those that failed by the engine or its upstream.
    #[schema(required = true)]
    pub failed: Option<u64>,
}

/// A file of the engine directory that was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RejectedEngineFile {
    pub file: String,
    /// Follows the file's name in a sentence.
    pub reason: String,
}

impl Releases {
    /// All engines and the files that did not become one.
    #[must_use]
    pub fn list(&self) -> EngineList {
        let rows = self.rows();
        let mut names: Vec<&String> = rows.releases.values().map(|it| &it.engine).collect();
        names.extend(rows.tracks.keys());
        names.sort();
        names.dedup();
        let engines = self.engines();
        EngineList {
            engines: names.into_iter().map(|name| self.status_of(name)).collect(),
            rejected: engines
                .rejected
                .iter()
                .map(|it| RejectedEngineFile {
                    file: it.file.clone(),
                    reason: it.reason.clone(),
                })
                .collect(),
            starting: engines.starting.iter().cloned().collect(),
        }
    }

    /// The versions of one engine.
    pub fn status(&self, engine: &str) -> Result<EngineStatus, ReleaseError> {
        let status = self.status_of(engine);
        if status.versions.is_empty() {
            self.track(engine)?;
        }
        Ok(status)
    }

    /// The versions of one engine; none if it is unknown.
    #[must_use]
    pub fn status_of(&self, engine: &str) -> EngineStatus {
        let rows = self.rows();
        let track = rows.tracks.get(engine);
        let mut versions: Vec<_> = rows.releases_of(engine);
        versions.reverse();
        versions.sort_by_key(|it| match it.state {
            ReleaseState::Parked => 0,
            ReleaseState::Candidate => 1,
            ReleaseState::Current => 2,
            ReleaseState::Retired | ReleaseState::RolledBack => 3,
        });
        let grant = rows.grant(engine).ok().flatten().unwrap_or_default();
        let new_rights = |release: &ReleaseRow| {
            if release.state != ReleaseState::Parked {
                return Vec::new();
            }
            let declared = read_rights(&release.declared).unwrap_or_default();
            let new = grant.new_rights(&declared);
            new.iter().map(ToString::to_string).collect()
        };
        let is_previous =
            |it: &ReleaseRow| track.and_then(|track| track.previous.as_ref()) == Some(&it.digest);
        EngineStatus {
            name: engine.to_owned(),
            serves: self.engines().get(engine).is_some(),
            pinned: track.is_some_and(|it| it.pinned),
            strategy: track.map(|it| it.strategy.clone()).unwrap_or_default(),
            percent: track.map_or(0, |it: &TrackRow| it.percent),
            revision: track.map_or(0, |it| it.revision),
            changed_at: track.map_or(0, |it| it.changed_at),
            versions: versions
                .into_iter()
                .map(|it| self.version_status(it, is_previous(it), new_rights(it)))
                .collect(),
        }
    }

    fn version_status(
        &self,
        release: &ReleaseRow,
        is_previous: bool,
        new_rights: Vec<String>,
    ) -> VersionStatus {
        let figures = self.publisher.get().map(|it| &it.jobs.figures);
        let counts = figures.map(|figures| {
            let counted = figures.version(&release.digest, FIGURES_RANGE);
            counted.map_or((0, 0), |counted| (counted.jobs, counted.failed))
        });
        VersionStatus {
            version: release.version.clone(),
            digest: release.digest.clone(),
            state: release.state.name().to_owned(),
            is_previous,
            reason: release.reason.clone(),
            file: release.file.clone(),
            size_bytes: release.size_bytes,
            added_by: release.added_by.clone(),
            added_at: release.added_at,
            new_rights,
            jobs: counts.map(|(jobs, _)| jobs),
            failed: counts.map(|(_, failed)| failed),
        }
    }
}
