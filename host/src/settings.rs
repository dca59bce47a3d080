//! The settings of the server, and the keys of those that engines declare.
//!
//! [`Settings`] are read from environment variables. [`StoredSettings`] overlays the variables with the
//! values that administrators store while the server runs.

mod engine_choice;
mod form_field;
mod host_settings;
mod links;
mod overlay;
mod secret_cipher;
mod secret_mask;
mod setting_key;
mod shared_setting;
mod stored_settings;
mod value_kind;

use pinhole_ground::environment::{Environment, OPENAI_URL};
use pinhole_images::MetadataPolicy;

pub use engine_choice::{ChoiceReason, ConfiguredEngines, EDIT_ENGINE, ENGINE, EngineChoice};
pub use form_field::{EngineField, FormField, SettingGroup, SettingMode};
pub use links::MAX_LINK_SECS;
pub use overlay::{Overlay, SettingOrigin};
pub use secret_mask::MARKER;
pub use setting_key::{SettingKey, host_variables, setting_keys};
pub(crate) use shared_setting::SharedStep;
pub use stored_settings::{Change, StoredSettings};
pub use value_kind::{MAX_SETTING_BYTES, ValueKind};

/// The server's own image settings, by Open WebUI's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ENABLE_IMAGE_GENERATION`: true by default.
    pub enabled: bool,
    /// `IMAGE_GENERATION_ENGINE`: the name of the binding that generates.
    pub engine: String,
    /// Why this engine generates.
    pub engine_reason: ChoiceReason,
    /// `IMAGE_GENERATION_MODEL`. `None` leaves the choice to the engine.
    pub model: Option<String>,
    /// `IMAGE_SIZE`: `WxH` or `auto`. `None` and `auto` leave the choice to the engine.
    pub size: Option<String>,
    /// `IMAGE_STEPS`, for engines that have steps.
    pub steps: Option<u32>,
    /// `PINHOLE_IMAGE_METADATA`: the metadata of generated images that is retained.
    pub metadata: MetadataPolicy,
    pub edit: EditSettings,
    pub prompt: PromptSettings,
    /// `WEBUI_URL`: the URL at which clients reach the server, without a slash at its end. `None` is that of
    /// the request.
    pub public_url: Option<String>,
    /// `PINHOLE_LINK_LIFETIME`: how long a link to an image works.
    pub link_secs: i64,
    /// `PINHOLE_RESPONSE_FORMAT`: a response to a request without `response_format` has URLs, unless OpenAI
    /// decides by the model.
    pub prefers_urls: bool,
    /// The servers of language models, in the order of their settings.
    pub model_servers: Vec<ModelServer>,
}

/// The settings for editing images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditSettings {
    /// `ENABLE_IMAGE_EDIT`: true by default.
    pub enabled: bool,
    /// `IMAGE_EDIT_ENGINE`: by default the engine that generates.
    pub engine: String,
    /// Why this engine edits.
    pub engine_reason: ChoiceReason,
    /// `IMAGE_EDIT_MODEL`. `None` leaves the choice to the engine.
    pub model: Option<String>,
    /// `IMAGE_EDIT_SIZE`. `None` and `auto` leave the choice to the engine.
    pub size: Option<String>,
    /// `PINHOLE_EDIT_INTENT`: when a turn edits images instead of generating one.
    pub intent: EditIntent,
}

/// When a chat turn edits the images of its chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditIntent {
    /// `any-image`: whenever the newest messages contain an image, as in Open WebUI.
    AnyImage,
    /// `ask`: if a language model classifies the message as an edit.
    Ask,
}

/// How a language model rewrites the prompt of a new image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptSettings {
    /// `ENABLE_IMAGE_PROMPT_GENERATION`: true by default.
    pub enabled: bool,
    /// `IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE`. `None` is the built-in template.
    pub template: Option<String>,
    /// `TASK_MODEL`, for chats with a local model. `None` is the chat's own model.
    pub task_model: Option<String>,
    /// `TASK_MODEL_EXTERNAL`, for all other chats.
    pub task_model_external: Option<String>,
}

