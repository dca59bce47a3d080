//! Which engine generates and which one edits, and why.
//!
//! Only `IMAGE_GENERATION_ENGINE` and `IMAGE_EDIT_ENGINE` select an engine. Without them, the environment that the
//! process started with decides. Stored settings, such as a key, never do.

use std::fmt;

use pinhole_ground::environment::Environment;
use pinhole_sandbox::Engines;
use pinhole_sandbox::contract::{Description, Setting};
use pinhole_sandbox::engine_settings::{is_connection_setting, own_variable};

/// The engine of a new installation. It needs no upstream.
const DEFAULT_ENGINE: &str = "sketch";
/// Open WebUI's meaning of an engine that is set to the empty text.
const EMPTY_ENGINE: &str = "automatic1111";
/// The variable that selects the engine that generates.
pub const ENGINE: &str = "IMAGE_GENERATION_ENGINE";
/// The variable that selects the engine that edits.
pub const EDIT_ENGINE: &str = "IMAGE_EDIT_ENGINE";
/// Variables of language models, which engines may read too. They configure no engine.
const SHARED_VARIABLES: [&str; 4] = [
    "OPENAI_API_BASE_URL",
    "OPENAI_API_BASE_URLS",
    "OPENAI_API_KEY",
    "OPENAI_API_KEYS",
];

/// The engines for which the environment of the process has a URL or a secret.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredEngines {
    generating: Vec<ConfiguredEngine>,
    editing: Vec<ConfiguredEngine>,
    /// The engine that an earlier start used because it was the only one.
    previous: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ConfiguredEngine {
    name: String,
    /// The variable that configures it.
    variable: String,
}

/// An engine, and why it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineChoice {
    pub engine: String,
    pub reason: ChoiceReason,
}

