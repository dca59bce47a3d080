//! Calls of an engine that produce no image: its models, and whether its settings work.

use std::sync::Arc;
use std::time::Duration;

use pinhole_egress::Tls;
use pinhole_ground::guard::Guard;
use pinhole_ground::rate_limit::RateLimit;
use pinhole_sandbox::contract::{Explanation, Model, Placement};
use pinhole_sandbox::grant;
use pinhole_sandbox::{
    Call, EngineReport, Error as EngineError, JobContext, Limits, ResolvedSettings,
};
use tokio::time::Instant;

use super::Jobs;
use super::binding::Binding;
use super::error::Error;
use super::plan::{JobPlan, Operation};
use super::snapshot::Snapshot;

/// Time that such a call may take.
pub const MAX_QUERY_TIME: Duration = Duration::from_secs(60);
/// Lists of models that one user may request in a minute. A front end may do so for all its users.
const MAX_MODEL_LISTS_PER_MINUTE: u32 = 300;
/// Verifications of engines that one administrator may request in a minute. Each is a request to an upstream.
pub const MAX_VERIFICATIONS_PER_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

impl Jobs {
    /// The models that the binding's upstream offers, of a cached list.
    ///
    /// If the caller drops this future, the request continues: a user cannot cause another one that way.
    pub async fn listed_models(
        self: &Arc<Self>,
        binding: &Arc<Binding>,
    ) -> Result<Arc<[Model]>, Error> {
        let (jobs, owned_binding) = (self.clone(), binding.clone());
        let listing = tokio::spawn(async move {
            let request = async {
                jobs.models(&owned_binding).await.inspect_err(|error| {
                    tracing::warn!("image models cannot be listed: {}", error.for_operator());
                })
            };
            owned_binding.models.get(request).await
        });
        listing.await.unwrap_or_else(|crash| {
            let message = format!(
                "the models of engine {} cannot be listed: {crash}",
                binding.name
            );
            Err(Error::invalid("engine", message))
        })
    }

    /// Counts a user's request for a list of models. Fails if there are too many.
    pub fn count_model_list(&self, user_id: &str) -> Result<(), Error> {
        self.query_rates.model_lists.count_for(user_id)
    }

    /// Counts an administrator's verification of an engine. Fails if there are too many.
    pub fn count_verification(&self, user_id: &str) -> Result<(), Error> {
        self.query_rates.verifications.count_for(user_id)
    }

    /// The models that the binding's upstream offers. Uses a slot of the server itself.
    pub async fn models(&self, binding: &Binding) -> Result<Vec<Model>, Error> {
        let settings = binding.generate_settings()?;
        binding.require_upstream(settings)?;
        let snapshot = self.snapshot();
        let query = Query::new(&snapshot, binding);
        let models = self.call(&query, settings).models().await;
        models.map_err(|error| query.error(settings, error))
    }

    /// Checks whether the binding's settings are valid and its upstream accepts the credentials: for
    /// generating, and for editing if it has another upstream or credential there.
    pub async fn verify(&self, binding: &Binding) -> Result<EngineReport, Error> {
        self.verify_in(&self.snapshot(), binding).await
    }

    /// Checks the same for a binding of a snapshot that need not be current.
    pub async fn verify_in(
        &self,
        snapshot: &Snapshot,
        binding: &Binding,
    ) -> Result<EngineReport, Error> {
        let query = Query::new(snapshot, binding);
        self.verify_operation(&query, None).await
    }

    /// Checks the same for one operation only, or for both.
    pub(super) async fn verify_operation(
        &self,
        query: &Query<'_>,
        operation: Option<Operation>,
    ) -> Result<EngineReport, Error> {
        let binding = query.binding;
        let all = match operation {
            None => vec![binding.generate_settings()?, binding.edit_settings()?],
            Some(Operation::Generate) => vec![binding.generate_settings()?],
            Some(Operation::Edit) => vec![binding.edit_settings()?],
        };
        if let Some(first) = all.first() {
            binding.require_upstream(first)?;
        }
        for settings in &all {
            query.refuse_problem(settings)?;
        }
        let description = &binding.component.description;
        let (generate, edit) = match all.as_slice() {
            [generate, edit]
                if !edit
                    .settings
                    .has_same_connections(&generate.settings, description) =>
            {
                (Some(generate), edit)
            }
            // The settings for editing are those for generating, with some more.
            [.., last] => (None, last),
            [] => return Ok(EngineReport::default()),
        };
        let Some(generate) = generate else {
            return self.verify_settings(query, edit).await;
        };
        let generating = self.verify_settings(query, generate).await?;
        let editing = self.verify_settings(query, edit).await?;
        Ok(EngineReport {
            server: match (generating.server, editing.server) {
                (Some(server), Some(other)) if server != other => {
                    Some(format!("{server}; for edits {other}"))
                }
                (server, other) => server.or(other),
            },
            ..editing
        })
    }

    /// Checks the same for the binding at another URL, with the key for that URL. Changes no setting.
    pub async fn verify_at(
        &self,
        binding: &Binding,
        url: &str,
        key: Option<&str>,
    ) -> Result<EngineReport, Error> {
        let settings = self
            .settings_at(binding, url, key)
            .map_err(|why| Error::invalid("url", why))?;
        let snapshot = self.snapshot();
        let query = Query::new(&snapshot, binding);
        self.verify_settings(&query, &settings).await
    }