/// A server with OpenAI's chat completions API.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelServer {
    /// Such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// True if the administrator set the URL. False for OpenAI's own.
    pub is_url_set: bool,
    /// Sent as a bearer token.
    pub key: Option<String>,
}

impl std::fmt::Debug for ModelServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may contain a password, or be a key that was pasted into the wrong setting.
        formatter.write_str("ModelServer")
    }
}

impl Settings {
    /// Reads the settings. The error names the variable and the values that it accepts.
    pub fn from_environment(
        environment: &Environment,
        configured: &ConfiguredEngines,
    ) -> Result<Self, String> {
        let choice = configured.choose(environment);
        let edit_choice = configured.choose_for_editing(environment, &choice.engine);
        let text = |name: &str| environment.get(name).map(str::to_owned);
        let is_enabled = |name: &str| environment.is_true(name).unwrap_or(true);
        Ok(Self {
            enabled: is_enabled("ENABLE_IMAGE_GENERATION"),
            engine: choice.engine,
            engine_reason: choice.reason,
            model: text("IMAGE_GENERATION_MODEL"),
            size: text("IMAGE_SIZE"),
            steps: steps(environment)?,
            metadata: metadata(environment)?,
            edit: EditSettings {
                enabled: is_enabled("ENABLE_IMAGE_EDIT"),
                engine: edit_choice.engine,
                engine_reason: edit_choice.reason,
                model: text("IMAGE_EDIT_MODEL"),
                size: text("IMAGE_EDIT_SIZE"),
                intent: edit_intent(environment)?,
            },
            prompt: PromptSettings {
                enabled: is_enabled("ENABLE_IMAGE_PROMPT_GENERATION"),
                template: text("IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE"),
                task_model: text("TASK_MODEL"),
                task_model_external: text("TASK_MODEL_EXTERNAL"),
            },
            public_url: links::public_url(environment)?,
            link_secs: links::link_secs(environment)?,
            prefers_urls: links::prefers_urls(environment)?,
            model_servers: model_servers(environment),
        })
    }
}

fn steps(environment: &Environment) -> Result<Option<u32>, String> {
    let Some(text) = environment.get("IMAGE_STEPS") else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(steps) => Ok(Some(steps)),
        Err(_) => Err(format!(
            "IMAGE_STEPS is {text:?}: it must be a whole number such as 20"
        )),
    }
}

fn edit_intent(environment: &Environment) -> Result<EditIntent, String> {
    match environment.get("PINHOLE_EDIT_INTENT") {
        None | Some("any-image") => Ok(EditIntent::AnyImage),
        Some("ask") => Ok(EditIntent::Ask),
        Some(other) => Err(format!(
            "PINHOLE_EDIT_INTENT is {other:?}: it must be any-image or ask"
        )),
    }
}

fn metadata(environment: &Environment) -> Result<MetadataPolicy, String> {
    let Some(name) = environment.get("PINHOLE_IMAGE_METADATA") else {
        return Ok(MetadataPolicy::default());
    };
    MetadataPolicy::from_name(name).ok_or_else(|| {
        format!("PINHOLE_IMAGE_METADATA is {name:?}: it must be essential, strip or keep")
    })
}

