//! The rows of engines: releases, tracks, grants and history.

use super::database::Row;

/// The state of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseState {
    /// Waits for an administrator's approval.
    Parked,
    /// Serves together with the current release, and is watched.
    Candidate,
    Current,
    /// Served before. It can serve again.
    Retired,
    /// Was replaced because it failed, or by an administrator. Only a person installs it again.
    RolledBack,
}

/// A component that was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    pub engine: String,
    pub version: String,
    /// The name of its file in the engine directory; empty if it was uploaded.
    pub file: String,
    /// JSON array of the rights that it declares.
    pub declared: String,
    /// JSON array of the rights that were granted to it.
    pub granted: String,
    /// The engine that the same file was before; empty if it has not changed its name.
    pub replaces: String,
    pub state: ReleaseState,
    /// Why it has this state.
    pub reason: String,
    pub size_bytes: i64,
    /// The name of the user or command that installed it.
    pub added_by: String,
    /// Seconds since 1970.
    pub added_at: i64,
}

/// What an engine's name points to. Releases are named by their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRow {
    pub engine: String,
    pub current: String,
    pub previous: Option<String>,
    pub candidate: Option<String>,
    /// The share of users who get the candidate.
    pub percent: u8,
    /// `watch` or `canary`.
    pub strategy: String,
    pub pinned: bool,
    /// Increases with each change.
    pub revision: i64,
    /// Seconds since 1970.
    pub changed_at: i64,
}

/// What an administrator allowed an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub engine: String,
    /// JSON array of rights.
    pub allows: String,
    /// JSON array of rights.
    pub denies: String,
    /// The component that it was given to.
    pub digest: String,
    pub file: String,
}

/// Something that happened to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Seconds since 1970. Set by the store.
    pub at: i64,
    pub engine: String,
    pub digest: String,
    /// Such as `installed` or `rolled-back`.
    pub what: String,
    pub why: String,
    /// The name of the user or command that caused it; empty if the server did.
    pub user_name: String,
}

/// A change of one engine, which is written completely or not at all.
#[derive(Clone, Debug, Default)]
pub struct EngineChange {
    /// Before and after. `None` is no track.
    pub track: Option<(Option<TrackRow>, Option<TrackRow>)>,
    pub releases: Vec<ReleaseRow>,
    pub removed_releases: Vec<String>,
    pub grant: Option<GrantRow>,
    /// The grant that the new one replaces.
    pub grant_before: Option<GrantRow>,
    /// Files of the engine directory, with the digest about which the server has decided; `None` forgets the file.
    pub files: Vec<(String, Option<String>)>,
    pub history: Vec<HistoryRow>,
}

/// All that the database has about engines, except history and results.
#[derive(Clone, Debug, Default)]
pub struct EngineRows {
    pub releases: Vec<ReleaseRow>,
    pub tracks: Vec<TrackRow>,
    pub grants: Vec<GrantRow>,
    /// File and digest.
    pub files: Vec<(String, String)>,
}

impl EngineChange {
    /// The engine whose track or grant it changes.
    #[must_use]
    pub fn engine(&self) -> Option<&str> {
        let (before, after) = self.track.as_ref().map_or((None, None), |(before, after)| {
            (before.as_ref(), after.as_ref())
        });
        let track = after.or(before).map(|it| it.engine.as_str());
        track.or_else(|| self.grant.as_ref().map(|it| it.engine.as_str()))
    }
}

impl TrackRow {
    /// The digests of the releases that serve.
    pub fn serving(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.current).chain(&self.candidate)
    }

    /// True if the release with this digest serves: as current one, or as candidate.
    #[must_use]
    pub fn serves(&self, digest: &str) -> bool {
        self.current == digest || self.candidate.as_deref() == Some(digest)
    }
}

impl ReleaseState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Candidate => "candidate",
            Self::Current => "current",
            Self::Retired => "retired",
            Self::RolledBack => "rolled-back",
        }
    }

    /// An unknown state of a newer server serves nothing.
    fn parse(name: &str) -> Self {
        [
            Self::Parked,
            Self::Candidate,
            Self::Current,
            Self::RolledBack,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .unwrap_or(Self::Retired)
    }
}

pub(super) fn release_from_row(row: &Row) -> sqlx::Result<ReleaseRow> {
    let state: String = row.try_get("state")?;
    Ok(ReleaseRow {
        digest: row.try_get("digest")?,
        engine: row.try_get("engine")?,
        version: row.try_get("version")?,
        file: row.try_get("file")?,
        declared: row.try_get("declared")?,
        granted: row.try_get("granted")?,
        replaces: row.try_get("replaces")?,
        state: ReleaseState::parse(&state),
        reason: row.try_get("reason")?,
        size_bytes: row.try_get("size_bytes")?,
        added_by: row.try_get("added_by")?,
        added_at: row.try_get("added_at")?,
    })
}

pub(super) fn track_from_row(row: &Row) -> sqlx::Result<TrackRow> {
    let percent: i64 = row.try_get("percent")?;
    Ok(TrackRow {
        engine: row.try_get("engine")?,
        current: row.try_get("current")?,
        previous: row.try_get("previous")?,
        candidate: row.try_get("candidate")?,
        percent: u8::try_from(percent).unwrap_or_default(),
        strategy: row.try_get("strategy")?,
        pinned: row.try_get_flag("pinned")?,
        revision: row.try_get("revision")?,
        changed_at: row.try_get("changed_at")?,
    })
}

pub(super) fn grant_from_row(row: &Row) -> sqlx::Result<GrantRow> {
    Ok(GrantRow {
        engine: row.try_get("engine")?,
        allows: row.try_get("allows")?,
        denies: row.try_get("denies")?,
        digest: row.try_get("digest")?,
        file: row.try_get("file")?,
    })
}
