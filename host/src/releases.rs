//! Releases of engines: which components serve, and how they are installed, replaced and rolled back while the
//! server runs.
//!
//! # What it prevents
//!
//! A person who can replace a component file must not gain permissions by it: neither by declaring more, nor
//! by using another engine's name, nor by renaming the engine. A bad version must not cost a request, and a crash of
//! the server must not leave an engine without a version.
//!
//! # How
//!
//! The database has one [track](crate::store::TrackRow) for each engine: its current release, and perhaps a
//! candidate. The engine directory is a source of releases and decides nothing by itself. A change prepares the
//! next snapshot, writes its rows in one transaction, and then swaps one pointer. Jobs finish on the release with
//! which they began.
//!
//! A new release serves within its engine's [grant](pinhole_sandbox::grant). One that declares more waits for
//! approval, and the current one serves in its place.
//!
//! # Invariant
//!
//! A component serves only within a grant that is stored together with its digest, and its bytes are stored.

mod changes;
mod component_bytes;
mod details;
mod error;
mod folder;
mod grants;
mod import;
mod install;
mod other_hosts;
mod publisher;
mod rollback;
mod rows;
mod self_test;
mod start;
mod status;
mod track;
mod update;
pub mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_images::Decoder;
use pinhole_sandbox::{Component, Engines, Rollout};

use crate::config::{Config, FirstUse, Strategy};
use crate::crash_point::CrashPoint;
use crate::store::{EngineChange, HistoryRow, ReleaseRow, ReleaseState, Store, TrackRow};
use changes::Announcements;
use component_bytes::ComponentBytes;
use folder::SeenFiles;
use other_hosts::LoadFailures;
use rows::{Rows, file_label};
use verdict::Rules;

pub use changes::EngineEvent;
pub use details::{
    BindingDetails, DeclaredRight, EngineDetails, EngineHost, GrantedComponent, HistoryEntry,
    PendingComponent, RightState, ServingComponent, UpstreamDetails,
};
pub use error::ReleaseError;
pub use install::{Install, InstallReport};
pub use publisher::Publisher;
pub use start::{DirectoryUse, EngineStart};
pub use status::{EngineList, EngineStatus, RejectedEngineFile, VersionStatus};
pub use update::UpdateReport;

/// Releases of an engine that are stored, in addition to those that serve.
const KEPT_RELEASES: usize = 5;

/// The engines of a data directory, and their releases.
pub struct Releases {
    store: Store,
    bytes: ComponentBytes,
    /// The directory of component files.
    directory: Dir,
    first_use: FirstUse,
    strategy: Strategy,
    rules: Rules,
    /// Held while a change is made.
    changes: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    seen: Mutex<SeenFiles>,
    publisher: OnceLock<Publisher>,
    announcements: Announcements,
}

struct State {
    rows: Rows,
    /// The components that serve, without grants, by digest.
    loaded: BTreeMap<String, Arc<Component>>,
    /// Those that the database names, and that this host cannot load.
    failures: LoadFailures,
    /// What this host has reported to the others.
    reported: Option<BTreeMap<String, String>>,
    engines: Engines,
}

