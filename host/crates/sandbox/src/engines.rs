//! All engines of a server, by name.

use std::collections::BTreeMap;
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
use crate::error::Error;
use crate::grant::{Grant, GrantStore, Right};
use crate::job_context::JobContext;
use crate::limits::Limits;
use crate::pending_approval::PendingApproval;
use crate::resolved_settings::{ResolvedSettings, SettingProblem};
use crate::sandbox::{Options, Sandbox};

/// All engines of a server: the components that serve, those that wait for approval, and the files that
/// were rejected.
pub struct Engines {
    pub(crate) sandbox: Arc<Sandbox>,
    /// The directory of component files.
    pub(crate) directory: Dir,
    pub(crate) grants: GrantStore,
    pub(crate) admitted: BTreeMap<String, Arc<Component>>,
    pub(crate) pending: Vec<PendingApproval>,
    pub(crate) rejected: Vec<RejectedFile>,
}

impl Engines {
    /// Admits each component file of the directory, within its grant.
    ///
    /// A bad file does not fail the call: it is among [`Self::rejected_files`]. Fails if a directory is
    /// unusable.
    pub async fn open(options: &Options) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new(options)?);
        let directory = data_dir::open(&options.engines).with_context(|| {
            format!(
                "cannot read the engine directory {}: set PINHOLE_ENGINES to the directory of component files",
                options.engines.display()
            )
        })?;
        let mut engines = Self {
            sandbox,
            directory,
            grants: GrantStore::open(&options.data)?,
            admitted: BTreeMap::new(),
            pending: Vec::new(),
            rejected: Vec::new(),
        };
        engines.register_all(options.first_use).await?;
        Ok(engines)
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
        }
    }
}
