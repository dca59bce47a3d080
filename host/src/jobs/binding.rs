//! A binding: an engine with settings, defaults and people of its own.
//!
//! Every engine is a binding under its own name, with the settings that its variables hold. An
//! operator may name more in `PINHOLE_BINDINGS`, several of one engine too.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::Error;
use super::request::{Defaults, MAX_STEPS, parse_size};
use pinhole_egress::{Egress, Tls};
use pinhole_sandbox::contract::{Description, Setting};
use pinhole_sandbox::{ResolvedSettings, Component, Engines, SettingProblem};
use pinhole_sandbox::grant;
use pinhole_sandbox::engine_settings::{EngineSettings, is_connection_setting, is_edit_only, own_variable};
use pinhole_ground::environment::Environment;
use crate::settings::Settings;

/// The variable that holds the bindings.
pub const BINDINGS: &str = "PINHOLE_BINDINGS";
/// Bindings that an operator may name.
const MAX_BINDINGS: usize = 64;
/// Length of a binding's name, in bytes.
const MAX_NAME_BYTES: usize = 40;
/// Groups, and chat models, that one binding may name.
const MAX_NAMED: usize = 256;

/// A named configuration of an engine.
pub struct Binding {
    /// What settings and requests call it.
    pub name: String,
    /// The engine.
    pub component: Arc<Component>,
    pub(super) generating_defaults: Defaults,
    pub(super) editing_defaults: Defaults,
    pub(super) spec: Spec,
    generating: Result<ResolvedSettings, String>,
    editing: Result<ResolvedSettings, String>,
}

/// What an operator says of a binding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Spec {
    /// The engine's name; where it is missing, the binding's own.
    engine: Option<String>,
    /// By the keys that the engine declares; what is missing here is as for the engine itself.
    settings: Map<String, Value>,
    /// The same for editing alone.
    edit_settings: Map<String, Value>,
    model: Option<String>,
    size: Option<String>,
    steps: Option<u32>,
    edit_model: Option<String>,
    edit_size: Option<String>,
    /// Certificates beside the system's, for its own upstreams alone.
    tls: Tls,
    /// Whose members alone may use it; everybody, where it is missing.
    pub(super) groups: Option<Vec<String>>,
    /// Whose members use it where they ask for no other.
    pub(super) preferred_by: Vec<String>,
    /// In whose chats it is used where no other is asked for.
    pub(super) chat_models: Vec<String>,
}

/// Reads what an operator has named. The error says where it is wrong.
pub(super) fn read(environment: &Environment) -> Result<BTreeMap<String, Spec>, String> {
    let Some(text) = environment.get(BINDINGS) else {
        return Ok(BTreeMap::new());
    };
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    let read: Result<BTreeMap<String, Spec>, _> = serde_path_to_error::deserialize(deserializer);
    // What stands there may be a secret, so it is not repeated.
    let specs = read.map_err(|error| {
        let place = error.path().to_string();
        format!(
            "{BINDINGS} is no JSON object of bindings: look at {place}, line {}, column {}",
            error.inner().line(),
            error.inner().column()
        )
    })?;
    if specs.len() > MAX_BINDINGS {
        return Err(format!(
            "{BINDINGS} names {} bindings; {MAX_BINDINGS} are allowed",
            specs.len()
        ));
    }
    for (name, spec) in &specs {
        check(name, spec).map_err(|why| format!("{BINDINGS}: binding {name:?} {why}"))?;
    }
    Ok(specs)
}

fn check(name: &str, spec: &Spec) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
        return Err(format!(
            "has a name that is not lower case, digits and dashes, {MAX_NAME_BYTES} at most"
        ));
    }
    for size in [&spec.size, &spec.edit_size].into_iter().flatten() {
        parse_size(size).map_err(|why| format!("has a size that {why}"))?;
    }
    if spec
        .steps
        .is_some_and(|steps| !(1..=MAX_STEPS).contains(&steps))
    {
        return Err(format!("has steps that are not 1 to {MAX_STEPS}"));
    }
    let groups = spec.groups.as_ref().map_or(0, Vec::len);
    let named = [groups, spec.preferred_by.len(), spec.chat_models.len()];
    match named.iter().any(|count| *count > MAX_NAMED) {
        true => Err(format!("names more than {MAX_NAMED} groups or chat models")),
        false => Ok(()),
    }
}

impl Spec {
    /// The engine of a binding with this name.
    pub(super) fn engine<'a>(&'a self, name: &'a str) -> &'a str {
        self.engine.as_deref().unwrap_or(name)
    }

    /// The variables as this binding's engine shall read them.
    ///
    /// Once a binding has an address or a secret of its own it is another place: no address and no
    /// secret of the engine's variables reaches it, so that no key is sent to an address that it was
    /// not meant for.
    fn environment(
        &self,
        description: &Description,
        environment: &Environment,
    ) -> Result<Environment, String> {
        let declared = |key: &String| description.settings.iter().any(|it| it.key == *key);
        let given = || self.settings.keys().chain(self.edit_settings.keys());
        if let Some(unknown) = given().find(|key| !declared(key)) {
            let keys: Vec<_> = description
                .settings
                .iter()
                .map(|it| it.key.as_str())
                .collect();
            return Err(format!(
                "has a setting {unknown:?}, but the settings of engine {} are {}",
                description.name,
                keys.join(", ")
            ));
        }
        let mine = |setting: &Setting| given().any(|key| *key == setting.key);
        let moves = description
            .settings
            .iter()
            .any(|it| is_connection_setting(it) && mine(it));
        let (mut hidden, mut set) = (Vec::new(), Vec::new());
        for setting in &description.settings {
            let own = own_variable(&description.name, &setting.key);
            if mine(setting) || (moves && is_connection_setting(setting)) {
                hidden.extend(setting.generate_variables.iter().cloned());
                hidden.extend(setting.edit_variables.iter().cloned());
                hidden.push(own.clone());
            }
            if let Some(value) = self.settings.get(&setting.key) {
                set.push((own.clone(), text(value)));
            }
            if let Some(value) = self.edit_settings.get(&setting.key) {
                let variable = match is_edit_only(setting) {
                    true => Some(own),
                    false => setting.edit_variables.first().cloned(),
                };
                let key = &setting.key;
                let variable = variable
                    .ok_or_else(|| format!("has edit_settings.{key}, which is one for both"))?;
                set.push((variable, text(value)));
            }
        }
        Ok(environment.without(&hidden).overlaid(set))
    }
}

