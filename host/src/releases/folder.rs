//! The engine directory while the server runs: a source of releases that is looked at once a second.
//!
//! There is no watcher of the file system: it is silent on network file systems and many bind mounts, so that the look
//! is needed anyway. A file counts when its length and time have not changed for [`QUIET_TIME`], and its digest
//! decides whether it is another release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_sandbox::{
    Component, ListedFiles, RejectedFile, digest, list_components, read_component,
};
use tokio::time::Instant;

use super::install::{Candidate, InstallReport};
use super::{ReleaseError, Releases, history};
use crate::store::{EngineChange, ReleaseState};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a file must not change before it is read.
pub(super) const QUIET_TIME: Duration = Duration::from_millis(500);
/// Time after which an incomplete or a missing file counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// Attempts to install a file while other processes change its engine.
const MAX_ATTEMPTS: usize = 3;

/// The files of the last look.
#[derive(Default)]
pub(super) struct SeenFiles {
    files: BTreeMap<String, SeenFile>,
    missing: BTreeMap<String, Instant>,
}

struct SeenFile {
    stamp: Stamp,
    /// When it got this stamp.
    since: Instant,
    /// When it changed first, if it is not decided.
    changed: Option<Instant>,
}

/// Length and time of the last change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// What a look has found.
#[derive(Default)]
struct Look {
    /// Files to read, with whether an incomplete one is refused.
    quiet: Vec<(String, bool)>,
    missing: Vec<String>,
}

impl SeenFiles {
    /// Compares the files with those of the last look. `known` are those about which something was decided.
    fn look(
        &mut self,
        stamps: BTreeMap<String, Stamp>,
        known: &BTreeSet<String>,
        now: Instant,
    ) -> Look {
        let mut look = Look::default();
        self.files.retain(|file, _| stamps.contains_key(file));
        self.missing.retain(|file, _| !stamps.contains_key(file));
        for file in known.iter().filter(|file| !stamps.contains_key(*file)) {
            let since = *self.missing.entry(file.clone()).or_insert(now);
            if now.duration_since(since) >= PATIENCE {
                look.missing.push(file.clone());
            }
        }
        for (file, stamp) in stamps {
            let seen = self.files.entry(file.clone()).or_insert(SeenFile {
                stamp,
                since: now,
                changed: Some(now),
            });
            if seen.stamp != stamp {
                (seen.stamp, seen.since) = (stamp, now);
                seen.changed.get_or_insert(now);
            }
            if let Some(changed) = seen.changed
                && now.duration_since(seen.since) >= QUIET_TIME
            {
                look.quiet
                    .push((file, now.duration_since(changed) >= PATIENCE));
            }
        }
        look
    }

    fn set_decided(&mut self, file: &str) {
        if let Some(seen) = self.files.get_mut(file) {
            seen.changed = None;
        }
    }
}

impl Releases {
    /// Looks at the engine directory once, and decides about the files that have changed.
    pub async fn look_at_directory(self: &Arc<Self>) {
        self.look(false).await;
    }

    /// The same. Refuses an incomplete file at once if a person asks, and otherwise when no program writes it.
    pub(super) async fn look(self: &Arc<Self>, is_asked: bool) {
        let releases = self.clone();
        let stamps = tokio::task::spawn_blocking(move || releases.stamps()).await;
        let Ok(Some(stamps)) = stamps else {
            return;
        };
        let known = {
            let state = self.lock();
            let rejected = state.engines.rejected.iter().map(|it| it.file.clone());
            state.rows.files.keys().cloned().chain(rejected).collect()
        };
        let look = self.seen().look(stamps, &known, Instant::now());
        for (file, is_final) in look.quiet {
            self.read_file(file, is_final || is_asked).await;
        }
        for file in look.missing {
            let _changes = self.changes.lock().await;
            self.forget_file(&file).await;
        }
    }

    /// Everything in the directory was decided at the start.
    pub(super) fn set_all_seen(&self) {
        let Some(stamps) = self.stamps() else { return };
        let mut seen = self.seen();
        seen.look(stamps.clone(), &BTreeSet::new(), Instant::now());
        for file in stamps.keys() {
            seen.set_decided(file);
        }
    }

