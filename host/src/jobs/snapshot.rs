//! Snapshots of the settings and the bindings that follow from them.

mod uses;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use pinhole_egress::Egress;
use pinhole_ground::environment::Environment;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;
use pinhole_sandbox::Engines;

use super::binding::{Binding, BindingContext, parse_bindings};
use super::error::Error;
use super::model_alias::{ALIASES, ModelAlias, parse_aliases};
use super::plan::Operation;
use super::requester::Requester;
use super::size::parse_size;
use crate::settings::{ChoiceReason, ConfiguredEngines, EDIT_ENGINE, ENGINE, Settings};
use crate::store::{Store, User};

/// The variable that lists the bindings to fall back to, in order.
const FALLBACKS: &str = "PINHOLE_FALLBACKS";
/// Bindings in that list.
pub const MAX_FALLBACKS: usize = 16;
/// Edits of a name with which it is still taken for that of an engine.
const MAX_EDITS: usize = 2;
/// Length of an unknown name in a message, in bytes.
const MAX_NAME_BYTES: usize = 100;

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

    /// The binding of this name. Without a name: the one for the chat's model, or else for one of the
    /// requester's groups, or else the default. Considers only bindings that the requester may use.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        requester: &Requester,
        default: &str,
    ) -> Result<&Arc<Binding>, Error> {
        if let Some(name) = name {
            return self
                .usable(requester)
                .find(|binding| binding.name == name)
                .ok_or_else(|| self.unknown_engine(name, requester));
        }
        let is_for_model = |binding: &&Arc<Binding>| {
            let model = requester.chat_model.as_ref();
            model.is_some_and(|model| binding.spec.chat_models.contains(model))
        };
        let is_for_group = |binding: &&Arc<Binding>| {
            let mut groups = binding.spec.preferred_by.iter();
            groups.any(|group| requester.groups.contains(group))
        };
        self.usable(requester)
            .find(is_for_model)
            .or_else(|| self.usable(requester).find(is_for_group))
            .or_else(|| self.usable(requester).find(|it| it.name == default))
            .ok_or_else(|| self.unknown_engine(default, requester))
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

    fn unknown_engine(&self, name: &str, requester: &Requester) -> Error {
        let usable: Vec<_> = self.usable(requester).map(|it| it.name.as_str()).collect();
        let message = match self.unavailable.get(name) {
            Some(why) => format!("engine {name} {why}"),
            None if usable.is_empty() => {
                format!("unknown engine {name}: no engine is available")
            }
            None => format!("unknown engine {name}: use one of {}", usable.join(", ")),
        };
        Error::invalid("engine", message)
    }

    /// Fails if the settings select an engine that does not exist, or if a binding has a problem, unless
    /// that was so before.
    pub fn refuse_new_problems(&self, previous: &Self) -> Result<(), String> {
        let previous_problems = previous.problems();
        for (name, problems) in self.problems() {
            let known = previous_problems.get(&name);
            let is_new = |problem: &String| !known.is_some_and(|known| known.contains(problem));
            if let Some(problem) = problems.into_iter().find(is_new) {
                return Err(problem);
            }
        }
        for (name, alias) in self.unknown_aliases() {
            let was_unknown =
                previous.alias(name) == Some(alias) && previous.binding(&alias.binding).is_none();
            if !was_unknown {
                return Err(self.unknown_alias(name, alias));
            }
        }
        let (settings, before) = (&self.settings, &previous.settings);
        for (variable, name, name_before) in [
            (ENGINE, &settings.engine, &before.engine),
            (EDIT_ENGINE, &settings.edit.engine, &before.edit.engine),
        ] {
            let was_unknown = name == name_before && previous.binding(name).is_none();
            if self.binding(name).is_none() && !was_unknown {
                return Err(self.unknown_name(variable, name));
            }
        }
        for name in self.unknown_fallbacks() {
            if !previous.fallbacks.contains(name) {
                return Err(self.unknown_name(FALLBACKS, name));
            }
        }
        Ok(())
    }

    fn unknown_aliases(&self) -> impl Iterator<Item = (&String, &ModelAlias)> {
        let aliases = self.aliases.iter();
        aliases.filter(|(_, alias)| self.binding(&alias.binding).is_none())
    }

    /// Why an alias cannot be used.
    fn unknown_alias(&self, name: &str, alias: &ModelAlias) -> String {
        self.unknown_name(&format!("{ALIASES} ({name})"), &alias.binding)
    }

    /// The settings that name an engine that does not exist: a sentence for each.
    #[must_use]
    pub fn unknown_names(&self) -> Vec<String> {
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let mut named = Vec::new();
        if settings.enabled {
            named.push((ENGINE, &settings.engine));
        }
        if edit.enabled && edit.engine != settings.engine {
            named.push((EDIT_ENGINE, &edit.engine));
        }
        named.extend(self.unknown_fallbacks().map(|name| (FALLBACKS, name)));
        let aliases = self.unknown_aliases();
        named
            .into_iter()
            .filter(|(_, name)| self.binding(name).is_none())
            .map(|(variable, name)| self.unknown_name(variable, name))
            .chain(aliases.map(|(name, alias)| self.unknown_alias(name, alias)))
            .collect()
    }

    fn unknown_fallbacks(&self) -> impl Iterator<Item = &String> {
        let names = self.fallbacks.iter();
        names.filter(|name| !self.bindings.contains_key(*name))
    }

    fn unknown_name(&self, variable: &str, name: &str) -> String {
        if let Some(why) = self.unavailable.get(name) {
            return format!("{variable} names engine {name}, which {why}");
        }
        let names = || self.bindings.keys();
        let shown = plain(name, MAX_NAME_BYTES);
        let nearest = names()
            .map(|it| (strsim::osa_distance(name, it), it))
            .filter(|(edits, _)| *edits <= MAX_EDITS)
            .min();
        let remedy = match nearest {
            Some((_, nearest)) => format!("did you mean {nearest}?"),
            None => {
                let names: Vec<_> = names().map(String::as_str).collect();
                format!("use one of {}", names.join(", "))
            }
        };
        format!("{variable} is {shown:?}, which is not an engine: {remedy}")
    }

    /// For each binding that has any: the problems of its settings, for the operator. During a rollout, those of both
    /// versions.
    fn problems(&self) -> BTreeMap<String, Vec<String>> {
        let problems = self.bindings.keys().map(|name| {
            let versions = self.versions(name).into_iter();
            (name.clone(), versions.flat_map(Binding::problems).collect())
        });
        let unavailable = self
            .unavailable
            .iter()
            .map(|(name, why)| (name.clone(), vec![format!("engine {name} {why}")]));
        problems
            .chain(unavailable)
            .filter(|(_, problems)| !problems.is_empty())
            .collect()
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
