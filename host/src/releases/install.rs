//! From the bytes of a component to a release that serves, waits for approval, or is refused.

use std::sync::Arc;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_sandbox::grant::Grant;
use pinhole_sandbox::{Component, digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{file_label, grant_row, release_row, rights_json};
use super::{ReleaseError, Releases, history, refuse, track};
use crate::config::{FirstUse, Strategy};
use crate::store::{EngineChange, ReleaseRow, ReleaseState};

/// A component to install.
#[derive(Clone, Debug)]
pub struct Install {
    pub bytes: Vec<u8>,
    /// The name of the user or command that installs it.
    pub by: String,
    /// By default that of the server.
    pub strategy: Option<Strategy>,
    /// Installs a release that was rolled back, and over a pinned one.
    pub is_forced: bool,
}

/// What became of an installed component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstallReport {
    pub engine: String,
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// `parked`, `candidate` or `current`.
    pub state: String,
    /// One line for each step, in order, for a person.
    pub steps: Vec<String>,
    /// The permissions that wait for approval.
    pub new_rights: Vec<String>,
}

/// A component that was admitted, with what is known about its origin.
pub(super) struct Candidate {
    pub(super) component: Component,
    pub(super) size_bytes: usize,
    /// Its file in the engine directory; empty if it was uploaded.
    pub(super) file: String,
    pub(super) by: String,
    pub(super) strategy: Strategy,
    pub(super) is_forced: bool,
    pub(super) steps: Vec<String>,
}

impl Releases {
    /// Installs a component. It serves at once if it declares nothing that is not granted.
    ///
    /// Nothing has changed if it fails: the release before serves.
    pub async fn install(
        self: &Arc<Self>,
        install: Install,
    ) -> Result<InstallReport, ReleaseError> {
        let releases = self.clone();
        // A client that disconnects must not leave half an installation.
        let task = tokio::spawn(async move {
            let Install {
                bytes,
                by,
                strategy,
                is_forced,
            } = install;
            let label = "the component";
            let refused = |refusal| ReleaseError::refused(label, refusal);
            let size_bytes = bytes.len();
            let digest = digest(&bytes);
            let engines = releases.engines();
            releases.bytes.save(&digest, &bytes).map_err(refused)?;
            let candidate = Candidate {
                component: engines.admit(label, bytes).await.map_err(refused)?,
                size_bytes,
                file: String::new(),
                by,
                strategy: strategy.unwrap_or(releases.strategy),
                is_forced,
                steps: vec![format!(
                    "{} KiB, sha256:{digest}",
                    size_bytes.div_ceil(1024)
                )],
            };
            let _changes = releases.changes.lock().await;
            let result = releases.decide(candidate).await;
            releases.remove_old_releases().await;
            result
        });
        task.await.map_err(anyhow::Error::from)?
    }

