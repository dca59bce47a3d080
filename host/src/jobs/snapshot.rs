//! Snapshots of the settings and the bindings that follow from them.

mod choice;
mod problems;
mod uses;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use pinhole_egress::Egress;
use pinhole_ground::environment::Environment;
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Engines;

use super::binding::{Binding, BindingContext, parse_bindings};
use super::error::Error;
use super::model_alias::{ModelAlias, parse_aliases};
use super::plan::Operation;
use super::requester::Requester;
use super::size::parse_size;
use crate::settings::{ChoiceReason, ConfiguredEngines, Settings};
use crate::store::{Store, User};

pub use choice::{Candidate, Resolution};

/// The variable that lists the bindings to fall back to, in order.
pub const FALLBACKS: &str = "PINHOLE_FALLBACKS";
/// Bindings in that list.
pub const MAX_FALLBACKS: usize = 16;

/// A binding with the other version of its engine, during a rollout.
pub(super) struct SecondaryBinding {
    pub(super) binding: Arc<Binding>,
    /// The share of users who get it instead of the other one.
    pub(super) percent: u8,
}

/// The engines, the settings and the bindings at one moment. Immutable: a change creates another snapshot.
pub struct Snapshot {
    pub settings: Settings,
    pub engines: Engines,
    /// The engines that the environment configures.
    pub(super) configured: ConfiguredEngines,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Names without a binding, with the reason. The reason follows the name in a sentence.
    unavailable: BTreeMap<String, String>,
    fallbacks: Vec<String>,
    aliases: BTreeMap<String, ModelAlias>,
    /// The bindings of engines with two versions, with the version that fewer users get.
    secondary: BTreeMap<String, SecondaryBinding>,
    /// A binding whose engine is not admitted yet is the choice for some chats or groups.
    has_preferred_starting: bool,
}

impl Snapshot {
    /// Reads all settings. The error names the variable and the values that it accepts.
    pub(super) async fn new(
        environment: &Environment,
        configured: ConfiguredEngines,
        engines: Engines,
        egress: &Egress,
        previous: Option<&Self>,
    ) -> Result<Self, String> {
        let settings = Settings::from_environment(environment, &configured)?;
        check_size("IMAGE_SIZE", settings.size.as_deref())?;
        check_size("IMAGE_EDIT_SIZE", settings.edit.size.as_deref())?;
        let fallbacks = parse_fallbacks(environment)?;
        let aliases = parse_aliases(environment)?;
        let mut specs = parse_bindings(environment)?;
        for component in engines.admitted() {
            specs.entry(component.description.name.clone()).or_default();
        }
        let context = BindingContext {
            engines: &engines,
            egress,
            environment,
            settings: &settings,
            has_others: specs.len() > 1,
        };
        let (mut bindings, mut unavailable) = (BTreeMap::new(), unavailable_engines(&engines));
        let mut secondary = BTreeMap::new();
        let mut has_preferred_starting = false;
        for (name, spec) in specs {
            let Some(component) = engines.get(spec.engine(&name)) else {
                let engine = spec.engine(&name);
                let is_preferred = !spec.chat_models.is_empty() || !spec.preferred_by.is_empty();
                has_preferred_starting |= is_preferred && !engines.starting.is_empty();
                let why = format!("cannot be used: its engine {engine} does not exist");
                unavailable.insert(name, why);
                continue;
            };
            let image_hosts = spec.image_hosts(&name, &component.description, environment)?;
            let previous = previous.map_or_else(Vec::new, |it| it.versions(&name));
            if let Some(rollout) = engines.rollout(spec.engine(&name)) {
                let other = rollout.secondary();
                let hosts = spec.image_hosts(&name, &other.description, environment)?;
                let binding = Binding::new(
                    name.clone(),
                    spec.clone(),
                    hosts,
                    other.clone(),
                    &context,
                    &previous,
                );
                let is_canary = rollout.percent < 100;
                let binding = SecondaryBinding {
                    binding: Arc::new(binding.await?),
                    percent: if is_canary { rollout.percent } else { 0 },
                };
                secondary.insert(name.clone(), binding);
            }
            let component = component.clone();
            let binding = Binding::new(
                name.clone(),
                spec,
                image_hosts,
                component,
                &context,
                &previous,
            )
            .await?;
            bindings.insert(name, Arc::new(binding));
        }
        Ok(Self {
            fallbacks,
            aliases,
            settings,
            engines,
            configured,
            bindings,
            unavailable,
            secondary,
            has_preferred_starting,
        })
    }

    /// True if an engine that is not admitted yet may change which binding a request gets.
    pub(super) fn is_uncertain(&self, operation: Operation, engine: Option<&str>) -> bool {
        if self.has_all_engines() {
            return false;
        }
        if let Some(name) = engine {
            return self.binding(name).is_none();
        }
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let (default, reason) = match operation {
            Operation::Generate => (&settings.engine, &settings.engine_reason),
            Operation::Edit => (&edit.engine, &edit.engine_reason),
        };
        let is_set = matches!(
            reason,
            ChoiceReason::Environment { .. } | ChoiceReason::Stored { .. }
        );
        !is_set || self.has_preferred_starting || self.binding(default).is_none()
    }

