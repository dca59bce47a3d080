//! Changes of engines that another host has made.
//!
//! Each host loads the releases that the database names. It says in the database which of them it has, so that a
//! rollout ends only when all running hosts have the new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use pinhole_sandbox::Component;

use super::rows::{Rows, file_label};
use super::{ReleaseError, Releases, State, compose};
use crate::store::{HostRelease, ReleaseRow, TrackRow};

/// Releases that this host cannot load, by digest.
pub(super) type LoadFailures = BTreeMap<String, LoadFailure>;

/// Why this host cannot load a release.
pub(super) struct LoadFailure {
    /// Follows the name of the release in a sentence.
    reason: String,
    /// The component itself is refused: another attempt has the same result.
    is_final: bool,
}

impl Releases {
    /// Lets the releases serve that the database names. Running jobs finish on theirs.
    ///
    /// An engine whose release this host cannot load stays as it is.
    pub async fn reload(&self) -> Result<()> {
        // Otherwise these engines could replace those of a later change.
        let _changes = self.changes.lock().await;
        self.follow().await
    }

    /// False if another [`Self::reload`] may load more releases.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let state = self.lock();
        state.failures.values().all(|it| it.is_final)
    }

    /// True if this process has just started and compiles a release that serves on other hosts.
    #[must_use]
    pub fn is_behind_others(&self) -> bool {
        let state = self.lock();
        let mut serving = state.rows.tracks.values().flat_map(TrackRow::serving);
        self.store.is_shared()
            && serving.any(|digest| {
                let release = state.rows.releases.get(digest);
                release.is_some_and(|it| state.is_starting(it))
            })
    }

    /// A release that the start of this process cannot load. It may be possible later.
    pub(super) fn record_failure(&self, digest: &str, reason: &str) {
        let failure = LoadFailure {
            reason: reason.to_owned(),
            is_final: false,
        };
        self.lock().failures.insert(digest.to_owned(), failure);
    }

    /// The same. The caller holds the lock of changes.
    pub(super) async fn follow(&self) -> Result<()> {
        let newest = Rows::load(&self.store).await?;
        let before = self.rows();
        let missing = self.missing_releases(&newest);
        if newest == before && missing.is_empty() {
            return Ok(());
        }
        let mut admitted = Vec::new();
        for release in missing {
            if let Some(component) = self.admit_missing(&release).await {
                admitted.push(component);
            }
        }
        let (rows, engines) = {
            let state = self.lock();
            let mut loaded = state.loaded.clone();
            loaded.extend(admitted.iter().map(|it| (it.digest.clone(), it.clone())));
            let rows = newest.clone().without_unloaded(&before, &loaded, None);
            let engines = compose(&state.engines, &rows, &loaded);
            (rows, engines)
        };
        let prepared = match self.publisher.get() {
            Some(publisher) => Some(publisher.prepare(&engines).await?),
            None => None,
        };
        {
            let mut state = self.lock();
            state.rows = rows;
            let components = admitted.into_iter();
            state
                .loaded
                .extend(components.map(|it| (it.digest.clone(), it)));
            state.forget_unused();
            state
                .failures
                .retain(|digest, _| newest.tracks.values().any(|track| track.serves(digest)));
            state.engines = engines;
        }
        if let Some(prepared) = prepared {
            prepared.publish();
        }
        self.announce_changes_of_others(&before).await;
        Ok(())
    }

    /// The releases of tracks that are not loaded, and can be.
    fn missing_releases(&self, rows: &Rows) -> Vec<ReleaseRow> {
        let state = self.lock();
        let is_missing = |digest: &&String| {
            let is_refused = state.failures.get(*digest).is_some_and(|it| it.is_final);
            !state.loaded.contains_key(*digest) && !is_refused
        };
        let serving = rows.tracks.values().flat_map(TrackRow::serving);
        let missing = serving
            .filter(is_missing)
            .filter_map(|digest| rows.releases.get(digest));
        missing
            .filter(|release| !state.is_starting(release))
            .cloned()
            .collect()
    }

    /// Admits a release that is not loaded, or records why that is impossible.
    async fn admit_missing(&self, release: &ReleaseRow) -> Option<Arc<Component>> {
        let failure = match self.bytes.read(&release.digest).await {
            Err(refusal) => LoadFailure {
                reason: refusal.reason,
                is_final: false,
            },
            Ok(_) => match self.admit_release(release).await {
                Ok(component) => {
                    self.lock().failures.remove(&release.digest);
                    return Some(Arc::new(component));
                }
                Err(refusal) => LoadFailure {
                    reason: refusal.reason,
                    is_final: true,
                },
            },
        };
        let (engine, version, reason) = (&release.engine, &release.version, &failure.reason);
        let mut state = self.lock();
        let known = state.failures.get(&release.digest);
        if known.is_none_or(|it| it.reason != *reason) {
            tracing::warn!(
                "cannot follow a change of engine {engine} by another host, it stays as it is: version {version} {reason}"
            );
        }
        state.failures.insert(release.digest.clone(), failure);
        None
    }

    /// Tells followers of this host what others have changed.
    async fn announce_changes_of_others(&self, before: &Rows) {
        let rows = self.rows();
        let changed = rows.tracks.iter().filter(|(engine, track)| {
            let known = before.tracks.get(*engine);
            known.is_none_or(|it| it.revision != track.revision)
        });
        for (engine, _) in changed {
            // A change that is not announced is seen with the next look at the engine.
            if let Ok(newest) = self.store.engine_history(engine, 1).await {
                self.announce(&newest);
            }
        }
    }

    /// Records in the database what this host has of the releases that serve, if that has changed.
    pub async fn report_loaded(&self, host: &str) -> sqlx::Result<()> {
        let loaded = {
            let state = self.lock();
            let loaded = state.loaded.keys().map(|it| (it.clone(), String::new()));
            let failed = state
                .failures
                .iter()
                .map(|(digest, it)| (digest.clone(), it.reason.clone()));
            let loaded: BTreeMap<_, _> = failed.chain(loaded).collect();
            if state.reported.as_ref() == Some(&loaded) {
                return Ok(());
            }
            loaded
        };
        self.store.set_host_engines(host, &loaded).await?;
        self.lock().reported = Some(loaded);
        Ok(())
    }

    /// The running hosts, and what they have of the newest release of an engine. Empty if the database is not shared.
    pub async fn hosts_of(&self, engine: &str) -> Result<Vec<HostRelease>, ReleaseError> {
        if !self.store.is_shared() {
            return Ok(Vec::new());
        }
        let Ok(track) = self.track(engine) else {
            return Ok(Vec::new());
        };
        let newest = track.candidate.as_ref().unwrap_or(&track.current);
        let hosts = self.store.hosts_of_release(newest).await;
        hosts.map_err(super::internal)
    }

    /// True if each running host has the release.
    pub(super) async fn is_on_all_hosts(&self, digest: &str) -> Result<bool> {
        if !self.store.is_shared() {
            return Ok(true);
        }
        let hosts = self.store.hosts_of_release(digest).await?;
        Ok(hosts.iter().all(|it| it.problem.as_deref() == Some("")))
    }
}

impl State {
    /// True if the start of this process still compiles the release.
    fn is_starting(&self, release: &ReleaseRow) -> bool {
        self.engines.starting.contains(&file_label(release))
    }
}
