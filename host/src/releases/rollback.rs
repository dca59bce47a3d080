//! What people and the watch do with the releases of an engine: roll back, promote, pin, remove.

use std::sync::Arc;

use pinhole_sandbox::Component;
use pinhole_sandbox::grant::Grant;

use super::rows::{file_label, grant_row, read_rights};
use super::{ReleaseError, Releases, history, internal, track};
use crate::store::{HistoryRow, ReleaseRow, ReleaseState, TrackRow};

/// Entries of the history that one request gets.
const MAX_HISTORY: u32 = 200;

impl Releases {
    /// Lets an earlier release of an engine serve again: its candidate's predecessor, else the previous one, or the
    /// one with this digest, which may be abbreviated. Returns its digest.
    pub async fn roll_back(
        &self,
        engine: &str,
        to: Option<&str>,
        why: &str,
        by: &str,
    ) -> Result<String, ReleaseError> {
        let _changes = self.changes.lock().await;
        self.roll_back_now(engine, to, why, by).await
    }

    /// The caller holds the lock of changes.
    pub(super) async fn roll_back_now(
        &self,
        engine: &str,
        to: Option<&str>,
        why: &str,
        by: &str,
    ) -> Result<String, ReleaseError> {
        let track = self.track(engine)?;
        let reason = if why.is_empty() {
            format!("rolled back by {by}")
        } else {
            why.to_owned()
        };
        let target = match to {
            Some(prefix) => self.find_release(engine, prefix)?,
            None if track.candidate.is_some() => track.current.clone(),
            None => track.previous.clone().ok_or_else(|| {
                ReleaseError::Conflict(format!("engine {engine} has no previous version"))
            })?,
        };
        let replaced = track.candidate.as_ref().unwrap_or(&track.current).clone();
        if target == replaced {
            return Err(ReleaseError::Conflict(format!(
                "this version of engine {engine} serves already"
            )));
        }
        let after = if target == track.current {
            track::without_candidate(&track)
        } else {
            track::rolled_back(&track, &target)
        };
        let component = self.load(&target).await?;
        let mut change =
            self.track_change(Some(track), Some(after), ReleaseState::RolledBack, &reason);
        change.grant = self.grant_of_release(engine, &target)?;
        change
            .history
            .push(history(engine, &replaced, "rolled-back", &reason, by));
        self.commit(change, vec![component]).await?;
        let label = self.version_label(&target);
        tracing::warn!("engine {engine}: {label} serves again: {reason}");
        Ok(target)
    }

    /// The candidate of an engine becomes its current release without further watching.
    pub async fn promote(&self, engine: &str, by: &str) -> Result<String, ReleaseError> {
        let _changes = self.changes.lock().await;
        let track = self.track(engine)?;
        let Some(after) = track::promoted(&track) else {
            return Err(no_candidate(engine));
        };
        self.move_candidate(track, after, "promoted", by).await
    }

    /// More users get the candidate of a canary, or it becomes current. The caller holds the lock of changes.
    pub(super) async fn advance(&self, track: TrackRow, why: &str) -> Result<String, ReleaseError> {
        let Some(after) = track::advanced(&track) else {
            return Err(no_candidate(&track.engine));
        };
        let what = if after.candidate.is_some() {
            "advanced"
        } else {
            "promoted"
        };
        self.move_candidate(track, after, what, why).await
    }

    async fn move_candidate(
        &self,
        track: TrackRow,
        after: TrackRow,
        what: &str,
        by: &str,
    ) -> Result<String, ReleaseError> {
        let candidate = track.candidate.clone().unwrap_or_default();
        let engine = track.engine.clone();
        let mut change = self.track_change(Some(track), Some(after), ReleaseState::Retired, "");
        change
            .history
            .push(history(&engine, &candidate, what, "", by));
        self.commit(change, Vec::new()).await?;
        self.remove_old_releases().await;
        Ok(candidate)
    }

    /// Drops the candidate of an engine, or the release that waits for approval. The current release serves on.
    pub async fn abort(&self, engine: &str, by: &str) -> Result<String, ReleaseError> {
        let changes = self.changes.lock().await;
        let parked = self.rows().parked(engine).cloned();
        if let Some(parked) = parked {
            let mut change = crate::store::EngineChange::default();
            change.removed_releases.push(parked.digest.clone());
            change
                .history
                .push(history(engine, &parked.digest, "aborted", "", by));
            self.commit(change, Vec::new()).await?;
            self.remove_old_releases().await;
            return Ok(parked.digest);
        }
        if self.track(engine)?.candidate.is_none() {
            return Err(no_candidate(engine));
        }
        drop(changes);
        self.roll_back(engine, None, &format!("aborted by {by}"), by)
            .await
    }