    /// False while engines are not admitted yet, as at the first start.
    #[must_use]
    pub fn has_all_engines(&self) -> bool {
        self.engines.starting.is_empty()
    }

    /// True if the default engine can generate, or if the operator disabled that.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Settings {
            enabled, engine, ..
        } = &self.settings;
        let is_certain = !self.is_uncertain(Operation::Generate, None);
        !enabled || (is_certain && self.binding(engine).is_some())
    }

    /// What a model's name stands for, if it is an alias.
    #[must_use]
    pub fn alias(&self, model: &str) -> Option<&ModelAlias> {
        self.aliases.get(model)
    }

    /// The aliases of models that the requester may use, by name.
    pub fn usable_aliases(
        &self,
        requester: &Requester,
    ) -> impl Iterator<Item = (&str, &ModelAlias)> {
        self.aliases
            .iter()
            .filter(|(_, alias)| self.usable(requester).any(|it| it.name == alias.binding))
            .map(|(name, alias)| (name.as_str(), alias))
    }

    /// All bindings, by name.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// The binding of this name, for any user.
    #[must_use]
    pub fn binding(&self, name: &str) -> Option<&Arc<Binding>> {
        self.bindings.get(name)
    }

    /// The binding of this name, if the requester may use it.
    #[must_use]
    pub fn usable_binding(&self, name: &str, requester: &Requester) -> Option<&Arc<Binding>> {
        self.usable(requester).find(|binding| binding.name == name)
    }

    /// The binding of this name for an operator; by default the one that generates.
    pub fn operator_binding(&self, engine: Option<&str>) -> Result<&Arc<Binding>, Error> {
        let name = engine.unwrap_or(&self.settings.engine);
        self.choose(Some(name), &Requester::operator(), name)
    }

    /// The binding whose models a requester sees: the one that would generate for them. For those who may use
    /// every binding, it is the one in the settings, which they look after.
    pub fn listed_binding(&self, requester: &Requester) -> Result<&Arc<Binding>, Error> {
        let default = &self.settings.engine;
        let name = requester.is_unrestricted.then_some(default.as_str());
        self.choose(name, requester, default)
    }

    /// The requester for a user, in a chat with this model. Loads the user's groups only if a binding
    /// depends on groups.
    pub async fn requester(
        &self,
        user: &User,
        chat_model: Option<&str>,
        store: &Store,
    ) -> sqlx::Result<Requester> {
        let has_groups = self
            .bindings()
            .any(|it| it.spec.groups.is_some() || !it.spec.preferred_by.is_empty());
        let groups = if has_groups {
            store.groups_of(&user.id).await?
        } else {
            Vec::new()
        };
        Ok(Requester {
            user: Some(user.id.clone()),
            is_unrestricted: user.role == "admin",
            groups,
            chat_model: chat_model.map(str::to_owned),
        })
    }

    fn usable(&self, requester: &Requester) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings().filter(|it| may_use(it, requester))
    }

    /// The bindings to try if another one is unavailable, in the operator's order.
    pub(super) fn fallbacks(&self, requester: &Requester) -> impl Iterator<Item = &Arc<Binding>> {
        self.fallbacks
            .iter()
            .filter_map(|name| self.bindings.get(name))
            .filter(|binding| may_use(binding, requester))
    }
}

fn may_use(binding: &Binding, requester: &Requester) -> bool {
    let Some(groups) = &binding.spec.groups else {
        return true;
    };
    let is_member = groups.iter().any(|group| requester.groups.contains(group));
    !Guard::BindingGroups.applies(!requester.is_unrestricted && !is_member)
}

fn check_size(variable: &str, size: Option<&str>) -> Result<(), String> {
    match parse_size(size.unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("{variable} {why}")),
    }
}

/// The engines that do not serve, by name, with the reason.
fn unavailable_engines(engines: &Engines) -> BTreeMap<String, String> {
    let mut unavailable = BTreeMap::new();
    for rejected in &engines.rejected {
        if let Some(name) = rejected.file.strip_suffix(".wasm") {
            let why = format!("is not available: {} {}", rejected.file, rejected.reason);
            unavailable.insert(name.to_owned(), why);
        }
    }
    for pending in &engines.pending {
        if engines.get(&pending.engine).is_none() {
            let why = format!(
                "is not available: {} is awaiting an administrator's approval",
                pending.file
            );
            unavailable.insert(pending.engine.clone(), why);
        }
    }
    unavailable
}

/// Names, separated by commas.
fn parse_fallbacks(environment: &Environment) -> Result<Vec<String>, String> {
    let text = environment.get(FALLBACKS).unwrap_or_default();
    let names: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() > MAX_FALLBACKS {
        return Err(format!(
            "{FALLBACKS} names {} bindings, more than the {MAX_FALLBACKS} allowed",
            names.len()
        ));
    }
    Ok(names)
}
