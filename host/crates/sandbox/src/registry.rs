//! Decides which components serve when the server starts.
//!
//! # What it prevents
//!
//! A person who can replace a component file must not gain permissions by it: neither by declaring more, nor
//! by using another engine's name, nor by renaming the engine.
//!
//! # How
//!
//! A grant names the digest of the component that it was given to, and a copy of that component is
//! stored. A changed component that declares nothing new replaces the granted one. A component that
//! declares more is held for approval, and the copy serves in its place.
//!
//! # Invariant
//!
//! A component serves only within a grant that is stored together with a copy of exactly that component.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::{hex, plain};
use sha2::{Digest, Sha256};

use crate::admission::admit;
use crate::component::{Component, RejectedFile};
use crate::component_files::{MAX_FILES, check_file_name, read_component};
use crate::engines::Engines;
use crate::grant::{FirstUse, Grant, copy_name};
use crate::pending_approval::PendingApproval;

/// Length in bytes of the name by which a rejected file is known.
const MAX_FILE_NAME_BYTES: usize = 100;
/// New engines that a log line names.
const MAX_LISTED_NAMES: usize = 10;

/// The state before any component is activated.
pub(crate) struct InitialState {
    pub(crate) first_use: FirstUse,
    /// The engine names that components of the directory use. Complete when all files are admitted.
    pub(crate) claimed_names: BTreeSet<String>,
    /// All readable grants, by engine name.
    pub(crate) grants: BTreeMap<String, Grant>,
}

impl InitialState {
    /// The engine that a file was when it was last granted.
    pub(crate) fn previous_engine(&self, file: &str) -> Option<&str> {
        let is_renamed = |grant: &Grant| Guard::RenamedEngine.applies(grant.file == file);
        self.grants
            .iter()
            .find(|(_, grant)| is_renamed(grant))
            .map(|(engine, _)| engine.as_str())
    }
}

impl Engines {
    /// Logs the engines that were granted what they declare, in one line.
    pub(crate) fn log_granted(&self) {
        let count = self.granted_names.len();
        if count == 0 {
            return;
        }
        let listed = self.granted_names.get(..MAX_LISTED_NAMES.min(count));
        let mut names = listed.unwrap_or_default().join(", ");
        if count > MAX_LISTED_NAMES {
            names.push_str(&format!(" and {} more", count - MAX_LISTED_NAMES));
        }
        tracing::info!(
            "new engines are granted the permissions that they declare: {names}; review them with `pinhole engine grant NAME`"
        );
    }

    /// The names of the component files, in alphabetical order.
    pub(crate) fn list_files(&mut self) -> Result<Vec<String>> {
        let unreadable = || "cannot read the engine directory".to_owned();
        let mut files = Vec::new();
        for entry in self.directory.entries().with_context(unreadable)? {
            let name = entry.with_context(unreadable)?.file_name();
            match check_file_name(&name) {
                Some(Ok(name)) => files.push(name.to_owned()),
                Some(Err(refusal)) => {
                    let printable = plain(&name.to_string_lossy(), MAX_FILE_NAME_BYTES);
                    self.reject(printable, refusal);
                }
                None => {}
            }
        }
        files.sort();
        let max_files = Guard::FileCount.limit(MAX_FILES).min(files.len());
        for file in files.split_off(max_files) {
            let reason = format!("exceeds the limit of {MAX_FILES} component files");
            self.reject(file, Guard::FileCount.refuse(reason));
        }
        Ok(files)
    }

    pub(crate) fn reject(&mut self, file: String, refusal: Refusal) {
        let Refusal { guard, reason } = refusal;
        self.sandbox.audit.record(&Event {
            kind: RefusalKind::Admission,
            guard,
            actor: Actor::Server,
            engine: &file,
            job: "",
            message: &format!("engine file {file} is not admitted: it {reason}"),
        });
        self.rejected.push(RejectedFile {
            file,
            reason,
            guard,
        });
    }

    /// Chooses among several components with one engine name: the granted one, else the one from the
    /// granted file, else the first in alphabetical order. The others are rejected.
    pub(crate) fn resolve_conflict(
        &mut self,
        name: &str,
        mut components: Vec<Component>,
    ) -> Option<Component> {
        let reason = |file: &str| format!("names its engine {name}, as {file} already does");
        if let Some(serving) = self.admitted.get(name).map(|it| it.file.clone()) {
            for other in components {
                self.reject(other.file, Guard::EngineNames.refuse(reason(&serving)));
            }
            return None;
        }
        let grant = self.grants.load(name).ok().flatten().unwrap_or_default();
        let has_digest = |it: &Component| Guard::EngineNames.applies(it.digest == grant.digest);
        let has_file = |it: &Component| Guard::EngineNames.applies(it.file == grant.file);
        let index = components
            .iter()
            .position(|it| has_digest(it) && has_file(it))
            .or_else(|| components.iter().position(has_digest))
            .or_else(|| components.iter().position(has_file))
            .unwrap_or_default();
        if index >= components.len() {
            return None;
        }
        let chosen = components.remove(index);
        for other in components {
            let reason = reason(&chosen.file);
            self.reject(other.file, Guard::EngineNames.refuse(reason));
        }
        Some(chosen)
    }