    /// Decides about an admitted component, and lets it serve if it may. The caller holds the lock of changes.
    pub(super) async fn decide(
        &self,
        mut candidate: Candidate,
    ) -> Result<InstallReport, ReleaseError> {
        let refused = |file: &str, refusal| ReleaseError::refused(label_of(file), refusal);
        let rows = self.rows();
        let (name, digest) = (
            candidate.component.declared.name.clone(),
            candidate.component.digest.clone(),
        );
        let track = rows.tracks.get(&name).cloned();
        if let Some(track) = &track
            && (track.current == digest || track.candidate.as_ref() == Some(&digest))
        {
            return self.adopt(candidate).await;
        }
        if track.as_ref().is_some_and(|it| it.pinned) && !candidate.is_forced {
            return Err(ReleaseError::Conflict(format!(
                "engine {name} is pinned: run `pinhole engine unpin {name}` first"
            )));
        }
        let known = rows.releases.get(&digest);
        if let Some(ReleaseRow {
            state: ReleaseState::RolledBack,
            reason,
            ..
        }) = known
            && !candidate.is_forced
        {
            return Err(ReleaseError::Conflict(format!(
                "this version of engine {name} was rolled back ({reason}): install it with --force if it is to serve again"
            )));
        }
        self.check_description(&candidate.component)
            .await
            .map_err(|refusal| refused(&candidate.file, refusal))?;
        let previous_engine = rows
            .engine_of_file(&candidate.file)
            .filter(|track| Guard::RenamedEngine.applies(track.engine != name))
            .map(|track| track.engine.clone());
        if let Some(previous) = previous_engine {
            return self
                .park(candidate, Some(previous), Some(Guard::RenamedEngine))
                .await;
        }
        let grant = match rows.grant(&name) {
            Ok(grant) => grant,
            Err(refusal) => {
                // An administrator can grant it again.
                let file = candidate.file.as_str();
                let release = release_row(&candidate.component, file, candidate.size_bytes);
                let change = EngineChange {
                    releases: vec![release],
                    ..EngineChange::default()
                };
                self.commit(change, Vec::new()).await?;
                return Err(refused(file, refusal));
            }
        };
        let grant = match grant {
            Some(grant) => {
                let new_rights = grant.new_rights(&candidate.component.declared_rights);
                let is_changed = grant.digest != digest;
                if Guard::DeclaredMore.applies(is_changed && !new_rights.is_empty()) {
                    return self.park(candidate, None, Some(Guard::DeclaredMore)).await;
                }
                grant
            }
            None if self.first_use == FirstUse::Explicit => {
                return self.park(candidate, None, None).await;
            }
            None => {
                let rights = candidate.component.declared_rights.clone();
                candidate.steps.push(format!(
                    "granted the {} permissions that it declares",
                    rights.len()
                ));
                Grant::allow_all(&digest, &candidate.file, rights)
            }
        };
        self.serve(candidate, grant).await
    }

    /// Lets an admitted component serve within this grant. The caller holds the lock of changes.
    pub(super) async fn serve(
        &self,
        candidate: Candidate,
        grant: Grant,
    ) -> Result<InstallReport, ReleaseError> {
        let Candidate {
            component,
            size_bytes,
            file,
            by,
            strategy,
            mut steps,
            ..
        } = candidate;
        let rows = self.rows();
        let (name, digest) = (component.declared.name.clone(), component.digest.clone());
        let before = rows.tracks.get(&name).cloned();
        let after = match &before {
            Some(track) => track::with_candidate(track, &digest, strategy),
            None => track::first(&name, &digest),
        };
        let grant = Grant {
            digest: digest.clone(),
            file: file.clone(),
            ..grant
        };
        let mut release = release_row(&component, &file, size_bytes);
        release.granted = rights_json(&grant.allows);
        release.added_by.clone_from(&by);
        release.state = if before.is_some() {
            ReleaseState::Candidate
        } else {
            ReleaseState::Current
        };
        let state = release.state;
        let version = release.version.clone();
        let mut change = self.track_change(before.clone(), Some(after), ReleaseState::Retired, "");
        change.releases.retain(|it| it.digest != digest);
        change.releases.push(release);
        change.grant = Some(grant_row(&name, &grant));
        if !file.is_empty() {
            change.files.push((file.clone(), Some(digest.clone())));
        }
        change
            .history
            .push(history(&name, &digest, "installed", &version, &by));
        let component = Arc::new(component);
        if before.is_some() {
            let notes = self
                .test_settings(&name, &change, &component)
                .await
                .map_err(|reason| ReleaseError::refused(label_of(&file), reason.into()))?;
            steps.extend(notes);
        }
        self.commit(change, vec![component]).await?;
        steps.push(match (state, strategy) {
            (ReleaseState::Current, _) => "serves".to_owned(),
            (_, Strategy::Watch) => {
                "serves, and is watched; the version before serves again if it fails".to_owned()
            }
            (_, Strategy::Canary) => "serves a part of the users, and is watched".to_owned(),
        });
        tracing::info!("engine {name}: version {version} (sha256:{digest}) serves");
        Ok(InstallReport {
            engine: name,
            version,
            digest,
            state: state.name().to_owned(),
            steps,
            new_rights: Vec::new(),
        })
    }

