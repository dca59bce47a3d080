//! What the database has about engines, in memory and by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_sandbox::grant::{Grant, Right};
use pinhole_sandbox::{Component, PendingApproval};

use super::KEPT_RELEASES;
use crate::store::{EngineChange, EngineRows, GrantRow, ReleaseRow, ReleaseState, Store, TrackRow};

/// Releases of an engine that are remembered because they were rolled back.
const MAX_ROLLED_BACK: usize = 50;

/// The rows of all engines at one moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// By digest.
    pub(super) releases: BTreeMap<String, ReleaseRow>,
    /// By engine.
    pub(super) tracks: BTreeMap<String, TrackRow>,
    /// By engine.
    grants: BTreeMap<String, GrantRow>,
    /// The digest of each file of the engine directory about which the server has decided.
    pub(super) files: BTreeMap<String, String>,
}

impl Rows {
    pub(super) async fn load(store: &Store) -> Result<Self> {
        let EngineRows {
            releases,
            tracks,
            grants,
            files,
        } = store
            .engine_rows()
            .await
            .context("cannot read the engines from the database")?;
        Ok(Self {
            releases: releases
                .into_iter()
                .map(|it| (it.digest.clone(), it))
                .collect(),
            tracks: tracks
                .into_iter()
                .map(|it| (it.engine.clone(), it))
                .collect(),
            grants: grants
                .into_iter()
                .map(|it| (it.engine.clone(), it))
                .collect(),
            files: files.into_iter().collect(),
        })
    }

    /// The grant of an engine; `None` if it has none yet.
    ///
    /// Fails if it is unreadable. The engine has no rights then.
    pub(super) fn grant(&self, engine: &str) -> Result<Option<Grant>, Refusal> {
        let Some(row) = self.grants.get(engine) else {
            return Ok(None);
        };
        match read_grant(row) {
            Ok(grant) => Ok(Some(grant)),
            Err(problem) => {
                Guard::GrantReadable.refuse_if(true, || {
                    format!(
                        "has an unreadable grant in the database ({problem}): review it, and grant it again with `pinhole engine grant {engine}`"
                    )
                })?;
                Ok(None)
            }
        }
    }

    /// The rows of which this process can serve all: an engine whose release is not loaded has its track of before. The
    /// engine that this process changes is not held back.
    pub(super) fn without_unloaded(
        mut self,
        before: &Self,
        loaded: &BTreeMap<String, Arc<Component>>,
        changed: Option<&str>,
    ) -> Self {
        let is_unloaded = |track: &TrackRow| {
            let mut serving = track.serving();
            changed != Some(track.engine.as_str()) && serving.any(|it| !loaded.contains_key(it))
        };
        let unloaded = self.tracks.extract_if(.., |_, track| is_unloaded(track));
        let engines: Vec<String> = unloaded.map(|(engine, _)| engine).collect();
        for engine in engines {
            if let Some(track) = before.tracks.get(&engine) {
                self.tracks.insert(engine, track.clone());
            }
        }
        self
    }

    pub(super) fn grant_row(&self, engine: &str) -> Option<&GrantRow> {
        self.grants.get(engine)
    }

    /// The engines that have a grant.
    pub(super) fn granted_engines(&self) -> BTreeSet<String> {
        self.grants.keys().cloned().collect()
    }

    /// The releases of an engine, the oldest first.
    pub(super) fn releases_of(&self, engine: &str) -> Vec<&ReleaseRow> {
        let mut releases: Vec<_> = self
            .releases
            .values()
            .filter(|it| it.engine == engine)
            .collect();
        releases.sort_by_key(|it| it.added_at);
        releases
    }

    /// The release of an engine that waits for approval.
    pub(super) fn parked(&self, engine: &str) -> Option<&ReleaseRow> {
        let mut releases = self.releases.values();
        releases.find(|it| it.engine == engine && it.state == ReleaseState::Parked)
    }

    /// The engine whose current release came from this file.
    pub(super) fn engine_of_file(&self, file: &str) -> Option<&TrackRow> {
        self.tracks
            .values()
            .find(|track| self.file_of(track) == Some(file))
    }

    /// The file in the engine directory from which an engine's current release came. `None` if it was uploaded.
    pub(super) fn file_of(&self, track: &TrackRow) -> Option<&str> {
        let newest = track.candidate.as_ref().unwrap_or(&track.current);
        let file = self.releases.get(newest)?.file.as_str();
        if file.is_empty() { None } else { Some(file) }
    }

    /// Changes the rows as the database does, except revisions and times.
    pub(super) fn apply(&mut self, change: &EngineChange) {
        match &change.track {
            Some((_, Some(after))) => {
                self.tracks.insert(after.engine.clone(), after.clone());
            }
            Some((Some(before), None)) => {
                self.tracks.remove(&before.engine);
            }
            Some((None, None)) | None => {}
        }
        for release in &change.releases {
            self.releases
                .insert(release.digest.clone(), release.clone());
        }
        for digest in &change.removed_releases {
            self.releases.remove(digest);
        }
        if let Some(grant) = &change.grant {
            self.grants.insert(grant.engine.clone(), grant.clone());
        }
        for (file, digest) in &change.files {
            match digest {
                Some(digest) => self.files.insert(file.clone(), digest.clone()),
                None => self.files.remove(file),
            };
        }
    }

