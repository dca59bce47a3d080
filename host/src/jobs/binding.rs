//! Bindings: engines with their settings, defaults and users.
//!
//! Every engine is a binding under its own name, configured by its variables. An operator can define more
//! in `PINHOLE_BINDINGS`, several of the same engine too.

mod concurrency;
mod edit_setup;
mod model_cache;
mod spec;

use std::sync::Arc;

use pinhole_egress::Egress;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::contract::{Setting, SettingKind};
use pinhole_sandbox::engine_settings::{EngineSettings, is_connection_setting};
use pinhole_sandbox::grant::{self, ImageHostSetting};
use pinhole_sandbox::{Component, Engines, ResolvedSettings, SettingProblem};

use super::defaults::JobDefaults;
use super::error::Error;
use crate::settings::Settings;

use concurrency::Concurrency;
use edit_setup::EditSetup;
pub(super) use model_cache::ModelCache;
pub use spec::{BINDINGS, MAX_BINDINGS};
pub(super) use spec::{BindingSpec, parse_bindings};

/// A named configuration of an engine.
pub struct Binding {
    /// Its name in settings and requests.
    pub name: String,
    pub component: Arc<Component>,
    pub(super) generate_defaults: JobDefaults,
    pub(super) edit_defaults: JobDefaults,
    pub(super) spec: BindingSpec,
    pub(super) concurrency: Concurrency,
    /// The models that its upstream listed.
    pub(super) models: ModelCache,
    pub(super) edit_setup: EditSetup,
    generate: Result<ResolvedSettings, String>,
    edit: Result<ResolvedSettings, String>,
}

/// What bindings are made from.
pub(super) struct BindingContext<'a> {
    pub(super) engines: &'a Engines,
    pub(super) egress: &'a Egress,
    pub(super) environment: &'a Environment,
    pub(super) settings: &'a Settings,
    /// There are other bindings.
    pub(super) has_others: bool,
}

impl Binding {
    /// Resolves the settings of a binding. Fails only if the limit of its jobs or the engine's choice of the
    /// credential is invalid: other problems are its [`Self::problems`]. Reuses the connections of `previous`, the bindings of the same
    /// name before, if they lead to the same upstreams.
    pub(super) async fn new(
        name: String,
        spec: BindingSpec,
        image_hosts: ImageHostSetting,
        component: Arc<Component>,
        context: &BindingContext<'_>,
        previous: &[&Self],
    ) -> Result<Self, String> {
        let concurrency = spec.concurrency(&name, &component.description, context.environment)?;
        EngineSettings::check_credential(&component.description, context.environment)?;
        let previous = previous.iter().find(|it| {
            let before = &it.component;
            before.digest == component.digest
                && before.grant == component.grant
                && it.spec.tls == spec.tls
        });
        let (generate_settings, edit_settings) =
            match read_settings(&name, &spec, &component, context.environment) {
                Ok((generate, edit)) => (Ok(generate), edit),
                Err(why) => (Err(why.clone()), Err(why)),
            };
        let resolver = Resolver {
            component: &component,
            spec: &spec,
            image_hosts: Arc::new(image_hosts),
            context,
        };
        let generate = match generate_settings {
            Ok(settings) => {
                let known = previous.and_then(|it| it.generate.as_ref().ok());
                resolver.resolve(settings, known.into_iter()).await
            }
            Err(why) => Err(why),
        };
        let edit = match (&generate, edit_settings) {
            (Err(why), _) => Err(why.clone()),
            (Ok(_), Err(why)) => Err(why),
            (Ok(generate), Ok(settings)) => {
                let known = previous.and_then(|it| it.edit.as_ref().ok());
                resolver
                    .resolve(settings, [generate].into_iter().chain(known))
                    .await
            }
        };
        Ok(Self {
            generate_defaults: generate_defaults(&name, &spec, context.settings),
            edit_defaults: edit_defaults(&name, &spec, context.settings),
            concurrency: Concurrency::new(&name, concurrency, context.has_others, context.engines),
            models: ModelCache::default(),
            edit_setup: EditSetup::default(),
            name,
            component,
            spec,
            generate,
            edit,
        })
    }