/// Why an engine is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceReason {
    /// The environment names it.
    Environment { variable: &'static str },
    /// An administrator stored its name.
    Stored { variable: &'static str },
    /// The environment configures no other engine.
    OnlyConfigured { variable: String },
    /// An earlier start used it, and the environment still configures it.
    Previous,
    /// The engine that generates also edits.
    Generates,
    /// The environment configures none of these engines, or several.
    Default { configured: Vec<String> },
}

impl ConfiguredEngines {
    /// Finds the engines that the environment of the process configures. `previous` is the engine that an earlier
    /// start found.
    #[must_use]
    pub fn find(engines: &Engines, environment: &Environment, previous: Option<String>) -> Self {
        let descriptions = engines.admitted().map(|component| &component.description);
        let descriptions: Vec<_> = descriptions.collect();
        Self::of_descriptions(&descriptions, environment, previous)
    }

    fn of_descriptions(
        descriptions: &[&Description],
        environment: &Environment,
        previous: Option<String>,
    ) -> Self {
        let find = |variables: fn(&Description, &Setting) -> Vec<String>| {
            let configured = descriptions.iter().filter_map(|engine| {
                let settings = engine.settings.iter();
                let names = settings
                    .filter(|setting| is_connection_setting(setting))
                    .flat_map(|setting| variables(engine, setting));
                let is_set = |name: &String| environment.started_value(name).is_some();
                let variable = names
                    .filter(|name| !SHARED_VARIABLES.contains(&name.as_str()))
                    .find(is_set)?;
                Some(ConfiguredEngine {
                    name: engine.name.clone(),
                    variable,
                })
            });
            configured.collect()
        };
        Self {
            generating: find(generate_variables),
            editing: find(edit_only_variables),
            previous,
        }
    }

    /// True if the environment has a URL or a secret of this engine.
    #[must_use]
    pub fn contains(&self, engine: &str) -> bool {
        let mut all = self.generating.iter().chain(&self.editing);
        all.any(|it| it.name == engine)
    }

    /// The engine that generates.
    #[must_use]
    pub fn choose(&self, environment: &Environment) -> EngineChoice {
        if let Some(choice) = named(environment, ENGINE) {
            return choice;
        }
        let names = || self.generating.iter().map(|it| it.name.clone());
        match (self.generating.as_slice(), &self.previous) {
            ([only], _) => only.choice(),
            (_, Some(previous)) if names().any(|name| name == *previous) => EngineChoice {
                engine: previous.clone(),
                reason: ChoiceReason::Previous,
            },
            _ => EngineChoice {
                engine: DEFAULT_ENGINE.to_owned(),
                reason: ChoiceReason::Default {
                    configured: names().collect(),
                },
            },
        }
    }

    /// The engine that edits, if this one generates.
    #[must_use]
    pub fn choose_for_editing(&self, environment: &Environment, engine: &str) -> EngineChoice {
        if environment.get(EDIT_ENGINE).is_some()
            && let Some(choice) = named(environment, EDIT_ENGINE)
        {
            return choice;
        }
        match self.editing.as_slice() {
            [only] if environment.raw(EDIT_ENGINE).is_none() => only.choice(),
            _ => EngineChoice {
                engine: engine.to_owned(),
                reason: ChoiceReason::Generates,
            },
        }
    }
}

impl ConfiguredEngine {
    fn choice(&self) -> EngineChoice {
        EngineChoice {
            engine: self.name.clone(),
            reason: ChoiceReason::OnlyConfigured {
                variable: self.variable.clone(),
            },
        }
    }
}

/// The engine that a variable names, which may be empty.
fn named(environment: &Environment, variable: &'static str) -> Option<EngineChoice> {
    let name = environment.raw(variable)?;
    let reason = if environment.is_changed(variable) {
        ChoiceReason::Stored { variable }
    } else {
        ChoiceReason::Environment { variable }
    };
    let engine = if name.is_empty() { EMPTY_ENGINE } else { name };
    Some(EngineChoice {
        engine: engine.to_owned(),
        reason,
    })
}

fn generate_variables(engine: &Description, setting: &Setting) -> Vec<String> {
    let own = own_variable(&engine.name, &setting.key);
    setting
        .generate_variables
        .iter()
        .cloned()
        .chain([own])
        .collect()
}

fn edit_only_variables(_: &Description, setting: &Setting) -> Vec<String> {
    let edit = setting.edit_variables.iter();
    edit.filter(|name| !setting.generate_variables.contains(name))
        .cloned()
        .collect()
}

/// A phrase that follows the name of the engine.
impl fmt::Display for ChoiceReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { variable } => write!(formatter, "set by {variable}"),
            Self::Stored { variable } => write!(formatter, "set by the stored {variable}"),
            Self::OnlyConfigured { variable } => write!(
                formatter,
                "the only engine that the environment configures, with {variable}"
            ),
            Self::Previous => {
                write!(
                    formatter,
                    "used since an earlier start; {ENGINE} selects another"
                )
            }
            Self::Generates => write!(formatter, "the engine that generates"),
            Self::Default { configured } if configured.is_empty() => {
                write!(formatter, "by default; {ENGINE} selects another")
            }
            Self::Default { configured } => write!(
                formatter,
                "by default, because the environment configures {}: set {ENGINE} to one of them",
                configured.join(" and ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sandbox::contract::SettingKind;

    use super::*;

    fn engine(name: &str, variable: &str, edit_variable: &str) -> Description {
        Description {
            name: name.into(),
            settings: vec![Setting {
                key: "url".into(),
                title: "url".into(),
                description: String::new(),
                kind: SettingKind::Url,
                default: None,
                generate_variables: vec![variable.into(), "OPENAI_API_BASE_URL".into()],
                edit_variables: vec![edit_variable.into(), "OPENAI_API_BASE_URL".into()],
            }],
            ..Description::default()
        }
    }

    fn name(reason: &ChoiceReason) -> &'static str {
        match reason {
            ChoiceReason::Environment { .. } => "environment",
            ChoiceReason::Stored { .. } => "store",
            ChoiceReason::OnlyConfigured { .. } => "only-configured",
            ChoiceReason::Previous => "previous-start",
            ChoiceReason::Generates => "generates",
            ChoiceReason::Default { .. } => "default",
        }
    }

    /// The engine and the reason's name, for generating and for editing.
    fn choose(pairs: &[(&str, &str)], stored: &[(&str, &str)], previous: Option<&str>) -> String {
        let owned = |borrowed: &[(&str, &str)]| -> Vec<(String, String)> {
            borrowed
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect()
        };
        let environment = Environment::new(owned(pairs));
        let engines = [
            engine(
                "comfyui",
                "COMFYUI_BASE_URL",
                "IMAGES_EDIT_COMFYUI_BASE_URL",
            ),
            engine(
                "openai",
                "IMAGES_OPENAI_API_KEY",
                "IMAGES_EDIT_OPENAI_API_KEY",
            ),
        ];
        let configured = ConfiguredEngines::of_descriptions(
            &engines.each_ref(),
            &environment,
            previous.map(str::to_owned),
        );
        let environment = environment.overlaid(owned(stored));
        let choice = configured.choose(&environment);
        let edit = configured.choose_for_editing(&environment, &choice.engine);
        let text = |it: EngineChoice| format!("{} {}", it.engine, name(&it.reason));
        format!("{}, {}", text(choice), text(edit))
    }

    const COMFYUI: (&str, &str) = ("COMFYUI_BASE_URL", "u");
    const OPENAI: (&str, &str) = ("IMAGES_OPENAI_API_KEY", "k");

    #[test]
    fn only_configured_engine_of_the_environment_generates() {
        assert_eq!(choose(&[], &[], None), "sketch default, sketch generates");
        assert_eq!(
            choose(&[COMFYUI], &[], None),
            "comfyui only-configured, comfyui generates"
        );
        assert_eq!(
            choose(&[("PINHOLE_OPENAI_URL", "u")], &[], None),
            "openai only-configured, openai generates"
        );
        for pairs in [
            &[COMFYUI, OPENAI][..],
            &[("OPENAI_API_BASE_URL", "u")],
            &[("COMFYUI_BASE_URL", "")],
            &[("ENABLE_IMAGE_GENERATION", "true")],
        ] {
            let chosen = choose(pairs, &[], None);
            assert_eq!(chosen, "sketch default, sketch generates", "{pairs:?}");
        }
    }

    #[test]
    fn stored_keys_never_select_an_engine() {
        let by_default = choose(&[], &[OPENAI, ("ENABLE_IMAGE_GENERATION", "true")], None);
        assert_eq!(by_default, "sketch default, sketch generates");
        let chosen = choose(
            &[COMFYUI],
            &[OPENAI, ("IMAGES_EDIT_OPENAI_API_KEY", "k")],
            None,
        );
        assert_eq!(chosen, "comfyui only-configured, comfyui generates");
    }

    #[test]
    fn setting_selects_an_engine_before_anything_else() {
        let engine = |name| ("IMAGE_GENERATION_ENGINE", name);
        assert_eq!(
            choose(&[COMFYUI, engine("openai")], &[], Some("comfyui")),
            "openai environment, openai generates"
        );
        assert_eq!(
            choose(&[COMFYUI, engine("openai")], &[engine("sketch")], None),
            "sketch store, sketch generates"
        );
        // As in Open WebUI.
        assert_eq!(
            choose(&[COMFYUI, engine("")], &[], None),
            "automatic1111 environment, automatic1111 generates"
        );
        assert_eq!(
            choose(&[COMFYUI, ("IMAGE_EDIT_ENGINE", "openai")], &[], None),
            "comfyui only-configured, openai environment"
        );
        let edit_key = ("IMAGES_EDIT_OPENAI_API_KEY", "k");
        assert_eq!(
            choose(&[COMFYUI, edit_key], &[], None),
            "comfyui only-configured, openai only-configured"
        );
        assert_eq!(
            choose(&[COMFYUI, edit_key], &[("IMAGE_EDIT_ENGINE", "")], None),
            "comfyui only-configured, comfyui generates"
        );
    }

    #[test]
    fn second_configured_engine_does_not_replace_the_first() {
        assert_eq!(
            choose(&[COMFYUI, OPENAI], &[], Some("comfyui")),
            "comfyui previous-start, comfyui generates"
        );
        assert_eq!(
            choose(&[OPENAI], &[], Some("comfyui")),
            "openai only-configured, openai generates"
        );
        assert_eq!(
            choose(&[], &[], Some("comfyui")),
            "sketch default, sketch generates"
        );
    }
}
