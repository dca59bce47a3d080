//! What the settings make of the engines, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::binding::{self, Binding};
use super::error::Error;
use super::request::parse_size;
use pinhole_egress::Egress;
use pinhole_sandbox::Engines;
use pinhole_ground::environment::Environment;
use crate::settings::Settings;

/// The variable that names the bindings to fall back on, in order.
const FALLBACKS: &str = "PINHOLE_FALLBACKS";
/// Bindings that may be named there.
const MAX_FALLBACKS: usize = 16;

/// Settings, and the bindings that follow from them. Never changes: a change makes another.
pub struct Snapshot {
    /// The host's settings.
    pub settings: Settings,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Names of which there is no binding, and why.
    absent: BTreeMap<String, String>,
    fallbacks: Vec<String>,
}

/// For whom a binding is chosen.
#[derive(Clone, Debug, Default)]
pub struct Requester {
    /// Who they are; nobody where the server asks for itself.
    pub user: Option<String>,
    /// Any binding may be used.
    pub unrestricted: bool,
    /// The names of the groups that they are in.
    pub groups: Vec<String>,
    /// The chat's model.
    pub chat_model: Option<String>,
}

impl Snapshot {
    /// Reads all settings. The error names the variable and what it may hold.
    pub(super) async fn new(
        environment: &Environment,
        engines: &Engines,
        egress: &Egress,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let settings = Settings::read(environment)?;
        let sizes = [
            ("IMAGE_SIZE", &settings.size),
            ("IMAGE_EDIT_SIZE", &settings.edit.size),
        ];
        for (variable, size) in sizes {
            parse_size(size.as_deref().unwrap_or_default())
                .map_err(|why| format!("{variable} {why}"))?;
        }
        let mut specs = binding::read(environment)?;
        for component in engines.admitted() {
            specs.entry(component.description.name.clone()).or_default();
        }
        let parked = engines.pending().iter();
        let parked = parked.filter(|pending| engines.get(&pending.engine).is_none());
        let pending = parked.map(|pending| {
            let why = format!(
                "is not there: {} is pending, until an administrator grants it",
                pending.file
            );
            (pending.engine.clone(), why)
        });
        let refused = engines.rejected_files().iter().filter_map(|refused| {
            let name = refused.file.strip_suffix(".wasm")?;
            let why = format!("is not there: {} {}", refused.file, refused.reason);
            Some((name.to_owned(), why))
        });
        let (mut bindings, mut absent) = (
            BTreeMap::new(),
            refused.chain(pending).collect::<BTreeMap<_, _>>(),
        );
        for (name, spec) in specs {
            let engine = spec.engine(&name).to_owned();
            let Some(component) = engines.get(&engine) else {
                absent.insert(name, format!("cannot be used: there is no engine {engine}"));
                continue;
            };
            let before = before.and_then(|before| before.bindings.get(&name));
            let binding = Binding::new(
                (name.clone(), spec),
                component.clone(),
                (engines, egress),
                (environment, &settings),
                before.map(Arc::as_ref),
            );
            bindings.insert(name, Arc::new(binding.await));
        }
        Ok(Self {
            fallbacks: fallbacks(environment)?,
            settings,
            bindings,
            absent,
        })
    }

    /// All bindings, by name.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// The binding of this name, whoever may use it.
    #[must_use]
    pub fn binding(&self, name: &str) -> Option<&Arc<Binding>> {
        self.bindings.get(name)
    }

    /// Does it matter which groups somebody is in?
    #[must_use]
    pub fn asks_for_groups(&self) -> bool {
        let mut bindings = self.bindings.values();
        bindings.any(|it| it.spec.groups.is_some() || !it.spec.preferred_by.is_empty())
    }