    /// The model of jobs that name none, if a setting does.
    #[must_use]
    pub fn default_model(&self) -> Option<&str> {
        self.generate_defaults.model.as_deref()
    }

    /// The size of jobs that name none, if a setting does: `WxH` or `auto`.
    #[must_use]
    pub fn default_size(&self) -> Option<&str> {
        self.generate_defaults.size.as_deref()
    }

    /// The steps of jobs that request none, if a setting does.
    #[must_use]
    pub fn default_steps(&self) -> Option<u32> {
        self.generate_defaults.steps
    }

    /// The model of edits that name none, if a setting does.
    #[must_use]
    pub fn default_edit_model(&self) -> Option<&str> {
        self.edit_defaults.model.as_deref()
    }

    /// The size of edits that name none, if a setting does: `WxH` or `auto`.
    #[must_use]
    pub fn default_edit_size(&self) -> Option<&str> {
        self.edit_defaults.size.as_deref()
    }

    /// Why it cannot generate with its settings, for the operator. `None` if it can.
    #[must_use]
    pub fn unready_reason(&self) -> Option<String> {
        self.reason_of(self.generate_settings())
    }

    /// Why it cannot edit with its settings, for the operator. `None` if it can.
    pub(super) fn unready_edit_reason(&self) -> Option<String> {
        self.reason_of(self.edit_settings())
    }

    fn reason_of(&self, settings: Result<&ResolvedSettings, Error>) -> Option<String> {
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => return Some(error.to_string()),
        };
        if let Err(error) = self.require_upstream(settings) {
            return Some(error.to_string());
        }
        settings.problem.as_ref().map(|it| it.message.clone())
    }

    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.component.description.name
    }

    /// The settings for generating. Fails if they are invalid.
    pub fn generate_settings(&self) -> Result<&ResolvedSettings, Error> {
        self.generate
            .as_ref()
            .map_err(|why| self.invalid("settings", why))
    }

    /// The settings for editing. Fails if they are invalid.
    pub fn edit_settings(&self) -> Result<&ResolvedSettings, Error> {
        self.edit
            .as_ref()
            .map_err(|why| self.invalid("settings for editing", why))
    }

    fn invalid(&self, settings: &str, why: &str) -> Error {
        let name = &self.name;
        Error::invalid(
            "engine",
            format!("the {settings} of engine {name} cannot be used: {why}"),
        )
    }

    /// True if the settings have a URL for an upstream.
    #[must_use]
    pub fn has_upstream_url(&self) -> bool {
        let settings = self.generate.as_ref();
        settings.is_ok_and(|settings| !settings.upstreams.is_empty())
    }

    /// Fails if the engine declares upstreams, but the settings have a URL for none of them.
    pub(super) fn require_upstream(&self, settings: &ResolvedSettings) -> Result<(), Error> {
        let description = &self.component.description;
        let Some(first) = description.upstreams.first() else {
            return Ok(());
        };
        if !settings.upstreams.is_empty() {
            return Ok(());
        }
        let variable = settings.settings.setting_name(description, &first.base_url);
        Err(Error::invalid(
            "engine",
            format!(
                "engine {} has no upstream URL: set {variable} to the URL of {}",
                self.name, description.title
            ),
        ))
    }

    /// The keys of the documents that only edits use, if the operator set none of them and no model for
    /// edits. Only `verify` shows whether the engine can edit without.
    pub(super) fn unset_edit_documents(&self) -> Vec<&str> {
        let Ok(settings) = &self.edit else {
            return Vec::new();
        };
        let is_document = |setting: &&Setting| {
            matches!(setting.kind, SettingKind::Document)
                && setting.generate_variables.is_empty()
                && !setting.edit_variables.is_empty()
        };
        let description = &self.component.description;
        let documents = description.settings.iter().filter(is_document);
        let keys: Vec<&str> = documents.map(|setting| setting.key.as_str()).collect();
        let is_set = |key: &&str| settings.settings.variable(key).is_some();
        if self.edit_defaults.model.is_some() || keys.iter().any(is_set) {
            return Vec::new();
        }
        keys
    }

    /// The problems of its settings, each as one sentence for the operator.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problem = |settings: &Result<ResolvedSettings, String>| match settings {
            Ok(settings) => settings.problem.as_ref().map(|it| it.message.clone()),
            Err(why) => Some(why.clone()),
        };
        let mut problems = Vec::new();
        problems.extend(problem(&self.generate));
        problems.extend(problem(&self.edit).filter(|why| !problems.contains(why)));
        problems
    }
}

