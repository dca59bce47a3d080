//! Which bindings a requester gets, and which settings need an engine.

use std::sync::Arc;

use super::{FALLBACKS, Snapshot};
use crate::jobs::binding::{BINDINGS, Binding};
use crate::jobs::model_alias::ALIASES;
use crate::jobs::plan::Operation;
use crate::jobs::requester::Requester;
use crate::settings::{ChoiceReason, EDIT_ENGINE, ENGINE};

impl Snapshot {
    /// The bindings that the requester may use, by name: of an engine with two versions the one that they get.
    pub fn usable_bindings<'a>(
        &'a self,
        requester: &'a Requester,
    ) -> impl Iterator<Item = &'a Arc<Binding>> {
        let usable = self.usable(requester);
        usable.map(|binding| self.version_for(binding, requester))
    }

    /// The name of the binding that a job of this requester gets without naming one. `None` if the operation is disabled
    /// or it does not exist.
    #[must_use]
    pub fn default_binding(&self, operation: Operation, requester: &Requester) -> Option<&str> {
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let (is_enabled, default) = match operation {
            Operation::Generate => (settings.enabled, &settings.engine),
            Operation::Edit => (edit.enabled, &edit.engine),
        };
        if !is_enabled {
            return None;
        }
        let chosen = self.choose(None, requester, default).ok()?;
        Some(&chosen.name)
    }

    /// The names of the bindings to try if one is unavailable, in order.
    #[must_use]
    pub fn fallback_names(&self) -> &[String] {
        &self.fallbacks
    }

    /// Why a name has no binding, if that is known. It follows the name in a sentence.
    #[must_use]
    pub fn unavailable_reason(&self, name: &str) -> Option<&str> {
        self.unavailable.get(name).map(String::as_str)
    }

    /// The settings that name a binding which only a definition provides, for a person. Empty for an engine's own
    /// binding, which exists without a definition.
    #[must_use]
    pub fn settings_that_name(&self, binding: &str) -> Vec<String> {
        if self.engines.get(binding).is_some() {
            return Vec::new();
        }
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let mut names = Vec::new();
        for (variable, name, reason) in [
            (ENGINE, &settings.engine, &settings.engine_reason),
            (EDIT_ENGINE, &edit.engine, &edit.engine_reason),
        ] {
            if name == binding && is_named(reason) {
                names.push(variable.to_owned());
            }
        }
        if self.fallbacks.iter().any(|name| name == binding) {
            names.push(FALLBACKS.to_owned());
        }
        let aliases = self.aliases.iter();
        let aliases = aliases.filter(|(_, alias)| alias.binding == binding);
        names.extend(aliases.map(|(name, _)| format!("{ALIASES} ({name})")));
        names
    }

    /// The settings that need an engine, for a person: those that name it or one of its bindings.
    #[must_use]
    pub fn settings_that_need(&self, engine: &str) -> Vec<String> {
        let is_of_engine = |name: &str| {
            self.binding(name)
                .map_or(name == engine, |binding| binding.engine() == engine)
        };
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let mut needs = Vec::new();
        for (variable, name, reason) in [
            (ENGINE, &settings.engine, &settings.engine_reason),
            (EDIT_ENGINE, &edit.engine, &edit.engine_reason),
        ] {
            if is_named(reason) && is_of_engine(name) {
                needs.push(variable.to_owned());
            }
        }
        let fallbacks = self.fallbacks.iter().filter(|name| is_of_engine(name));
        needs.extend(fallbacks.map(|name| format!("{FALLBACKS} ({name})")));
        let aliases = self.aliases.iter();
        let aliases = aliases.filter(|(_, alias)| is_of_engine(&alias.binding));
        needs.extend(aliases.map(|(name, _)| format!("{ALIASES} ({name})")));
        let named = self
            .bindings()
            .filter(|it| it.engine() == engine && it.name != engine);
        needs.extend(named.map(|binding| format!("{BINDINGS} ({})", binding.name)));
        needs
    }
}

/// Whether a setting names the engine.
fn is_named(reason: &ChoiceReason) -> bool {
    matches!(
        reason,
        ChoiceReason::Environment { .. } | ChoiceReason::Stored { .. }
    )
}
