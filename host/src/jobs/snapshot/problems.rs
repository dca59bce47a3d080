//! The problems of settings: names that do not exist, and bindings that cannot be used.

use std::collections::BTreeMap;

use pinhole_ground::text::plain;

use super::{FALLBACKS, Snapshot};
use crate::jobs::binding::Binding;
use crate::jobs::model_alias::{ALIASES, ModelAlias};
use crate::settings::{EDIT_ENGINE, ENGINE};

/// Edits of a name with which it is still taken for that of an engine.
const MAX_EDITS: usize = 2;
/// Length of an unknown name in a message, in bytes.
const MAX_NAME_BYTES: usize = 100;

impl Snapshot {
    /// Fails if the settings select an engine that does not exist, or if a binding has a problem, unless
    /// that was so before.
    pub fn refuse_new_problems(&self, previous: &Self) -> Result<(), String> {
        match self.new_problems(previous).into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// The problems that the previous settings did not have, each as one sentence.
    fn new_problems(&self, previous: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let previous_problems = previous.problems();
        for (name, problems) in self.problems() {
            let known = previous_problems.get(&name);
            let is_new = |problem: &String| !known.is_some_and(|known| known.contains(problem));
            found.extend(problems.into_iter().filter(is_new));
        }
        for (name, alias) in self.unknown_aliases() {
            let was_unknown =
                previous.alias(name) == Some(alias) && previous.binding(&alias.binding).is_none();
            if !was_unknown {
                found.push(self.unknown_alias(name, alias));
            }
        }
        let (settings, before) = (&self.settings, &previous.settings);
        for (variable, name, name_before) in [
            (ENGINE, &settings.engine, &before.engine),
            (EDIT_ENGINE, &settings.edit.engine, &before.edit.engine),
        ] {
            let was_unknown = name == name_before && previous.binding(name).is_none();
            if self.binding(name).is_none() && !was_unknown {
                found.push(self.unknown_name(variable, name));
            }
        }
        for name in self.unknown_fallbacks() {
            if !previous.fallbacks.contains(name) {
                found.push(self.unknown_name(FALLBACKS, name));
            }
        }
        found
    }

    /// All problems of the settings, each as one sentence for the operator: names of engines that do not exist, then
    /// the problems of bindings.
    #[must_use]
    pub fn all_problems(&self) -> Vec<String> {
        let of_bindings = self.bindings().flat_map(|binding| binding.problems());
        self.unknown_names()
            .into_iter()
            .chain(of_bindings)
            .collect()
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