    /// The files are looked at again, also those that were refused.
    pub fn look_again(&self) {
        *self.seen() = SeenFiles::default();
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, SeenFiles> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length and time of each component file. `None` if the directory cannot be read now.
    fn stamps(&self) -> Option<BTreeMap<String, Stamp>> {
        let listed = list_components(&self.directory).ok()?;
        let stamps = listed.files.into_iter().filter_map(|file| {
            let metadata = self.directory.metadata(&file).ok()?;
            let modified = metadata
                .modified()
                .ok()
                .map(cap_std::time::SystemTime::into_std);
            let stamp = Stamp {
                bytes: metadata.len(),
                modified,
            };
            Some((file, stamp))
        });
        Some(stamps.collect())
    }

    async fn read_file(self: &Arc<Self>, file: String, is_final: bool) {
        let (releases, name) = (self.clone(), file.clone());
        let read =
            tokio::task::spawn_blocking(move || read_component(&releases.directory, &name)).await;
        let Ok(read) = read else { return };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(refusal) => {
                self.seen().set_decided(&file);
                return self.reject(file, refusal).await;
            }
        };
        let digest = digest(&bytes);
        if self.is_decided(&file, &digest).await {
            self.seen().set_decided(&file);
            return;
        }
        let size_bytes = bytes.len();
        let admitted = self.engines().admit(&file, bytes.clone()).await;
        let component = match admitted {
            Ok(component) => component,
            // A program may still write it.
            Err(_) if !is_final => return,
            Err(refusal) => {
                self.seen().set_decided(&file);
                return self.reject(file, refusal).await;
            }
        };
        self.seen().set_decided(&file);
        if let Err(refusal) = self.bytes.save(&digest, &bytes).await {
            return self.reject(file, refusal).await;
        }
        self.decide_file(&file, component, size_bytes).await;
        let _changes = self.changes.lock().await;
        self.remove_old_releases().await;
    }

    /// True if nothing is to be done for these bytes of a file.
    ///
    /// If hosts share the database, each has a directory of its own. What one of them has installed before counts no
    /// more: otherwise a host with old files would undo an upgrade when it starts.
    pub(super) async fn is_decided(&self, file: &str, digest: &str) -> bool {
        if self.is_decided_here(file, digest) {
            return true;
        }
        if !self.store.is_shared() {
            return false;
        }
        match self.store.was_installed(digest).await {
            Ok(was_installed) => was_installed,
            Err(error) => {
                tracing::error!("cannot see whether engine file {file} was installed: {error}");
                false
            }
        }
    }

    fn is_decided_here(&self, file: &str, digest: &str) -> bool {
        let state = self.lock();
        let is_known = state.rows.files.get(file).is_some_and(|it| it == digest);
        let release = state.rows.releases.get(digest);
        // A release without a row was dropped, or superseded long ago.
        is_known
            && release.is_none_or(|release| {
                let is_serving = matches!(
                    release.state,
                    ReleaseState::Current | ReleaseState::Candidate
                );
                !is_serving || state.loaded.contains_key(digest)
            })
    }

    /// Decides about an admitted file.
    pub(super) async fn decide_file(&self, file: &str, component: Component, size_bytes: usize) {
        let component = Arc::new(component);
        let mut decided = self.try_file(file, &component, size_bytes).await;
        for _ in 1..MAX_ATTEMPTS {
            if !matches!(decided, Err(ReleaseError::Moved)) {
                break;
            }
            decided = self.try_file(file, &component, size_bytes).await;
        }
        match decided {
            Ok(_) => self.lock().engines.rejected.retain(|it| it.file != file),
            Err(error @ (ReleaseError::Database(_) | ReleaseError::Internal(_))) => {
                let error = anyhow::Error::from(error);
                tracing::error!("cannot install engine file {file}: {error:#}");
                // The next look tries again.
                self.seen().files.remove(file);
            }
            Err(error) => self.reject(file.to_owned(), error.into_refusal()).await,
        }
    }

    async fn try_file(
        &self,
        file: &str,
        component: &Arc<Component>,
        size_bytes: usize,
    ) -> Result<InstallReport, ReleaseError> {
        self.check_owner(file, &component.declared.name)
            .map_err(|refusal| ReleaseError::refused(file, refusal))?;
        let mut candidate = Candidate {
            component: component.clone(),
            size_bytes,
            file: file.to_owned(),
            by: String::new(),
            strategy: self.strategy,
            is_forced: false,
            probe: None,
            steps: Vec::new(),
        };
        self.test(&mut candidate).await?;
        let _changes = self.changes.lock().await;
        self.decide(candidate).await
    }