/// A setting's value as a variable would hold it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Binding {
    /// Joins an engine with what is set. Connections of a binding that was there before are kept
    /// where they lead to the same place.
    pub(super) async fn new(
        (name, spec): (String, Spec),
        component: Arc<Component>,
        (engines, egress): (&Engines, &Egress),
        (environment, settings): (&Environment, &Settings),
        before: Option<&Self>,
    ) -> Self {
        let before = before.filter(|before| {
            before.component.digest == component.digest && before.spec.tls == spec.tls
        });
        let through = (engines, egress, &spec.tls);
        let description = &component.description;
        let read = || {
            let environment = spec.environment(description, environment)?;
            let read = EngineSettings::for_generating(description, &environment)?;
            let editing = read.for_editing(description, &environment);
            Ok((read, editing))
        };
        let (read, editing) = match read() {
            Ok((read, editing)) => (Ok(read), editing),
            Err(why) => (Err(why), Err(String::new())),
        };
        let known_as = |settings: EngineSettings| {
            let keys = spec.settings.keys().chain(spec.edit_settings.keys());
            settings.with_variable_names(keys.map(|key| (key.clone(), format!("{BINDINGS} ({name}, {key})"))))
        };
        let generating = match read.map(known_as) {
            Ok(settings) => {
                let known = before.and_then(|it| it.generating.as_ref().ok());
                bind(&component, settings, through, known.into_iter()).await
            }
            Err(why) => Err(why),
        };
        let editing = match (&generating, editing.map(known_as)) {
            (Err(why), _) => Err(why.clone()),
            (Ok(_), Err(why)) => Err(why),
            (Ok(generating), Ok(settings)) => {
                let known = before.and_then(|it| it.editing.as_ref().ok());
                let known = [generating].into_iter().chain(known);
                bind(&component, settings, through, known).await
            }
        };
        let model = |own: &Option<String>, engine: &str, set: &Option<String>| {
            // A model's name means something to one engine alone.
            let set = set.clone().filter(|_| engine == name);
            own.clone().or(set)
        };
        let edit = &settings.edit;
        Self {
            generating_defaults: Defaults {
                model: model(&spec.model, &settings.engine, &settings.model),
                size: spec.size.clone().or_else(|| settings.size.clone()),
                steps: spec.steps.or(settings.steps),
            },
            editing_defaults: Defaults {
                model: model(&spec.edit_model, &edit.engine, &edit.model),
                size: spec.edit_size.clone().or_else(|| edit.size.clone()),
                steps: None,
            },
            name,
            component,
            spec,
            generating,
            editing,
        }
    }

    /// What it generates with, or why it cannot.
    pub fn generating(&self) -> Result<&ResolvedSettings, Error> {
        self.usable(&self.generating, "settings")
    }

    /// What it edits with, or why it cannot.
    pub fn editing(&self) -> Result<&ResolvedSettings, Error> {
        self.usable(&self.editing, "settings for editing")
    }

    fn usable<'a>(&self, side: &'a Result<ResolvedSettings, String>, what: &str) -> Result<&'a ResolvedSettings, Error> {
        side.as_ref().map_err(|why| Error::Invalid {
            field: "engine",
            message: format!("the {what} of engine {} cannot be used: {why}", self.name),
        })
    }

    /// What is wrong with its settings, each as one sentence for the operator.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let said = |side: &Result<ResolvedSettings, String>| match side {
            Ok(bound) => bound.problem.as_ref().map(|it| it.message.clone()),
            Err(why) => Some(why.clone()),
        };
        let mut problems: Vec<_> = said(&self.generating).into_iter().collect();
        problems.extend(said(&self.editing).filter(|why| !problems.contains(why)));
        problems
    }
}

/// Opens what the settings name, and has the engine check them. A bound that has the same settings is
/// taken as it is; one that leads to the same place lends its connections.
async fn bind<'a>(
    component: &Component,
    settings: EngineSettings,
    (engines, egress, tls): (&Engines, &Egress, &Tls),
    known: impl Iterator<Item = &'a ResolvedSettings>,
) -> Result<ResolvedSettings, String> {
    let description = &component.description;
    let mut upstreams = None;
    for bound in known {
        if bound.settings == settings {
            return Ok(bound.clone());
        }
        if bound.settings.has_same_connections(&settings, description) {
            upstreams = Some(bound.upstreams.clone());
        }
    }
    let upstreams = match upstreams {
        Some(upstreams) => upstreams,
        None => {
            let opened =
                grant::open_upstreams(description, &component.grant, &settings, egress, tls);
            Arc::new(opened.map_err(|refusal| refusal.to_string())?)
        }
    };
    let problem = engines.check_settings(component, &settings).await;
    if let Some(SettingProblem { message, .. }) = &problem {
        tracing::warn!("engine {}: {message}", description.name);
    }
    Ok(ResolvedSettings {
        redactor: Arc::new(settings.redactor()),
        settings,
        upstreams,
        problem,
    })
}