    /// The digests of releases that are neither used nor among the newest of their engine.
    pub(super) fn superfluous_releases(&self) -> Vec<String> {
        let engines: BTreeSet<&str> = self
            .releases
            .values()
            .map(|it| it.engine.as_str())
            .collect();
        let mut superfluous = Vec::new();
        for engine in engines {
            let mut unused = self.releases_of(engine);
            unused.retain(|it| !self.is_needed(&it.digest));
            // A release that was rolled back is remembered longer than its bytes.
            let rolled_back = unused.extract_if(.., |it| it.state == ReleaseState::RolledBack);
            let rolled_back: Vec<_> = rolled_back.collect();
            for (releases, max_count) in [(unused, KEPT_RELEASES), (rolled_back, MAX_ROLLED_BACK)] {
                let count = releases.len().saturating_sub(max_count);
                superfluous.extend(releases.iter().take(count).map(|it| it.digest.clone()));
            }
        }
        superfluous
    }

    /// True if the release serves, can serve again at once, or waits for approval.
    fn is_needed(&self, digest: &str) -> bool {
        let is_parked = |it: &ReleaseRow| it.state == ReleaseState::Parked;
        let is_named =
            |track: &TrackRow| track.serves(digest) || track.previous.as_deref() == Some(digest);
        self.releases.get(digest).is_some_and(is_parked) || self.tracks.values().any(is_named)
    }

    /// True if the bytes of a component stay stored: those that are needed, and the newest of each engine.
    pub(super) fn keeps_bytes(&self, digest: &str) -> bool {
        let Some(release) = self.releases.get(digest) else {
            return false;
        };
        let newest = self.releases_of(&release.engine);
        self.is_needed(digest)
            || newest
                .iter()
                .rev()
                .filter(|it| !self.is_needed(&it.digest))
                .take(KEPT_RELEASES)
                .any(|it| it.digest == digest)
    }

    /// The components that wait for approval.
    pub(super) fn pending(&self) -> Vec<PendingApproval> {
        let parked = self.releases.values();
        let parked = parked.filter(|it| it.state == ReleaseState::Parked);
        parked
            .map(|release| self.pending_approval(release))
            .collect()
    }

    pub(super) fn pending_approval(&self, release: &ReleaseRow) -> PendingApproval {
        let declared_rights = read_rights(&release.declared).unwrap_or_default();
        let grant = self
            .grant(&release.engine)
            .ok()
            .flatten()
            .unwrap_or_default();
        let replaced = if release.replaces.is_empty() {
            &release.engine
        } else {
            &release.replaces
        };
        PendingApproval {
            engine: release.engine.clone(),
            file: file_label(release),
            digest: release.digest.clone(),
            new_rights: grant.new_rights(&declared_rights),
            declared_rights,
            previous_engine: Some(release.replaces.clone()).filter(|it| !it.is_empty()),
            is_served: self.tracks.contains_key(replaced),
        }
    }
}

/// The name of a release in messages: its file, or its digest if it was uploaded.
pub(super) fn file_label(release: &ReleaseRow) -> String {
    if release.file.is_empty() {
        let short = release.digest.get(..12).unwrap_or_default();
        return format!("{}@{short}", release.engine);
    }
    release.file.clone()
}

/// The row of a new release.
pub(super) fn release_row(component: &Component, file: &str, size_bytes: usize) -> ReleaseRow {
    ReleaseRow {
        digest: component.digest.clone(),
        engine: component.declared.name.clone(),
        version: component.declared.version.clone(),
        file: file.to_owned(),
        declared: rights_json(&component.declared_rights),
        granted: "[]".to_owned(),
        replaces: String::new(),
        state: ReleaseState::Parked,
        reason: String::new(),
        size_bytes: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        added_by: String::new(),
        added_at: crate::store::now(),
    }
}

pub(super) fn grant_row(engine: &str, grant: &Grant) -> GrantRow {
    GrantRow {
        engine: engine.to_owned(),
        allows: rights_json(&grant.allows),
        denies: rights_json(&grant.denies),
        digest: grant.digest.clone(),
        file: grant.file.clone(),
    }
}

fn read_grant(row: &GrantRow) -> Result<Grant, serde_json::Error> {
    Ok(Grant {
        digest: row.digest.clone(),
        file: row.file.clone(),
        allows: read_rights(&row.allows)?,
        denies: read_rights(&row.denies)?,
    })
}

pub(super) fn read_rights(json: &str) -> Result<BTreeSet<Right>, serde_json::Error> {
    serde_json::from_str(json)
}

pub(super) fn rights_json(rights: &BTreeSet<Right>) -> String {
    serde_json::to_string(rights).unwrap_or_else(|_| "[]".to_owned())
}