    /// Fails if another file of the directory has the engine's name.
    pub(super) fn check_owner(&self, file: &str, engine: &str) -> Result<(), Refusal> {
        let rows = self.rows();
        let Some(track) = rows.tracks.get(engine) else {
            return Ok(());
        };
        let owner = rows.file_of(track).filter(|owner| {
            // The file may be another engine now.
            let digest = rows.files.get(*owner);
            let release = digest.and_then(|digest| rows.releases.get(digest));
            release.is_some_and(|it| it.engine == engine) && self.directory.exists(owner)
        });
        let Some(owner) = owner.filter(|owner| *owner != file) else {
            return Ok(());
        };
        Guard::EngineNames.refuse_if(true, || {
            format!("names its engine {engine}, as {owner} already does")
        })
    }

    /// The server remembers the reason, and its settings no longer wait for the file.
    pub(super) async fn reject(&self, file: String, refusal: Refusal) {
        let is_known = |it: &RejectedFile| it.file == file && it.reason == refusal.reason;
        if self.engines().rejected.iter().any(is_known) {
            return;
        }
        self.lock().engines.reject(file, refusal);
        if let Err(error) = self.publish().await {
            tracing::error!("{error:#}");
        }
    }

    /// A file has left the directory: its engine stops, unless other hosts may have the file. The caller holds the lock
    /// of changes.
    pub(super) async fn forget_file(&self, file: &str) {
        let rows = self.rows();
        self.lock().engines.rejected.retain(|it| it.file != file);
        if self.store.is_shared() {
            return;
        }
        let parked = rows.releases.values();
        let parked = parked.filter(|it| it.file == file && it.state == ReleaseState::Parked);
        let track = rows.engine_of_file(file).cloned();
        let mut change = match &track {
            Some(track) => self.track_change(Some(track.clone()), None, ReleaseState::Retired, ""),
            None => EngineChange::default(),
        };
        change.removed_releases = parked.map(|it| it.digest.clone()).collect();
        change.files.push((file.to_owned(), None));
        if let Some(track) = &track {
            let why = format!("{file} is no longer in the engine directory");
            tracing::info!("engine {} stops: {why}", track.engine);
            let entry = history(&track.engine, &track.current, "removed", &why, "");
            change.history.push(entry);
        }
        if let Err(error) = self.commit(change, Vec::new()).await {
            tracing::error!("cannot stop the engine of {file}: {error}");
            return;
        }
        if track.is_some() {
            // A file that was refused because of its name may serve now.
            self.look_again();
        }
    }

    /// Looks at the engine directory again and again. Never returns.
    pub async fn follow_directory(self: Arc<Self>) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look_at_directory().await;
        }
    }

    /// The component files, and those that are refused by their names.
    pub(super) fn list_directory(&self) -> anyhow::Result<ListedFiles> {
        list_components(&self.directory).context("cannot read the engine directory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(bytes: u64) -> Stamp {
        Stamp {
            bytes,
            modified: None,
        }
    }

    fn files(entries: &[(&str, u64)]) -> BTreeMap<String, Stamp> {
        let entries = entries.iter();
        entries
            .map(|(file, bytes)| ((*file).to_owned(), stamp(*bytes)))
            .collect()
    }

    #[test]
    fn file_counts_when_it_has_not_changed_for_a_while() {
        let mut seen = SeenFiles::default();
        let (none, start) = (BTreeSet::new(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let look = |known_files: &mut SeenFiles, bytes, seconds| {
            let stamps = files(&[("a.wasm", bytes)]);
            known_files.look(stamps, &none, after(seconds)).quiet
        };
        assert!(look(&mut seen, 1, 0).is_empty());
        assert!(look(&mut seen, 2, 1).is_empty(), "it grows");
        let quiet = |is_final| vec![("a.wasm".to_owned(), is_final)];
        assert_eq!(look(&mut seen, 2, 2), quiet(false));
        assert_eq!(look(&mut seen, 2, 12), quiet(true));
        seen.set_decided("a.wasm");
        assert!(look(&mut seen, 2, 13).is_empty());
        assert!(look(&mut seen, 3, 14).is_empty());
        assert_eq!(look(&mut seen, 3, 15).len(), 1, "it was replaced");
    }

    #[test]
    fn missing_file_counts_after_a_while() {
        let mut seen = SeenFiles::default();
        let known: BTreeSet<String> = ["a.wasm".to_owned()].into();
        let start = Instant::now();
        let mut look = |entries: &[(&str, u64)], seconds| {
            let now = start + Duration::from_secs(seconds);
            seen.look(files(entries), &known, now).missing
        };
        assert!(look(&[], 0).is_empty());
        // It was replaced in two steps: removed and written.
        assert!(look(&[("a.wasm", 1)], 5).is_empty());
        assert!(look(&[], 6).is_empty());
        assert_eq!(look(&[], 16), ["a.wasm"]);
    }
}