/// The servers of `OPENAI_API_BASE_URLS` with their keys, or the one of `OPENAI_API_BASE_URL`. An empty URL
/// with a key is OpenAI's own.
fn model_servers(environment: &Environment) -> Vec<ModelServer> {
    if environment.is_true("ENABLE_OPENAI_API") == Some(false) {
        return Vec::new();
    }
    let urls = environment.list("OPENAI_API_BASE_URLS", "OPENAI_API_BASE_URL");
    let keys = environment.list("OPENAI_API_KEYS", "OPENAI_API_KEY");
    let server = |(index, url): (usize, &&str)| {
        let key = keys.get(index).filter(|key| !key.is_empty());
        let base_url = match (url.is_empty(), key) {
            (true, None) => return None,
            (true, Some(_)) => OPENAI_URL,
            (false, _) => *url,
        };
        Some(ModelServer {
            is_url_set: !url.is_empty(),
            base_url: base_url.to_owned(),
            key: key.map(|key| (*key).to_owned()),
        })
    };
    urls.iter().enumerate().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
    }

    fn read(environment: &Environment) -> Result<Settings, String> {
        Settings::from_environment(environment, &ConfiguredEngines::default())
    }

    #[test]
    fn image_generation_is_enabled_by_default() {
        let enabled = |pairs: &[_]| read(&environment(pairs)).unwrap().enabled;
        assert!(enabled(&[]));
        assert!(enabled(&[("ENABLE_IMAGE_GENERATION", "TRUE")]));
        assert!(!enabled(&[("ENABLE_IMAGE_GENERATION", "yes")]));
    }

    #[test]
    fn from_environment_names_variable_with_invalid_number() {
        let error = read(&environment(&[("IMAGE_STEPS", "many")])).unwrap_err();
        assert!(error.contains("IMAGE_STEPS"), "{error}");
    }

    fn check_model_servers(pairs: &[(&str, &str)], expected: &[(&str, Option<&str>, bool)]) {
        let servers = read(&environment(pairs)).unwrap().model_servers;
        let actual: Vec<_> = servers
            .iter()
            .map(|it| (it.base_url.as_str(), it.key.as_deref(), it.is_url_set))
            .collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn model_servers_pair_urls_and_keys_by_position() {
        check_model_servers(&[], &[]);
        check_model_servers(
            &[
                ("OPENAI_API_BASE_URLS", "http://a/v1; http://b/v1;;"),
                ("OPENAI_API_KEYS", "a;;c"),
            ],
            &[
                ("http://a/v1", Some("a"), true),
                ("http://b/v1", None, true),
                (OPENAI_URL, Some("c"), false),
            ],
        );
        let one = ("OPENAI_API_BASE_URL", "http://a/v1");
        check_model_servers(&[one], &[("http://a/v1", None, true)]);
        let key = ("OPENAI_API_KEY", "k");
        check_model_servers(&[key], &[(OPENAI_URL, Some("k"), false)]);
        check_model_servers(&[one, key], &[("http://a/v1", Some("k"), true)]);
        check_model_servers(&[one, key, ("ENABLE_OPENAI_API", "false")], &[]);
    }

    #[test]
    fn edit_intent_defaults_to_any_image() {
        let intent = |value| {
            let pair = ("PINHOLE_EDIT_INTENT", value);
            read(&environment(&[pair])).map(|settings| settings.edit.intent)
        };
        assert_eq!(intent(""), Ok(EditIntent::AnyImage));
        assert_eq!(intent("any-image"), Ok(EditIntent::AnyImage));
        assert_eq!(intent("ask"), Ok(EditIntent::Ask));
        let error = intent("Ask").unwrap_err();
        assert!(error.contains("PINHOLE_EDIT_INTENT"), "{error}");
    }

    #[test]
    fn metadata_policy_defaults_to_essential() {
        let metadata = |value| {
            let pair = ("PINHOLE_IMAGE_METADATA", value);
            read(&environment(&[pair])).map(|settings| settings.metadata)
        };
        assert_eq!(metadata(""), Ok(MetadataPolicy::Essential));
        assert_eq!(metadata("essential"), Ok(MetadataPolicy::Essential));
        assert_eq!(metadata("strip"), Ok(MetadataPolicy::Strip));
        assert_eq!(metadata("keep"), Ok(MetadataPolicy::Keep));
        let error = metadata("all").unwrap_err();
        assert!(error.contains("PINHOLE_IMAGE_METADATA"), "{error}");
    }

    #[test]
    fn prompt_settings_are_enabled_by_default() {
        let prompt = |pairs: &[_]| read(&environment(pairs)).unwrap().prompt;
        assert!(prompt(&[]).enabled);
        assert!(!prompt(&[("ENABLE_IMAGE_PROMPT_GENERATION", "no")]).enabled);
        let settings = prompt(&[("TASK_MODEL", "t"), ("TASK_MODEL_EXTERNAL", "")]);
        assert_eq!(settings.task_model.as_deref(), Some("t"));
        assert_eq!(
            (settings.task_model_external, settings.template),
            (None, None)
        );
    }
}