    /// Activates a component or holds it for approval. Fails if neither is possible.
    pub(crate) async fn register(
        &mut self,
        component: Component,
        initial: &InitialState,
    ) -> Result<(), Refusal> {
        match self.grants.load(&component.description.name)? {
            Some(grant) => self.register_granted(component, grant).await,
            None => self.register_new(component, initial).await,
        }
    }

    /// Registers a component whose engine has a grant.
    async fn register_granted(
        &mut self,
        component: Component,
        mut grant: Grant,
    ) -> Result<(), Refusal> {
        let name = component.description.name.clone();
        let new_rights = grant.new_rights(&component.declared_rights);
        let is_changed = grant.digest != component.digest;
        if Guard::DeclaredMore.applies(is_changed && !new_rights.is_empty()) {
            let pending = PendingApproval {
                new_rights,
                is_served: self.activate_copy(&name).await,
                ..PendingApproval::new(component)
            };
            self.hold_for_approval(pending, Some(Guard::DeclaredMore));
            return Ok(());
        }
        if is_changed || grant.file != component.file || !self.grants.has_copy(&grant.digest) {
            grant.digest.clone_from(&component.digest);
            grant.file.clone_from(&component.file);
            self.save_grant(&name, &grant)?;
        }
        self.activate(component, grant);
        Ok(())
    }

    /// Registers a component whose engine has no grant yet.
    async fn register_new(
        &mut self,
        component: Component,
        initial: &InitialState,
    ) -> Result<(), Refusal> {
        let previous_engine = initial.previous_engine(&component.file);
        if previous_engine.is_none() && initial.first_use == FirstUse::Declared {
            return self.grant_first_use(component);
        }
        // The previous engine continues to serve unless another file has taken its name.
        let is_served = match previous_engine {
            Some(previous) if !initial.claimed_names.contains(previous) => {
                self.activate_copy(previous).await
            }
            _ => false,
        };
        let pending = PendingApproval {
            previous_engine: previous_engine.map(str::to_owned),
            is_served,
            ..PendingApproval::new(component)
        };
        let guard = previous_engine.map(|_| Guard::RenamedEngine);
        self.hold_for_approval(pending, guard);
        Ok(())
    }

    /// Grants a new engine all that it declares: an administrator installed its file.
    fn grant_first_use(&mut self, component: Component) -> Result<(), Refusal> {
        let Component { file, digest, .. } = &component;
        let grant = Grant::allow_all(digest, file, component.declared_rights.clone());
        let name = component.description.name.clone();
        self.save_grant(&name, &grant)?;
        for right in &grant.allows {
            tracing::debug!("new engine {name}: granted {right}");
        }
        self.granted_names.push(name);
        self.activate(component, grant);
        Ok(())
    }

    /// Stores a grant together with a copy of its component.
    pub(crate) fn save_grant(&self, name: &str, grant: &Grant) -> Result<(), Refusal> {
        if !self.grants.has_copy(&grant.digest) {
            let bytes = read_component(&self.directory, &grant.file)?;
            let is_changed = hex(&Sha256::digest(&bytes)) != grant.digest;
            Guard::ShownDigest.refuse_if(
                is_changed,
                || "was changed during the review: review it again",
            )?;
            self.grants.save_copy(&grant.digest, &bytes)?;
        }
        self.grants.save(name, grant)?;
        Ok(())
    }

    /// Lets a component serve within its grant.
    fn activate(&mut self, mut component: Component, grant: Grant) {
        component.description = grant.restrict(component.description);
        component.grant = grant;
        let name = component.description.name.clone();
        self.admitted.insert(name, component.into());
    }

    /// Lets the stored copy of an engine's granted component serve. Returns whether it does.
    async fn activate_copy(&mut self, name: &str) -> bool {
        match self.admit_copy(name).await {
            Ok(Some((component, grant))) => {
                self.activate(component, grant);
                true
            }
            Ok(None) => false,
            Err(Refusal { guard, reason }) => {
                self.sandbox.audit.record(&Event {
                    kind: RefusalKind::Admission,
                    guard,
                    actor: Actor::Server,
                    engine: name,
                    job: "",
                    message: &format!(
                        "the granted component of engine {name} cannot serve: it {reason}"
                    ),
                });
                false
            }
        }
    }

    /// Admits the stored copy of an engine's granted component; `None` if the engine has no grant.
    async fn admit_copy(&self, name: &str) -> Result<Option<(Component, Grant)>, Refusal> {
        let Some(grant) = self.grants.load(name)? else {
            return Ok(None);
        };
        let copy = copy_name(&grant.digest);
        let mut component = admit(&self.sandbox, self.grants.directory(), &copy).await?;
        let reason = || format!("is not the granted component ({copy} was changed)");
        Guard::KeptCopy.refuse_if(component.digest != grant.digest, reason)?;
        if component.description.name != name {
            return Err(Guard::KeptCopy.refuse(reason()));
        }
        component.file.clone_from(&grant.file);
        Ok(Some((component, grant)))
    }

    fn hold_for_approval(&mut self, pending: PendingApproval, guard: Option<Guard>) {
        let state = if pending.is_served {
            "the granted component continues to serve"
        } else {
            "no component serves in its place"
        };
        self.sandbox.audit.record(&Event {
            kind: RefusalKind::Grant,
            guard,
            actor: Actor::Server,
            engine: &pending.engine,
            job: "",
            message: &format!(
                "engine file {}: {}; {state}",
                pending.file,
                pending.reason()
            ),
        });
        self.pending.push(pending);
    }
}
