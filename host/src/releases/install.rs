//! From the bytes of a component to a release that serves, waits for approval, or is refused.

use std::sync::Arc;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_sandbox::Component;
use pinhole_sandbox::grant::Grant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{file_label, grant_row, release_row, rights_json};
use super::self_test::SelfTest;
use super::{ReleaseError, Releases, history, track};
use crate::config::{FirstUse, Strategy};
use crate::crash_point::CrashPoint;
use crate::store::{EngineChange, ReleaseRow, ReleaseState};

/// A component to install.
#[derive(Clone, Debug, Default)]
pub struct Install {
    pub bytes: Vec<u8>,
    /// The name of the user or command that installs it.
    pub by: String,
    /// By default that of the server.
    pub strategy: Option<Strategy>,
    /// Installs a release that was rolled back, and over a pinned one.
    pub is_forced: bool,
    /// The prompt of a job that it carries out before it serves. An upstream may charge for it.
    pub probe: Option<String>,
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

/// An admitted component and its origin.
pub(super) struct Candidate {
    pub(super) component: Arc<Component>,
    pub(super) size_bytes: usize,
    /// Its file in the engine directory; empty if it was uploaded.
    pub(super) file: String,
    pub(super) by: String,
    pub(super) strategy: Strategy,
    pub(super) is_forced: bool,
    pub(super) probe: Option<String>,
    pub(super) steps: Vec<String>,
}

/// What becomes of an admitted component.
enum Decision {
    /// It serves already.
    Serving,
    /// It waits for approval. `guard` demands it.
    Park {
        /// The engine that the same file was before.
        replaces: Option<String>,
        guard: Option<Guard>,
    },
    /// It serves within this grant.
    Serve(Grant),
    /// The grant of its engine cannot be read.
    Unreadable(Refusal),
}

impl Candidate {
    fn engine(&self) -> &str {
        &self.component.declared.name
    }

    /// Its name in messages.
    fn label(&self) -> &str {
        if self.file.is_empty() {
            "the component"
        } else {
            &self.file
        }
    }

