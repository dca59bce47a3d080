//! The engines of a server at one moment, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;
use pinhole_ground::guard::Refusal;
use pinhole_ground::metrics::Load;

use crate::call::{self, Call};
use crate::component::{Component, RejectedFile};
use crate::contract::{Description, ErrorKind};
use crate::engine_settings::EngineSettings;
use crate::engine_start::EngineStart;
use crate::error::Error;
use crate::grant::{Grant, GrantStore, Right};
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
    /// The directory of component files.
    pub(crate) directory: Arc<Dir>,
    pub(crate) grants: Arc<GrantStore>,
    pub(crate) admitted: BTreeMap<String, Arc<Component>>,
    pub(crate) pending: Vec<PendingApproval>,
    pub(crate) rejected: Vec<RejectedFile>,
    /// The files that are not admitted yet, such as those that are being compiled.
    pub(crate) starting: BTreeSet<String>,
    /// The engines that were granted what they declare when this process opened them.
    pub(crate) granted_names: Vec<String>,
}

impl Engines {
    /// Admits each component file of the directory, within its grant.
    ///
    /// A bad file does not fail the call: it is among [`Self::rejected_files`]. Fails if a directory is
    /// unusable.
    pub async fn open(options: &Options) -> Result<Self> {
        let mut start = EngineStart::new(options).await?;
        while start.next().await? {}
        Ok(start.engines())
    }

    /// No engine yet.
    pub(crate) fn none(options: &Options) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new(options)?);
        let directory = data_dir::open(&options.engines).with_context(|| {
            format!(
                "cannot read the engine directory {}: set PINHOLE_ENGINES to the directory of component files",
                options.engines.display()
            )
        })?;
        Ok(Self {
            sandbox,
            directory: Arc::new(directory),
            grants: Arc::new(GrantStore::open(&options.data)?),
            admitted: BTreeMap::new(),
            pending: Vec::new(),
            rejected: Vec::new(),
            starting: BTreeSet::new(),
            granted_names: Vec::new(),
        })
    }

    /// The component of an engine that serves.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Component>> {
        self.admitted.get(name)
    }

    /// All components that serve, ordered by engine name.
    pub fn admitted(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.admitted.values()
    }

    /// The components that wait for an administrator's approval.
    #[must_use]
    pub fn pending(&self) -> &[PendingApproval] {
        &self.pending
    }

    #[must_use]
    pub fn rejected_files(&self) -> &[RejectedFile] {
        &self.rejected
    }

    /// The files that are not admitted yet. While there are any, an engine of any name may follow.
    #[must_use]
    pub fn starting_files(&self) -> &BTreeSet<String> {
        &self.starting
    }

    #[must_use]
    pub fn grants(&self) -> &GrantStore {
        &self.grants
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

    /// Grants a pending component all rights that it declares, except those that an administrator denied.
    /// It serves from the next start of the server on.
    ///
    /// Fails if its file has changed since it was admitted.
    pub fn approve(&self, pending: &PendingApproval) -> Result<(), Refusal> {
        let previous = self.grants.load(&pending.engine)?.unwrap_or_default();
        let is_denied = |right: &Right| previous.denies.iter().any(|denied| denied.includes(right));
        let mut allows = pending.declared_rights.clone();
        allows.retain(|right| !is_denied(right));
        let grant = Grant {
            digest: pending.digest.clone(),
            file: pending.file.clone(),
            allows,
            denies: previous.denies,
        };
        self.save_grant(&pending.engine, &grant)
    }

    /// Lets an engine verify settings while it has no upstream. Returns the setting that it refuses, under
    /// the name that the operator knows.
    pub async fn check_settings(
        &self,
        component: &Component,
        settings: &EngineSettings,
    ) -> Option<SettingProblem> {
        let without_upstreams = ResolvedSettings {
            redactor: Arc::new(settings.redactor()),
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
