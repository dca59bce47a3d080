//! The engines of a server at one moment, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_ground::data_dir;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::metrics::Load;

use crate::admission::{admit, admit_compiled};
use crate::call::{self, Call};
use crate::component::{Component, RejectedFile};
use crate::component_files::{ListedFiles, list_components, read_component};
use crate::contract::{Description, ErrorKind};
use crate::engine_settings::EngineSettings;
use crate::error::Error;
use crate::grant::Grant;
use crate::job_context::JobContext;
use crate::limits::Limits;
use crate::pending_approval::PendingApproval;
use crate::resolved_settings::{ResolvedSettings, SettingProblem};
use crate::sandbox::{Options, Sandbox};

/// The engines of a server at one moment: the components that serve, those that wait for approval, and the
/// files that were rejected or are not admitted yet. Clones share all that is large.
#[derive(Clone)]
pub struct Engines {
    pub(crate) sandbox: Arc<Sandbox>,
    components: BTreeMap<String, Arc<Component>>,
    rollouts: BTreeMap<String, Rollout>,
    pub pending: Vec<PendingApproval>,
    pub rejected: Vec<RejectedFile>,
    /// The files that are not admitted yet, such as those that are compiled at the first start. While there are
    /// any, an engine of any name may follow.
    pub starting: BTreeSet<String>,
}

/// Two versions of an engine that serve at the same time.
#[derive(Clone)]
pub struct Rollout {
    pub candidate: Arc<Component>,
    /// The version that serves if the candidate fails.
    pub stable: Arc<Component>,
    /// The share of users who get the candidate. With 100, all get it.
    pub percent: u8,
}

impl Rollout {
    /// The version that most users get.
    #[must_use]
    pub fn primary(&self) -> &Arc<Component> {
        if self.percent >= 100 {
            &self.candidate
        } else {
            &self.stable
        }
    }

    /// The other version.
    #[must_use]
    pub fn secondary(&self) -> &Arc<Component> {
        if self.percent >= 100 {
            &self.stable
        } else {
            &self.candidate
        }
    }
}