    /// The binding that the caller names; else the one of the chat's model, of a group of theirs, or
    /// the default: the first that they may use.
    pub fn choose(
        &self,
        named: Option<&str>,
        asker: &Requester,
        default: &str,
    ) -> Result<&Arc<Binding>, Error> {
        if let Some(name) = named {
            let found = self.usable(asker).find(|binding| binding.name == name);
            return found.ok_or_else(|| self.missing(name, asker));
        }
        let of_model = |it: &&Arc<Binding>| {
            let model = asker.chat_model.as_ref();
            model.is_some_and(|model| it.spec.chat_models.contains(model))
        };
        let of_group = |it: &&Arc<Binding>| {
            let mut preferred = it.spec.preferred_by.iter();
            preferred.any(|group| asker.groups.contains(group))
        };
        let chosen = self.usable(asker).find(of_model);
        let chosen = chosen.or_else(|| self.usable(asker).find(of_group));
        let chosen = chosen.or_else(|| self.usable(asker).find(|it| it.name == default));
        chosen.ok_or_else(|| self.missing(default, asker))
    }

    fn usable<'a>(&'a self, asker: &Requester) -> impl Iterator<Item = &'a Arc<Binding>> {
        self.bindings.values().filter(|it| may_use(it, asker))
    }

    /// The bindings to try after one that was busy or out of reach.
    pub(super) fn fallbacks<'a>(
        &'a self,
        first: &'a Binding,
        asker: &'a Requester,
    ) -> impl Iterator<Item = &'a Arc<Binding>> {
        let named = self.fallbacks.iter().filter(|name| **name != first.name);
        let there = named.filter_map(|name| self.bindings.get(name));
        there.filter(|binding| may_use(binding, asker))
    }

    fn missing(&self, name: &str, asker: &Requester) -> Error {
        let names: Vec<_> = self.usable(asker).map(|it| it.name.as_str()).collect();
        let message = match self.absent.get(name) {
            Some(why) => format!("engine {name} {why}"),
            None if names.is_empty() => {
                format!("there is no engine {name}: the folder of engines holds none")
            }
            None => format!("there is no engine {name}: there are {}", names.join(", ")),
        };
        Error::Invalid {
            field: "engine",
            message,
        }
    }

    /// Do the settings name bindings that there are? What was so before may stay so.
    pub(super) fn check_names(&self, before: &Self) -> Result<(), String> {
        for ((variable, name), (_, known)) in self.named().into_iter().zip(before.named()) {
            let was_absent = name == known && before.binding(known).is_none();
            if self.binding(name).is_none() && !was_absent {
                let names: Vec<_> = self.bindings.keys().map(String::as_str).collect();
                let names = names.join(", ");
                return Err(format!("{variable} is {name:?}: the engines are {names}"));
            }
        }
        Ok(())
    }

    fn named(&self) -> [(&'static str, &str); 2] {
        [
            ("IMAGE_GENERATION_ENGINE", &self.settings.engine),
            ("IMAGE_EDIT_ENGINE", &self.settings.edit.engine),
        ]
    }

    /// What is wrong with the settings of each binding that has something wrong, for the operator.
    pub(super) fn problems(&self) -> BTreeMap<String, Vec<String>> {
        let problems = self
            .bindings
            .values()
            .map(|it| (it.name.clone(), it.problems()));
        let absent = self.absent.iter();
        let absent = absent.map(|(name, why)| (name.clone(), vec![format!("engine {name} {why}")]));
        let all = problems.chain(absent);
        all.filter(|(_, problems)| !problems.is_empty()).collect()
    }
}

fn may_use(binding: &Binding, asker: &Requester) -> bool {
    let Some(groups) = &binding.spec.groups else {
        return true;
    };
    asker.unrestricted || groups.iter().any(|group| asker.groups.contains(group))
}

/// Names between commas.
fn fallbacks(environment: &Environment) -> Result<Vec<String>, String> {
    let names = environment.get(FALLBACKS).unwrap_or_default().split(',');
    let names = names.map(|name| name.trim().to_owned());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    match names.len() > MAX_FALLBACKS {
        true => Err(format!(
            "{FALLBACKS} names {} bindings; {MAX_FALLBACKS} are allowed",
            names.len()
        )),
        false => Ok(names),
    }
}