/// Reads the settings for generating and for editing, under the names that the operator knows.
///
/// The outer error is about both.
fn read_settings(
    name: &str,
    spec: &BindingSpec,
    component: &Component,
    environment: &Environment,
) -> Result<(EngineSettings, Result<EngineSettings, String>), String> {
    let description = &component.description;
    let environment = spec.environment(name, description, environment)?;
    let generate = EngineSettings::for_generating(description, &environment)?;
    let edit = generate.for_editing(description, &environment);
    // The engine's variables do not set the URLs and secrets of a binding with its own connection.
    let hidden = description
        .settings
        .iter()
        .filter(|setting| spec.has_own_connection(description) && is_connection_setting(setting));
    let keys: Vec<&String> = spec
        .keys()
        .chain(hidden.map(|setting| &setting.key))
        .collect();
    let with_names = |settings: EngineSettings| {
        let credential_names = spec.credential_names(name, description, &settings);
        let names = keys
            .iter()
            .map(|key| ((*key).clone(), format!("{BINDINGS} ({name}, {key})")));
        settings.with_variable_names(names.chain(credential_names))
    };
    Ok((with_names(generate), edit.map(with_names)))
}

fn generate_defaults(name: &str, spec: &BindingSpec, settings: &Settings) -> JobDefaults {
    JobDefaults {
        model: spec
            .model
            .clone()
            .or_else(|| model_of(name, &settings.engine, settings.model.as_ref())),
        size: spec.size.clone().or_else(|| settings.size.clone()),
        steps: spec.steps.or(settings.steps),
    }
}

fn edit_defaults(name: &str, spec: &BindingSpec, settings: &Settings) -> JobDefaults {
    let edit = &settings.edit;
    JobDefaults {
        model: spec
            .edit_model
            .clone()
            .or_else(|| model_of(name, &edit.engine, edit.model.as_ref())),
        size: spec.edit_size.clone().or_else(|| edit.size.clone()),
        steps: None,
    }
}

/// The model of the settings, for the engine that they select. To other engines its name means nothing.
fn model_of(name: &str, selected_engine: &str, model: Option<&String>) -> Option<String> {
    if name == selected_engine {
        return model.cloned();
    }
    None
}

/// Resolves the settings of one binding.
struct Resolver<'a> {
    component: &'a Component,
    spec: &'a BindingSpec,
    image_hosts: Arc<ImageHostSetting>,
    context: &'a BindingContext<'a>,
}

impl Resolver<'_> {
    /// Opens the upstreams, and lets the engine verify the settings. `known_settings` were resolved
    /// before: equal ones are reused, and ones with the same upstreams lend their connections.
    async fn resolve<'k>(
        &self,
        settings: EngineSettings,
        known_settings: impl Iterator<Item = &'k ResolvedSettings>,
    ) -> Result<ResolvedSettings, String> {
        let component = self.component;
        let description = &component.description;
        let mut reused = None;
        for known in known_settings {
            if known.settings == settings && known.image_hosts == self.image_hosts {
                return Ok(known.clone());
            }
            if known.settings.has_same_connections(&settings, description) {
                reused = Some(known.upstreams.clone());
            }
        }
        let upstreams = match reused {
            Some(upstreams) => upstreams,
            None => {
                let opened = grant::open_upstreams(
                    description,
                    &component.grant,
                    &settings,
                    self.context.egress,
                    &self.spec.tls,
                );
                Arc::new(opened.map_err(|refusal| refusal.to_string())?)
            }
        };
        let problem = self
            .context
            .engines
            .check_settings(component, &settings)
            .await;
        if let Some(SettingProblem { message, .. }) = &problem {
            tracing::warn!("engine {}: {message}", description.name);
        }
        Ok(ResolvedSettings {
            image_hosts: self.image_hosts.clone(),
            redactor: Arc::new(settings.redactor(grant::live_secrets(&upstreams))),
            settings,
            upstreams,
            problem,
        })
    }
}
