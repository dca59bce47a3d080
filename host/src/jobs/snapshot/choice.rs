//! Which binding a job gets, and why.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Snapshot, may_use};
use crate::jobs::binding::Binding;
use crate::jobs::error::Error;
use crate::jobs::plan::Operation;
use crate::jobs::requester::Requester;

/// Which binding a job would get, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Resolution {
    /// `null` if the job would be refused.
    #[schema(required = true)]
    pub binding: Option<String>,
    /// Why it is this one, or why the job would be refused.
    pub reason: String,
    /// The bindings to try if it is unavailable, in order.
    pub fallbacks: Vec<String>,
    /// All bindings.
    pub candidates: Vec<Candidate>,
}

/// A binding that a job might get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Candidate {
    pub binding: String,
    #[serde(rename = "usable")]
    #[schema(rename = "usable")]
    pub is_usable: bool,
    /// Why it cannot be used, or when it is.
    pub why: String,
}

/// A binding with the reason for which it was chosen.
struct Choice<'s, 'r> {
    binding: &'s Arc<Binding>,
    reason: Reason<'s, 'r>,
}

enum Reason<'s, 'r> {
    Named,
    ChatModel(&'r str),
    Group(&'s str),
    Default,
}

impl Snapshot {
    /// The binding of this name. Without a name: the one for the chat's model, or else for one of the
    /// requester's groups, or else the default. Considers only bindings that the requester may use.
    pub(in crate::jobs) fn choose(
        &self,
        name: Option<&str>,
        requester: &Requester,
        default: &str,
    ) -> Result<&Arc<Binding>, Error> {
        match self.choice(name, requester, default) {
            Some(choice) => Ok(choice.binding),
            None => Err(self.unknown_engine(name.unwrap_or(default), requester)),
        }
    }

    fn choice<'s, 'r>(
        &'s self,
        name: Option<&str>,
        requester: &'r Requester,
        default: &str,
    ) -> Option<Choice<'s, 'r>> {
        let find = |wanted: &str| self.usable(requester).find(|it| it.name == wanted);
        if let Some(name) = name {
            return find(name).map(|binding| Choice {
                binding,
                reason: Reason::Named,
            });
        }
        let for_model = |binding: &'s Arc<Binding>| {
            let model = requester.chat_model.as_ref()?;
            let is_listed = binding.spec.chat_models.contains(model);
            is_listed.then_some(Choice {
                binding,
                reason: Reason::ChatModel(model),
            })
        };
        let for_group = |binding: &'s Arc<Binding>| {
            let mut groups = binding.spec.preferred_by.iter();
            let group = groups.find(|group| requester.groups.contains(group))?;
            Some(Choice {
                binding,
                reason: Reason::Group(group),
            })
        };
        self.usable(requester)
            .find_map(for_model)
            .or_else(|| self.usable(requester).find_map(for_group))
            .or_else(|| {
                let binding = find(default)?;
                let reason = Reason::Default;
                Some(Choice { binding, reason })
            })
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

    /// Which binding a job of this requester gets if its request names this engine, or none.
    #[must_use]
    pub fn resolve(
        &self,
        operation: Operation,
        engine: Option<&str>,
        requester: &Requester,
    ) -> Resolution {
        let (settings, edit) = (&self.settings, &self.settings.edit);
        let (is_enabled, default, default_reason) = match operation {
            Operation::Generate => (settings.enabled, &settings.engine, &settings.engine_reason),
            Operation::Edit => (edit.enabled, &edit.engine, &edit.engine_reason),
        };
        let choice = is_enabled
            .then(|| self.choice(engine, requester, default))
            .flatten();
        let reason = match (&choice, operation) {
            (None, Operation::Generate) if !is_enabled => {
                "image generation is disabled: set ENABLE_IMAGE_GENERATION to true".to_owned()
            }
            (None, Operation::Edit) if !is_enabled => {
                "image editing is disabled: set ENABLE_IMAGE_EDIT to true".to_owned()
            }
            (None, _) => self.refusal(engine.unwrap_or(default), requester),
            (Some(choice), _) => match choice.reason {
                Reason::Named => "the request names it".to_owned(),
                Reason::ChatModel(model) => {
                    format!("its chat_models have the chat's language model {model}")
                }
                Reason::Group(group) => format!("its preferred_by has the user's group {group}"),
                Reason::Default => format!("it is the default: {default_reason}"),
            },
        };
        let chosen = choice.map(|choice| choice.binding.name.clone());
        let mut fallbacks: Vec<String> = Vec::new();
        // A job never falls back from a binding that its request names.
        if chosen.is_some() && engine.is_none() {
            let names = self.fallbacks(requester).map(|it| it.name.clone());
            fallbacks.extend(names.filter(|name| Some(name) != chosen.as_ref()));
        }
        let mut resolution = Resolution {
            binding: chosen,
            reason,
            fallbacks,
            candidates: Vec::new(),
        };
        resolution.candidates = self.candidates(operation, requester, &resolution);
        let is_chosen = |it: &&Candidate| Some(&it.binding) == resolution.binding.as_ref();
        let candidate = resolution.candidates.iter().find(is_chosen);
        if let Some(unusable) = candidate.filter(|it| !it.is_usable) {
            let why = &unusable.why;
            resolution.reason = format!("{}, but jobs fail: {why}", resolution.reason);
        }
        resolution
    }

    fn candidates(
        &self,
        operation: Operation,
        requester: &Requester,
        resolution: &Resolution,
    ) -> Vec<Candidate> {
        let candidate = |binding: &Arc<Binding>| {
            let name = &binding.name;
            let why_not = unusable_reason(binding, operation, requester);
            let why = || {
                if resolution.binding.as_ref() == Some(name) {
                    return resolution.reason.clone();
                }
                let mut fallbacks = resolution.fallbacks.iter();
                match fallbacks.position(|fallback| fallback == name) {
                    Some(place) => format!("it is fallback number {}", place + 1),
                    None => "only if a request names it".to_owned(),
                }
            };
            Candidate {
                binding: name.clone(),
                is_usable: why_not.is_none(),
                why: why_not.unwrap_or_else(why),
            }
        };
        let unavailable = self.unavailable.iter().map(|(name, why)| Candidate {
            binding: name.clone(),
            is_usable: false,
            why: why.clone(),
        });
        self.bindings().map(candidate).chain(unavailable).collect()
    }

    /// Why a requester does not get the binding of this name.
    fn refusal(&self, name: &str, requester: &Requester) -> String {
        match self.binding(name) {
            Some(binding) => format!("binding {name} is {}", members(binding)),
            None => self.unknown_engine(name, requester).to_string(),
        }
    }
}

/// Why a job of this requester cannot use a binding. `None` if it can.
fn unusable_reason(
    binding: &Binding,
    operation: Operation,
    requester: &Requester,
) -> Option<String> {
    if !may_use(binding, requester) {
        return Some(members(binding));
    }
    match operation {
        Operation::Generate => binding.unready_reason(),
        Operation::Edit if !binding.component.description.abilities.edit => {
            Some("its engine cannot edit images".to_owned())
        }
        Operation::Edit => binding.unready_edit_reason(),
    }
}

/// Who may use a binding of groups.
fn members(binding: &Binding) -> String {
    match binding.spec.groups.as_deref() {
        None | Some([]) => "only for administrators".to_owned(),
        Some(groups) => format!("only for members of {}", groups.join(", ")),
    }
}