    /// A pinned engine changes only by a person, and not by a file in the engine directory.
    pub async fn set_pinned(
        &self,
        engine: &str,
        pinned: bool,
        by: &str,
    ) -> Result<(), ReleaseError> {
        let _changes = self.changes.lock().await;
        let track = self.track(engine)?;
        if track.pinned == pinned {
            return Ok(());
        }
        let after = TrackRow {
            pinned,
            ..track.clone()
        };
        let what = if pinned { "pinned" } else { "unpinned" };
        let entry = history(engine, &track.current, what, "", by);
        let mut change = self.track_change(Some(track), Some(after), ReleaseState::Retired, "");
        change.history.push(entry);
        self.commit(change, Vec::new()).await
    }

    /// Stops an engine. Its grant, its newest releases and its history stay.
    pub async fn remove(&self, engine: &str, by: &str) -> Result<(), ReleaseError> {
        let _changes = self.changes.lock().await;
        let track = self.track(engine)?;
        self.retire(track, by).await
    }

    /// The caller holds the lock of changes.
    pub(super) async fn retire(&self, track: TrackRow, by: &str) -> Result<(), ReleaseError> {
        let entry = history(&track.engine, &track.current, "removed", "", by);
        let mut change = self.track_change(Some(track), None, ReleaseState::Retired, "");
        change.history.push(entry);
        self.commit(change, Vec::new()).await
    }

    /// What happened to an engine, the newest first.
    pub async fn history(&self, engine: &str) -> Result<Vec<HistoryRow>, ReleaseError> {
        let entries = self.store.engine_history(engine, MAX_HISTORY).await;
        let entries = entries.map_err(internal)?;
        if entries.is_empty() {
            self.track(engine)?;
        }
        Ok(entries)
    }

    /// The digest that begins with these digits.
    fn find_release(&self, engine: &str, prefix: &str) -> Result<String, ReleaseError> {
        let rows = self.rows();
        let prefix = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        let mut found = rows
            .releases_of(engine)
            .into_iter()
            .filter(|it| it.state != ReleaseState::Parked && it.digest.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(release), None) => Ok(release.digest.clone()),
            (Some(_), Some(_)) => Err(ReleaseError::Conflict(format!(
                "several versions of engine {engine} begin with {prefix}: use more digits"
            ))),
            (None, _) => Err(ReleaseError::Unknown(format!(
                "engine {engine} has no version {prefix}: run `pinhole engine show {engine}`"
            ))),
        }
    }

    /// The component of a release, loaded again if it does not serve.
    async fn load(&self, digest: &str) -> Result<Arc<Component>, ReleaseError> {
        let loaded = self.lock().loaded.get(digest).cloned();
        if let Some(component) = loaded {
            return Ok(component);
        }
        let release = self.rows().releases.get(digest).cloned();
        let release = release
            .ok_or_else(|| ReleaseError::Unknown(format!("there is no version {digest}")))?;
        let label = file_label(&release);
        let admitted = self.admit_release(&release).await;
        admitted
            .map(Arc::new)
            .map_err(|refusal| ReleaseError::refused(&label, refusal))
    }

    /// The grant with which a release served, without the rights that an administrator has denied since.
    pub(super) fn grant_of_release(
        &self,
        engine: &str,
        digest: &str,
    ) -> Result<Option<crate::store::GrantRow>, ReleaseError> {
        let rows = self.rows();
        let Some(release) = rows.releases.get(digest) else {
            return Ok(None);
        };
        let grant = rows.grant(engine).ok().flatten().unwrap_or_default();
        let mut allows = read_rights(&release.granted).map_err(internal)?;
        allows.extend(grant.allows.iter().cloned());
        allows.retain(|right| !grant.denies.iter().any(|denied| denied.includes(right)));
        let restored = Grant {
            digest: digest.to_owned(),
            file: release.file.clone(),
            allows,
            denies: grant.denies,
        };
        Ok(Some(grant_row(engine, &restored)))
    }

    fn version_label(&self, digest: &str) -> String {
        let rows = self.rows();
        let version = rows.releases.get(digest).map(|it: &ReleaseRow| &it.version);
        let short = digest.get(..12).unwrap_or(digest);
        match version {
            Some(version) if !version.is_empty() => format!("version {version} ({short})"),
            _ => format!("version {short}"),
        }
    }
}

fn no_candidate(engine: &str) -> ReleaseError {
    ReleaseError::Conflict(format!(
        "engine {engine} has no new version that is watched or waits for approval"
    ))
}