    fn refused(&self, refusal: Refusal) -> ReleaseError {
        ReleaseError::refused(self.label(), refusal)
    }
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
            let result = releases.install_now(install).await;
            let _changes = releases.changes.lock().await;
            releases.remove_old_releases().await;
            result
        });
        task.await.map_err(anyhow::Error::from)?
    }

    async fn install_now(&self, install: Install) -> Result<InstallReport, ReleaseError> {
        let size_bytes = install.bytes.len();
        let label = "the component";
        let refused = |refusal| ReleaseError::refused(label, refusal);
        let component = self.engines().admit(label, install.bytes.clone()).await;
        let component = component.map_err(refused)?;
        let digest = component.digest.clone();
        let mut candidate = Candidate {
            component: Arc::new(component),
            size_bytes,
            file: String::new(),
            by: install.by,
            strategy: install.strategy.unwrap_or(self.strategy),
            is_forced: install.is_forced,
            probe: install.probe,
            steps: vec![format!(
                "{} KiB, sha256:{digest}",
                size_bytes.div_ceil(1024)
            )],
        };
        let stored = self.bytes.save(&digest, &install.bytes).await;
        stored.map_err(|Refusal { reason, .. }| ReleaseError::NotStored {
            subject: label.to_owned(),
            reason,
        })?;
        self.test(&mut candidate).await?;
        let _changes = self.changes.lock().await;
        self.decide(candidate).await
    }

    /// Tests an admitted component. Others can change engines meanwhile.
    pub(super) async fn test(&self, candidate: &mut Candidate) -> Result<(), ReleaseError> {
        let decision = self.classify(candidate)?;
        if matches!(decision, Decision::Serving) {
            return Ok(());
        }
        let described = self.check_description(&candidate.component).await;
        described.map_err(|refusal| candidate.refused(refusal))?;
        match decision {
            Decision::Serve(grant) => self.test_within(candidate, &grant).await,
            _ => Ok(()),
        }
    }

    /// Tests a component that would serve within this grant.
    pub(super) async fn test_within(
        &self,
        candidate: &mut Candidate,
        grant: &Grant,
    ) -> Result<(), ReleaseError> {
        let change = self.serve_change(candidate, grant);
        let test = SelfTest {
            engine: candidate.engine(),
            change: &change,
            component: &candidate.component,
            probe: candidate.probe.as_deref(),
        };
        let notes = self.self_test(&test).await.map_err(|error| {
            ReleaseError::of_reason(error, |reason| candidate.refused(reason.into()))
        })?;
        candidate.steps.extend(notes);
        CrashPoint::Tested.reach("");
        Ok(())
    }

    fn classify(&self, candidate: &Candidate) -> Result<Decision, ReleaseError> {
        let rows = self.rows();
        let (name, component) = (candidate.engine(), &candidate.component);
        let track = rows.tracks.get(name);
        if track.is_some_and(|it| it.serves(&component.digest)) {
            return Ok(Decision::Serving);
        }
        if track.is_some_and(|it| it.pinned) && !candidate.is_forced {
            return Err(ReleaseError::Conflict(format!(
                "engine {name} is pinned: run `pinhole engine unpin {name}` first"
            )));
        }
        let known = rows.releases.get(&component.digest);
        let rolled_back = known.filter(|it| it.state == ReleaseState::RolledBack);
        if let Some(release) = rolled_back.filter(|_| !candidate.is_forced) {
            return Err(ReleaseError::Conflict(format!(
                "this version of engine {name} was rolled back ({}): install it with --force if it is to serve again",
                release.reason
            )));
        }
        let previous_engine = rows
            .engine_of_file(&candidate.file)
            .filter(|it| Guard::RenamedEngine.applies(it.engine != name));
        if let Some(previous) = previous_engine {
            return Ok(Decision::Park {
                replaces: Some(previous.engine.clone()),
                guard: Some(Guard::RenamedEngine),
            });
        }
        let grant = match rows.grant(name) {
            Ok(grant) => grant,
            Err(refusal) => return Ok(Decision::Unreadable(refusal)),
        };
        Ok(match grant {
            Some(grant) => {
                let new_rights = grant.new_rights(&component.declared_rights);
                let is_changed = grant.digest != component.digest;
                if Guard::DeclaredMore.applies(is_changed && !new_rights.is_empty()) {
                    return Ok(Decision::Park {
                        replaces: None,
                        guard: Some(Guard::DeclaredMore),
                    });
                }
                Decision::Serve(grant)
            }
            None if self.first_use == FirstUse::Explicit => Decision::Park {
                replaces: None,
                guard: None,
            },
            None => {
                let rights = component.declared_rights.clone();
                Decision::Serve(Grant::allow_all(&component.digest, &candidate.file, rights))
            }
        })
    }

    /// Decides about an admitted component, and lets it serve if it may. The caller holds the lock of changes.
    pub(super) async fn decide(&self, candidate: Candidate) -> Result<InstallReport, ReleaseError> {
        match self.classify(&candidate)? {
            Decision::Serving => self.adopt(candidate).await,
            Decision::Park { replaces, guard } => self.park(candidate, replaces, guard).await,
            Decision::Serve(grant) => self.serve(candidate, &grant).await,
            Decision::Unreadable(refusal) => {
                // An administrator can grant it again.
                let Candidate {
                    component,
                    size_bytes,
                    file,
                    ..
                } = &candidate;
                let change = EngineChange {
                    releases: vec![release_row(component, file, *size_bytes)],
                    ..EngineChange::default()
                };
                self.commit(change, Vec::new()).await?;
                Err(candidate.refused(refusal))
            }
        }
    }

    /// The rows of a component that begins to serve.
    fn serve_change(&self, candidate: &Candidate, grant: &Grant) -> EngineChange {
        let Candidate {
            component,
            size_bytes,
            file,
            by,
            strategy,
            ..
        } = candidate;
        let (name, digest) = (candidate.engine(), &component.digest);
        let before = self.rows().tracks.get(name).cloned();
        let after = match &before {
            Some(track) => track::with_candidate(track, digest, *strategy),
            None => track::first(name, digest),
        };
        let grant = Grant {
            digest: digest.clone(),
            file: file.clone(),
            ..grant.clone()
        };
        let mut release = release_row(component, file, *size_bytes);
        release.granted = rights_json(&grant.allows);
        release.added_by.clone_from(by);
        release.state = if before.is_some() {
            ReleaseState::Candidate
        } else {
            ReleaseState::Current
        };
        let entry = history(name, digest, "installed", &release.version, by);
        let mut change = self.track_change(before, Some(after), ReleaseState::Retired, "");
        change.releases.retain(|it| it.digest != *digest);
        change.releases.push(release);
        change.grant = Some(grant_row(name, &grant));
        if !file.is_empty() {
            change.files.push((file.clone(), Some(digest.clone())));
        }
        change.history.push(entry);
        change
    }

    /// Lets an admitted component serve within this grant. The caller holds the lock of changes.
    pub(super) async fn serve(
        &self,
        candidate: Candidate,
        grant: &Grant,
    ) -> Result<InstallReport, ReleaseError> {
        let change = self.serve_change(&candidate, grant);
        let is_first = matches!(change.track, Some((None, _)));
        let component = candidate.component.clone();
        self.commit(change, vec![component.clone()]).await?;
        let (state, text) = match candidate.strategy {
            _ if is_first => (ReleaseState::Current, "serves"),
            Strategy::Watch => (
                ReleaseState::Candidate,
                "serves, and is watched; the version before serves again if it fails",
            ),
            Strategy::Canary => (
                ReleaseState::Candidate,
                "serves a part of the users, and is watched",
            ),
        };
        if !is_first {
            let (name, version) = (&component.declared.name, &component.declared.version);
            tracing::info!(
                "engine {name}: version {version} (sha256:{}) serves",
                component.digest
            );
        }
        let mut steps = candidate.steps;
        steps.push(text.to_owned());
        Ok(report(&component, state, steps))
    }

    /// A component that serves already. Its file may have another name now.
    async fn adopt(&self, candidate: Candidate) -> Result<InstallReport, ReleaseError> {
        let rows = self.rows();
        let (name, file) = (candidate.engine(), &candidate.file);
        let digest = &candidate.component.digest;
        let mut change = match rows.tracks.get(name) {
            // Who installs the version before again ends a rollout.
            Some(track) if track.current == *digest && track.candidate.is_some() => {
                let after = track::without_candidate(track);
                let state = ReleaseState::Retired;
                let change = self.track_change(Some(track.clone()), Some(after), state, "");
                EngineChange {
                    grant: self.grant_of_release(name, digest)?,
                    ..change
                }
            }
            _ => EngineChange::default(),
        };
        let release = rows.releases.get(digest);
        if !file.is_empty() {
            change.files.push((file.clone(), Some(digest.clone())));
            if let Some(release) = release.filter(|it| it.file != *file) {
                change.releases.retain(|it| it.digest != *digest);
                change.releases.push(ReleaseRow {
                    file: file.clone(),
                    ..release.clone()
                });
            }
        }
        let state = release.map_or(ReleaseState::Current, |it| it.state);
        let component = candidate.component.clone();
        self.commit(change, vec![component.clone()]).await?;
        let mut steps = candidate.steps;
        steps.push("serves already".to_owned());
        Ok(report(&component, state, steps))
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
        let (name, digest) = (&component.declared.name, &component.digest);
        let mut release = release_row(&component, &file, size_bytes);
        release.added_by.clone_from(&by);
        release.replaces = replaces.unwrap_or_default();
        let is_same_file = |it: &ReleaseRow| !file.is_empty() && it.file == file;
        let replaced = rows.releases.values().filter(|it| {
            it.state == ReleaseState::Parked
                && it.digest != *digest
                && (it.engine == *name || is_same_file(it))
        });
        let mut change = EngineChange {
            removed_releases: replaced.map(|it| it.digest.clone()).collect(),
            history: vec![history(name, digest, "parked", &release.version, &by)],
            releases: vec![release.clone()],
            ..EngineChange::default()
        };
        if !file.is_empty() {
            change.files.push((file, Some(digest.clone())));
        }
        self.commit(change, Vec::new()).await?;
        let pending = self.rows().pending_approval(&release);
        self.engines().record_pending(&pending, guard);
        steps.push(format!("{} {}", file_label(&release), pending.reason()));
        Ok(InstallReport {
            new_rights: pending.new_rights.iter().map(ToString::to_string).collect(),
            ..report(&component, ReleaseState::Parked, steps)
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
            let reason =
                "describes itself differently each time: `describe` must always return the same";
            return Err(reason.into());
        }
        Ok(())
    }
}

fn report(component: &Component, state: ReleaseState, steps: Vec<String>) -> InstallReport {
    InstallReport {
        engine: component.declared.name.clone(),
        version: component.declared.version.clone(),
        digest: component.digest.clone(),
        state: state.name().to_owned(),
        steps,
        new_rights: Vec::new(),
    }
}
