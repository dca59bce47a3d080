//! Calls of an engine that produce no image: its models, and whether its settings work.

use std::sync::Arc;
use std::time::Duration;

use pinhole_egress::Tls;
use pinhole_sandbox::contract::Model;
use pinhole_sandbox::grant;
use pinhole_sandbox::{Call, JobContext, Limits, ResolvedSettings};

use super::Jobs;
use super::binding::Binding;
use super::error::Error;

/// Time that such a call may take.
const MAX_QUERY_TIME: Duration = Duration::from_secs(60);

impl Jobs {
    /// The models that the binding's upstream offers. Uses a slot of the user's share.
    pub async fn models(&self, binding: &Binding, user: Option<&str>) -> Result<Vec<Model>, Error> {
        let settings = binding.generate_settings()?;
        binding.require_upstream(settings)?;
        let context = JobContext {
            user: user.map(str::to_owned),
            ..query_context()
        };
        self.query(binding, settings, &context)
            .models()
            .await
            .map_err(|error| Error::engine(&binding.name, &binding.component, settings, error))
    }

    /// Checks whether the binding's settings are valid and its upstream accepts the credentials: for
    /// generating, and for editing if it has another upstream or credential there.
    pub async fn verify(&self, binding: &Binding) -> Result<(), Error> {
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
        self.verify_settings(binding, generate).await?;
        let description = &binding.component.description;
        if edit
            .settings
            .has_same_connections(&generate.settings, description)
        {
            return Ok(());
        }
        self.verify_settings(binding, edit).await
    }

    /// Checks the same for the binding at another URL, with the key for that URL. Changes no setting.
    pub async fn verify_at(
        &self,
        binding: &Binding,
        url: &str,
        key: Option<&str>,
    ) -> Result<(), Error> {
        let settings = self
            .settings_at(binding, url, key)
            .map_err(|why| Error::invalid("url", why))?;
        self.verify_settings(binding, &settings).await
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
            redactor: Arc::new(settings.redactor()),
            settings,
            upstreams: Arc::new(upstreams),
            problem: None,
        })
    }

    async fn verify_settings(
        &self,
        binding: &Binding,
        settings: &ResolvedSettings,
    ) -> Result<(), Error> {
        self.query(binding, settings, &query_context())
            .verify()
            .await
            .map_err(|error| Error::engine(&binding.name, &binding.component, settings, error))
    }

    fn query<'a>(
        &'a self,
        binding: &'a Binding,
        settings: &'a ResolvedSettings,
        context: &'a JobContext,
    ) -> Call<'a> {
        let limits = Limits::job(self.timeout.min(MAX_QUERY_TIME));
        self.engines
            .call(&binding.component, settings, context, limits)
    }
}

fn query_context() -> JobContext {
    JobContext::new("query".to_owned())
}