    fn settings_at(
        &self,
        binding: &Binding,
        url: &str,
        key: Option<&str>,
    ) -> Result<ResolvedSettings, String> {
        let description = &binding.component.description;
        let current = binding.generate_settings().cloned().unwrap_or_default();
        let settings = current.settings.with_connection(description, url, key)?;
        // The binding's own certificates are for its configured URL only.
        let tls = Tls::default();
        let grant = &binding.component.grant;
        let upstreams = grant::open_upstreams(description, grant, &settings, &self.egress, &tls)
            .map_err(|refusal| refusal.to_string())?;
        Ok(ResolvedSettings {
            image_hosts: current.image_hosts,
            redactor: Arc::new(settings.redactor(grant::live_secrets(&upstreams))),
            settings,
            upstreams: Arc::new(upstreams),
            problem: None,
        })
    }

    async fn verify_settings(
        &self,
        query: &Query<'_>,
        settings: &ResolvedSettings,
    ) -> Result<EngineReport, Error> {
        let verification = self
            .call(query, settings)
            .verify()
            .await
            .map_err(|error| query.error(settings, error))?;
        let explanation = self.explain_settings(query, settings).await?;
        Ok(EngineReport::new(verification, explanation))
    }

    /// What the binding's settings mean: where the values of a job go, and what the settings do not do.
    pub async fn explain(&self, binding: &Binding) -> Result<Explanation, Error> {
        self.explain_in(&self.snapshot(), binding, Operation::Edit)
            .await
    }

    /// The same for a binding of a snapshot that need not be current. The settings for editing are those for
    /// generating, with some more.
    pub async fn explain_in(
        &self,
        snapshot: &Snapshot,
        binding: &Binding,
        operation: Operation,
    ) -> Result<Explanation, Error> {
        let settings = match operation {
            Operation::Generate => binding.generate_settings()?,
            Operation::Edit => binding.edit_settings()?,
        };
        let query = Query::new(snapshot, binding);
        query.refuse_problem(settings)?;
        self.explain_settings(&query, settings).await
    }

    async fn explain_settings(
        &self,
        query: &Query<'_>,
        settings: &ResolvedSettings,
    ) -> Result<Explanation, Error> {
        let explained = self.call(query, settings).explain().await;
        explained.map_err(|error| query.error(settings, error))
    }

    /// Whether the engine lacks settings for an edit that the plan carries out, for a request with this model.
    /// An earlier edit has shown it, or the engine's `explain` shows it.
    pub async fn lacks_edit_setup(&self, plan: &JobPlan, model: Option<&str>) -> bool {
        if plan.names_model(model) {
            return false;
        }
        let binding = &plan.binding;
        binding
            .edit_setup
            .is_missing(self.explains_no_edit(binding))
            .await
    }

    /// Whether `explain` lists where values of a job go, but none in a document that only edits use.
    async fn explains_no_edit(&self, binding: &Binding) -> bool {
        let documents = binding.unset_edit_documents();
        let Ok(settings) = binding.edit_settings() else {
            return false;
        };
        if documents.is_empty() {
            return false;
        }
        // If it fails, the edit reports the reason.
        let snapshot = self.snapshot();
        let query = Query::new(&snapshot, binding);
        let explained = self.explain_settings(&query, settings).await;
        let rows = explained.map(|it| it.rows).unwrap_or_default();
        let is_of_edit = |row: &Placement| documents.contains(&row.setting.as_str());
        !rows.is_empty() && !rows.iter().any(is_of_edit)
    }

    /// The time limit of one call.
    pub(super) fn query_time(&self) -> Duration {
        self.timeout.min(MAX_QUERY_TIME)
    }

    fn call<'a>(&self, query: &'a Query<'_>, settings: &'a ResolvedSettings) -> Call<'a> {
        let binding = query.binding;
        let limits = Limits::job(self.query_time());
        query
            .snapshot
            .engines
            .call(&binding.component, settings, &query.context, limits)
            .in_group(binding.concurrency.queries())
    }
}

/// Calls of a binding that produce no image.
pub(super) struct Query<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) binding: &'a Binding,
    pub(super) context: JobContext,
}

impl<'a> Query<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, binding: &'a Binding) -> Self {
        Self {
            snapshot,
            binding,
            context: JobContext::new("query".to_owned()),
        }
    }

    /// Fails if the engine itself refuses these settings.
    fn refuse_problem(&self, settings: &ResolvedSettings) -> Result<(), Error> {
        match &settings.problem {
            Some(problem) => Err(self.error(settings, problem.clone().into())),
            None => Ok(()),
        }
    }

    fn error(&self, settings: &ResolvedSettings, source: EngineError) -> Error {
        let binding = self.binding;
        Error::engine(&binding.name, &binding.component, settings, source)
    }
}

/// How often users may cause queries.
pub(super) struct QueryRates {
    model_lists: UserRate,
    verifications: UserRate,
}

struct UserRate(RateLimit<String>);

impl Default for QueryRates {
    fn default() -> Self {
        let per_minute = |count| UserRate(RateLimit::new(count, MINUTE));
        Self {
            model_lists: per_minute(MAX_MODEL_LISTS_PER_MINUTE),
            verifications: per_minute(MAX_VERIFICATIONS_PER_MINUTE),
        }
    }
}

impl UserRate {
    fn count_for(&self, user_id: &str) -> Result<(), Error> {
        match self.0.count(user_id.to_owned(), Instant::now()) {
            Err(retry_after) if Guard::QueryRate.applies(true) => {
                Err(Error::RateLimited { retry_after })
            }
            _ => Ok(()),
        }
    }
}
