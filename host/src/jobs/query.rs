//! Calls of an engine that produce no image: its models, and whether its settings work.

use std::sync::Arc;
use std::time::Duration;

use pinhole_egress::Tls;
use pinhole_ground::guard::Guard;
use pinhole_ground::rate_limit::RateLimit;
use pinhole_sandbox::contract::{Explanation, Model, Placement};
use pinhole_sandbox::grant;
use pinhole_sandbox::{Call, EngineReport, JobContext, Limits, ResolvedSettings};
use tokio::time::Instant;

use super::Jobs;
use super::binding::Binding;
use super::error::Error;
use super::plan::JobPlan;
use super::snapshot::Snapshot;

/// Time that such a call may take.
const MAX_QUERY_TIME: Duration = Duration::from_secs(60);
/// Lists of models that one user may request in a minute. A front end may do so for all its users.
const MAX_MODEL_LISTS_PER_MINUTE: u32 = 300;
/// Verifications of engines that one administrator may request in a minute. Each is a request to an upstream.
const MAX_VERIFICATIONS_PER_MINUTE: u32 = 30;
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
        self.query(&snapshot, binding, settings, &query_context())
            .models()
            .await
            .map_err(|error| Error::engine(&binding.name, &binding.component, settings, error))
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
        let (generate, edit) = (binding.generate_settings()?, binding.edit_settings()?);
        binding.require_upstream(generate)?;
        for settings in [generate, edit] {
            if let Some(problem) = &settings.problem {
                let source = problem.clone().into();
                return Err(Error::engine(
                    &binding.name,
                    &binding.component,
                    settings,
                    source,
                ));
            }
        }
        let description = &binding.component.description;
        let has_same_connections = edit
            .settings
            .has_same_connections(&generate.settings, description);
        if has_same_connections {
            // The settings for editing are those for generating, with some more.
            return self.verify_settings(snapshot, binding, edit).await;
        }
        let generating = self.verify_settings(snapshot, binding, generate).await?;
        let editing = self.verify_settings(snapshot, binding, edit).await?;
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
        self.verify_settings(&self.snapshot(), binding, &settings)
            .await
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
        snapshot: &Snapshot,
        binding: &Binding,
        settings: &ResolvedSettings,
    ) -> Result<EngineReport, Error> {
        let verification = self
            .query(snapshot, binding, settings, &query_context())
            .verify()
            .await
            .map_err(|error| Error::engine(&binding.name, &binding.component, settings, error))?;
        let explanation = self.explain_settings(snapshot, binding, settings).await?;
        Ok(EngineReport::new(verification, explanation))
    }

    /// What the binding's settings mean: where the values of a job go, and what the settings do not do.
    pub async fn explain(&self, binding: &Binding) -> Result<Explanation, Error> {
        let settings = binding.edit_settings()?;
        self.explain_settings(&self.snapshot(), binding, settings)
            .await
    }

    async fn explain_settings(
        &self,
        snapshot: &Snapshot,
        binding: &Binding,
        settings: &ResolvedSettings,
    ) -> Result<Explanation, Error> {
        self.query(snapshot, binding, settings, &query_context())
            .explain()
            .await
            .map_err(|error| Error::engine(&binding.name, &binding.component, settings, error))
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
        let explained = self
            .explain_settings(&self.snapshot(), binding, settings)
            .await;
        let rows = explained.map(|it| it.rows).unwrap_or_default();
        let is_of_edit = |row: &Placement| documents.contains(&row.setting.as_str());
        !rows.is_empty() && !rows.iter().any(is_of_edit)
    }

    fn query<'a>(
        &self,
        snapshot: &'a Snapshot,
        binding: &'a Binding,
        settings: &'a ResolvedSettings,
        context: &'a JobContext,
    ) -> Call<'a> {
        let limits = Limits::job(self.timeout.min(MAX_QUERY_TIME));
        snapshot
            .engines
            .call(&binding.component, settings, context, limits)
            .in_group(binding.concurrency.queries())
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

fn query_context() -> JobContext {
    JobContext::new("query".to_owned())
}