    /// A component that serves already. Its file may have another name now.
    async fn adopt(&self, candidate: Candidate) -> Result<InstallReport, ReleaseError> {
        let Candidate {
            component,
            file,
            mut steps,
            ..
        } = candidate;
        let rows = self.rows();
        let digest = component.digest.clone();
        let name = component.declared.name.clone();
        let mut change = match rows.tracks.get(&name) {
            // Who installs the version before again ends a rollout.
            Some(track) if track.current == digest && track.candidate.is_some() => {
                let after = track::without_candidate(track);
                self.track_change(Some(track.clone()), Some(after), ReleaseState::Retired, "")
            }
            _ => EngineChange::default(),
        };
        if !file.is_empty() {
            change.files.push((file.clone(), Some(digest.clone())));
        }
        let release = rows.releases.get(&digest);
        if let Some(release) = release.filter(|it| it.file != file && !file.is_empty()) {
            change.releases.retain(|it| it.digest != digest);
            change.releases.push(ReleaseRow {
                file,
                ..release.clone()
            });
        }
        let state = release.map_or(ReleaseState::Current, |it| it.state);
        let version = component.declared.version.clone();
        self.commit(change, vec![Arc::new(component)]).await?;
        steps.push("serves already".to_owned());
        Ok(InstallReport {
            engine: name,
            version,
            digest,
            state: state.name().to_owned(),
            steps,
            new_rights: Vec::new(),
        })
    }

    /// Holds a component for approval, in place of an earlier one of the same engine.
    async fn park(
        &self,
        candidate: Candidate,
        replaces: Option<String>,
        guard: Option<Guard>,
    ) -> Result<InstallReport, ReleaseError> {
        let Candidate {
            component,
            size_bytes,
            file,
            by,
            mut steps,
            ..
        } = candidate;
        let rows = self.rows();
        let (name, digest) = (component.declared.name.clone(), component.digest.clone());
        let mut release = release_row(&component, &file, size_bytes);
        release.added_by.clone_from(&by);
        release.replaces = replaces.unwrap_or_default();
        let version = release.version.clone();
        let is_same_file = |it: &ReleaseRow| !file.is_empty() && it.file == file;
        let replaced = rows.releases.values().filter(|it| {
            it.state == ReleaseState::Parked
                && it.digest != digest
                && (it.engine == name || is_same_file(it))
        });
        let change = EngineChange {
            removed_releases: replaced.map(|it| it.digest.clone()).collect(),
            files: if file.is_empty() {
                Vec::new()
            } else {
                vec![(file.clone(), Some(digest.clone()))]
            },
            history: vec![history(&name, &digest, "parked", &version, &by)],
            releases: vec![release.clone()],
            ..EngineChange::default()
        };
        self.commit(change, Vec::new()).await?;
        let pending = self.rows().pending_approval(&release);
        self.engines().record_pending(&pending, guard);
        let new_rights: Vec<String> = pending.new_rights.iter().map(ToString::to_string).collect();
        steps.push(format!("{} {}", file_label(&release), pending.reason()));
        Ok(InstallReport {
            engine: name,
            version,
            digest,
            state: ReleaseState::Parked.name().to_owned(),
            steps,
            new_rights,
        })
    }

    /// Fails if the component describes itself differently the second time.
    async fn check_description(&self, component: &Component) -> Result<(), Refusal> {
        let again = self.engines().describe_again(component).await;
        let again = again.map_err(|error| Refusal {
            guard: error.guard(),
            reason: format!("cannot describe itself a second time: {error}"),
        })?;
        if format!("{again:?}") != format!("{:?}", component.declared) {
            return Err(refuse(
                "describes itself differently each time: `describe` must always return the same",
            ));
        }
        Ok(())
    }
}

/// The name of a component in messages.
fn label_of(file: &str) -> &str {
    if file.is_empty() {
        "the component"
    } else {
        file
    }
}