impl Releases {
    async fn open(
        config: &Config,
        store: Store,
        audit: AuditLog,
        decoder: Decoder,
    ) -> Result<Self> {
        let directory = data_dir::open(&config.engines).with_context(|| {
            format!(
                "cannot read the engine directory {}: set PINHOLE_ENGINES to the directory of component files",
                config.engines.display()
            )
        })?;
        let engines = Engines::new(&config.engine_options(audit, decoder))?;
        let bytes = ComponentBytes::open(&config.data, &config.storage_provider)?;
        import::import_grants(&config.data, &store, &bytes).await?;
        let rows = Rows::load(&store).await?;
        Ok(Self {
            store,
            bytes,
            directory,
            first_use: config.first_use,
            strategy: config.rollout,
            rules: Rules {
                watch_jobs: config.watch_jobs,
                ..Rules::default()
            },
            changes: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                rows,
                loaded: BTreeMap::new(),
                failures: LoadFailures::new(),
                reported: None,
                engines,
            }),
            seen: Mutex::default(),
            publisher: OnceLock::new(),
            announcements: Announcements::default(),
        })
    }

    /// Lets changes of engines reach a server.
    pub fn attach(&self, publisher: Publisher) {
        self.publisher.set(publisher).ok();
    }

    /// The engines at this moment.
    #[must_use]
    pub fn engines(&self) -> Engines {
        self.lock().engines.clone()
    }

    fn rows(&self) -> Rows {
        self.lock().rows.clone()
    }

    fn track(&self, engine: &str) -> Result<TrackRow, ReleaseError> {
        let state = self.lock();
        state.rows.tracks.get(engine).cloned().ok_or_else(|| {
            let names: Vec<_> = state.rows.tracks.keys().map(String::as_str).collect();
            let remedy = if names.is_empty() {
                "there are no engines".to_owned()
            } else {
                format!("use one of {}", names.join(", "))
            };
            ReleaseError::Unknown(format!("unknown engine {engine}: {remedy}"))
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a change of an engine, and lets the result serve. `components` are those that start to serve. The
    /// caller holds the lock of changes.
    ///
    /// Nothing has changed if it fails.
    async fn commit(
        &self,
        mut change: EngineChange,
        components: Vec<Arc<Component>>,
    ) -> Result<(), ReleaseError> {
        if let Some(grant) = &change.grant {
            change.grant_before = self.lock().rows.grant_row(&grant.engine).cloned();
        }
        let (next, engines) = self.predict(&change, &components);
        let prepared = match self.publisher.get() {
            Some(publisher) => Some(publisher.prepare(&engines).await.map_err(|error| {
                ReleaseError::of_reason(error, |reason| {
                    let reason = format!("cannot serve: {reason}");
                    ReleaseError::refused("the release", reason.into())
                })
            })?),
            None => None,
        };
        let what = change.history.first().map_or("", |entry| &entry.what);
        CrashPoint::Prepared.reach(what);
        let written = self.store.change_engine(&change).await;
        if !written.map_err(ReleaseError::Database)? {
            // It holds the lock of the settings.
            drop(prepared);
            if let Err(error) = self.follow().await {
                tracing::warn!("cannot load the engines that another process changed: {error:#}");
            }
            return Err(ReleaseError::Moved);
        }
        CrashPoint::Written.reach(what);
        let rows = Rows::load(&self.store).await.unwrap_or(next);
        {
            let mut state = self.lock();
            for component in components {
                state.loaded.insert(component.digest.clone(), component);
            }
            // What other hosts have changed is followed later, with its components.
            let changed = change.engine();
            state.rows = rows.without_unloaded(&state.rows, &state.loaded, changed);
            state.forget_unused();
            state.engines = engines;
        }
        if let Some(prepared) = prepared {
            prepared.publish();
        }
        CrashPoint::Published.reach(what);
        for digest in &change.removed_releases {
            self.bytes.remove(digest).await;
            self.engines().remove_compiled(digest);
        }
        self.announce(&change.history);
        Ok(())
    }

    /// The rows and the engines that a change leads to.
    fn predict(&self, change: &EngineChange, components: &[Arc<Component>]) -> (Rows, Engines) {
        let state = self.lock();
        let mut rows = state.rows.clone();
        rows.apply(change);
        let mut loaded = state.loaded.clone();
        loaded.extend(components.iter().map(|it| (it.digest.clone(), it.clone())));
        let engines = compose(&state.engines, &rows, &loaded);
        (rows, engines)
    }

    /// Admits the stored bytes of a release, which get no grant here.
    async fn admit_release(&self, release: &ReleaseRow) -> Result<Component, Refusal> {
        let bytes = self.bytes.read(&release.digest).await?;
        let component = self.engines().admit(&file_label(release), bytes).await?;
        check_name(&component, release)?;
        Ok(component)
    }

    /// Lets the server use the engines at this moment, for a change that has no row.
    async fn publish(&self) -> Result<()> {
        // Otherwise these engines could replace those of a later change.
        let _changes = self.changes.lock().await;
        let engines = {
            let mut state = self.lock();
            state.engines = compose(&state.engines, &state.rows, &state.loaded);
            state.engines.clone()
        };
        if let Some(publisher) = self.publisher.get() {
            publisher.prepare(&engines).await?.publish();
        }
        Ok(())
    }

    /// A change of a track, with the new states of the releases that it moves. `replaced` is the state of a release
    /// that it replaces.
    fn track_change(
        &self,
        before: Option<TrackRow>,
        after: Option<TrackRow>,
        replaced: ReleaseState,
        reason: &str,
    ) -> EngineChange {
        let moved = track::moved_releases(before.as_ref(), after.as_ref(), replaced);
        let state = self.lock();
        let releases = moved.into_iter().filter_map(|(digest, release_state)| {
            let mut release = state.rows.releases.get(&digest)?.clone();
            release.state = release_state;
            if release_state == ReleaseState::RolledBack {
                reason.clone_into(&mut release.reason);
            }
            Some(release)
        });
        EngineChange {
            releases: releases.collect(),
            track: Some((before, after)),
            ..EngineChange::default()
        }
    }

    /// Removes superfluous releases, with their bytes. None of them serves, so nothing is published. The caller holds
    /// the lock of changes: otherwise one could begin to serve meanwhile.
    async fn remove_old_releases(&self) {
        let before = self.rows();
        let superfluous = before.superfluous_releases();
        if !superfluous.is_empty() {
            let change = EngineChange {
                removed_releases: superfluous,
                ..EngineChange::default()
            };
            match self.store.change_engine(&change).await {
                Ok(_) => self.lock().rows.apply(&change),
                Err(error) => tracing::warn!("cannot remove old releases of engines: {error}"),
            }
        }
        let rows = self.rows();
        let is_stored = |digest: &str| {
            let is_known = before.releases.contains_key(digest);
            let is_known = is_known || rows.releases.contains_key(digest);
            is_known.then(|| rows.keeps_bytes(digest))
        };
        match self.bytes.remove_unused(is_stored) {
            Ok(removed) => {
                let engines = self.engines();
                for digest in &removed {
                    engines.remove_compiled(digest);
                }
            }
            Err(error) => tracing::warn!("{error:#}"),
        }
    }
}

impl State {
    /// Frees the components that no track names. A running job keeps its own.
    fn forget_unused(&mut self) {
        let tracks = &self.rows.tracks;
        self.loaded
            .retain(|digest, _| tracks.values().any(|track| track.serves(digest)));
    }
}

/// The engines that follow from rows and loaded components. Each serves within its grant.
fn compose(before: &Engines, rows: &Rows, loaded: &BTreeMap<String, Arc<Component>>) -> Engines {
    let mut engines = before.clone();
    let names: Vec<String> = engines
        .admitted()
        .map(|it| it.declared.name.clone())
        .collect();
    for name in names {
        engines.remove(&name);
    }
    for track in rows.tracks.values() {
        let Ok(Some(grant)) = rows.grant(&track.engine) else {
            continue;
        };
        let granted = |digest: &String| {
            let (component, release) = (loaded.get(digest)?, rows.releases.get(digest)?);
            let mut grant = grant.clone();
            grant.digest.clone_from(digest);
            grant.file = file_label(release);
            Some(Arc::new(component.with_grant(grant)))
        };
        let candidate = track.candidate.as_ref().and_then(granted);
        match (granted(&track.current), candidate) {
            (Some(stable), Some(candidate)) => engines.insert_rollout(Rollout {
                candidate,
                stable,
                percent: track.percent,
            }),
            (Some(only), None) | (None, Some(only)) => engines.insert(only),
            (None, None) => {}
        }
    }
    let mut pending = rows.pending();
    for it in &mut pending {
        let replaced = it.previous_engine.as_ref().unwrap_or(&it.engine);
        it.is_served = engines.get(replaced).is_some();
    }
    engines.pending = pending;
    engines
}

/// Fails if a component names itself differently than when it was installed.
fn check_name(component: &Component, release: &ReleaseRow) -> Result<(), Refusal> {
    let name = &component.declared.name;
    Guard::KeptCopy.refuse_if(*name != release.engine, || {
        format!(
            "names its engine {name} now, and {} when it was installed",
            release.engine
        )
    })
}

/// An entry of the history.
fn history(engine: &str, digest: &str, what: &str, why: &str, by: &str) -> HistoryRow {
    HistoryRow {
        at: 0,
        engine: engine.to_owned(),
        digest: digest.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        user_name: by.to_owned(),
    }
}

fn internal(error: impl Into<anyhow::Error>) -> ReleaseError {
    ReleaseError::Internal(error.into())
}