impl Engines {
    /// Starts the sandbox, without any engine.
    pub fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            sandbox: Arc::new(Sandbox::new(options)?),
            components: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            pending: Vec::new(),
            rejected: Vec::new(),
            starting: BTreeSet::new(),
        })
    }

    /// Admits the component files of a directory, and grants each what it declares. Nothing is stored but
    /// compiled code. Of several files with one engine name, the first in alphabetical order serves.
    ///
    /// A bad file does not fail the call: it is in [`Self::rejected`].
    pub async fn open(options: &Options, directory: &Path) -> Result<Self> {
        let mut engines = Self::new(options)?;
        let unreadable = || format!("cannot read the engine directory {}", directory.display());
        let directory = data_dir::open(directory).with_context(unreadable)?;
        let ListedFiles { files, refused } =
            list_components(&directory).with_context(unreadable)?;
        for (file, refusal) in refused {
            engines.reject(file, refusal);
        }
        for file in files {
            let admitted = match read_component(&directory, &file) {
                Ok(bytes) => engines.admit(&file, bytes).await,
                Err(refusal) => Err(refusal),
            };
            match admitted {
                Ok(component) => engines.insert_first(component),
                Err(refusal) => engines.reject(file, refusal),
            }
        }
        Ok(engines)
    }

    fn insert_first(&mut self, component: Component) {
        let name = &component.declared.name;
        if let Some(other) = self.get(name) {
            let reason = format!("names its engine {name}, as {} already does", other.file);
            let file = component.file;
            self.reject(file, Guard::EngineNames.refuse(reason));
            return;
        }
        let rights = component.declared_rights.clone();
        let grant = Grant::allow_all(&component.digest, &component.file, rights);
        self.insert(Arc::new(component.with_grant(grant)));
    }

    /// Admits the bytes of a component, which has no grant yet. Compiles them unless their code is stored.
    ///
    /// The refusal's reason is for the operator and follows the file's name.
    pub async fn admit(&self, file: &str, bytes: Vec<u8>) -> Result<Component, Refusal> {
        admit(&self.sandbox, file, bytes).await
    }

    /// Admits the component with this digest if its code is stored; `None` if it must be compiled first.
    pub async fn admit_compiled(
        &self,
        file: &str,
        digest: &str,
    ) -> Result<Option<Component>, Refusal> {
        admit_compiled(&self.sandbox, file, digest).await
    }

    /// Removes the compiled code of a component that is no longer stored.
    pub fn remove_compiled(&self, digest: &str) {
        self.sandbox.compiled.remove(digest);
    }

    /// Lets a component serve under its name, for all users.
    pub fn insert(&mut self, component: Arc<Component>) {
        let name = component.declared.name.clone();
        self.rollouts.remove(&name);
        self.components.insert(name, component);
    }

    /// Lets two versions of an engine serve.
    pub fn insert_rollout(&mut self, rollout: Rollout) {
        let name = rollout.stable.declared.name.clone();
        self.components
            .insert(name.clone(), rollout.primary().clone());
        self.rollouts.insert(name, rollout);
    }

    /// Stops an engine. Running calls continue.
    pub fn remove(&mut self, name: &str) {
        self.components.remove(name);
        self.rollouts.remove(name);
    }

    /// Records in the audit log that a file does not become an engine.
    pub fn reject(&mut self, file: String, refusal: Refusal) {
        let Refusal { guard, reason } = refusal;
        self.sandbox.audit.record(&Event {
            kind: RefusalKind::Admission,
            guard,
            actor: Actor::Server,
            engine: &file,
            job: "",
            message: &format!("engine file {file} is not admitted: it {reason}"),
        });
        self.rejected.retain(|it| it.file != file);
        self.rejected.push(RejectedFile {
            file,
            reason,
            guard,
        });
        self.rejected.sort_by(|a, b| a.file.cmp(&b.file));
    }

    /// Records in the audit log that a component waits for approval. `guard` demands it.
    pub fn record_pending(&self, pending: &PendingApproval, guard: Option<Guard>) {
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
    }

    /// The component of an engine that most users get.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Component>> {
        self.components.get(name)
    }

    /// The versions of an engine while there are two.
    #[must_use]
    pub fn rollout(&self, name: &str) -> Option<&Rollout> {
        self.rollouts.get(name)
    }

    /// All engines that serve, ordered by name: of each the component that most users get.
    pub fn admitted(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.components.values()
    }

    /// Calls that run at the same time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.sandbox.queue.limits().slots
    }

    /// Calls of one user that run at the same time.
    #[must_use]
    pub fn slots_per_user(&self) -> usize {
        self.sandbox.queue.limits().slots_per_user
    }

    /// The number of running and of waiting calls.
    #[must_use]
    pub fn load(&self) -> Load {
        self.sandbox.queue.load()
    }

    /// Waits until no call runs, at most this long.
    pub async fn drain(&self, timeout: Duration) {
        let idle = self.sandbox.queue.idle();
        tokio::time::timeout(timeout, idle).await.ok();
    }

    /// Lets an engine verify settings while it has no upstream. Returns the setting that it refuses, under
    /// the name that the operator knows.
    pub async fn check_settings(
        &self,
        component: &Component,
        settings: &EngineSettings,
    ) -> Option<SettingProblem> {
        let without_upstreams = ResolvedSettings {
            redactor: Arc::new(settings.redactor([])),
            settings: settings.clone(),
            ..ResolvedSettings::default()
        };
        let context = JobContext::new("admission".to_owned());
        let verified = self
            .call(component, &without_upstreams, &context, Limits::describe())
            .verify()
            .await;
        // Other errors are about the upstream, which this call cannot reach.
        let Err(Error::Engine { error, .. }) = verified else {
            return None;
        };
        if error.kind != ErrorKind::Invalid {
            return None;
        }
        let key = error.field?;
        let is_declared = component
            .description
            .settings
            .iter()
            .any(|setting| setting.key == key);
        if !is_declared {
            return None;
        }
        let name = settings.variable(&key).unwrap_or(&key);
        let message = format!("{name} cannot be used: {}", error.message);
        Some(SettingProblem { key, message })
    }

    /// Lets a component describe itself again, in a fresh instance, within the limits of admission.
    pub async fn describe_again(&self, component: &Component) -> Result<Description, Error> {
        call::describe(&self.sandbox, &component.file, &component.pre).await
    }

    /// Instantiates a component, calls `describe` and drops the instance. For benchmarks: each call pays
    /// this cost.
    #[doc(hidden)]
    pub async fn describe(&self, component: &Component) -> Result<Description, Error> {
        call::describe_in_place(&self.sandbox, component).await
    }

    /// A call of an engine within these limits.
    #[must_use]
    pub fn call<'a>(
        &'a self,
        component: &'a Component,
        settings: &'a ResolvedSettings,
        context: &'a JobContext,
        limits: Limits,
    ) -> Call<'a> {
        Call {
            sandbox: &self.sandbox,
            component,
            settings,
            context,
            group: None,
            keeps_place: false,
            limits,
            usage: None,
        }
    }
}
