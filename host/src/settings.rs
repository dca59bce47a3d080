//! What an operator has set: the host's own settings and those that engines declare.

mod engine;

use std::collections::BTreeMap;

pub use engine::{EngineSettings, only_edits, own_variable};

/// OpenAI's own API, the default of everything that speaks its dialect.
const OPENAI: &str = "https://api.openai.com/v1";

/// Environment variables, as the process was started with them. Empty ones count as unset.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// The host's own settings for making pictures, by Open WebUI's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ENABLE_IMAGE_GENERATION`: the master switch; on where it is not set.
    pub enabled: bool,
    /// `IMAGE_GENERATION_ENGINE`: the engine's name.
    pub engine: String,
    /// `IMAGE_GENERATION_MODEL`; `None` leaves the choice to the engine.
    pub model: Option<String>,
    /// `IMAGE_SIZE` as it was set, `WxH` or `auto`; `None` and `auto` leave it to the engine.
    pub size: Option<String>,
    /// `IMAGE_STEPS`, for engines that have them.
    pub steps: Option<u32>,
    /// What editing has of its own.
    pub edit: EditSettings,
    /// The language model that answers chats.
    pub chat_model: Option<ChatModel>,
}

/// The host's own settings for changing pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditSettings {
    /// `ENABLE_IMAGE_EDIT`: on where it is not set.
    pub enabled: bool,
    /// `IMAGE_EDIT_ENGINE`; where it is not set, the engine that generates.
    pub engine: String,
    /// `IMAGE_EDIT_MODEL`; `None` leaves the choice to the engine.
    pub model: Option<String>,
    /// `IMAGE_EDIT_SIZE` as it was set; `None` and `auto` leave it to the engine.
    pub size: Option<String>,
}

/// Where an OpenAI-compatible language model is.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatModel {
    /// Such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// True where the administrator named the base URL.
    pub named: bool,
    /// Sent as a bearer token; `None` sends none.
    pub key: Option<String>,
}

impl std::fmt::Debug for ChatModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ChatModel({})", self.base_url)
    }
}

impl Environment {
    /// From name and value pairs.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// A variable's value unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// True only for `true`, in any case, as Open WebUI reads it.
    fn is_true(&self, name: &str) -> Option<bool> {
        self.raw(name)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// What an engine's declared variable holds.
    ///
    /// `OPENAI_API_KEY` stands for the key that belongs to OpenAI's own address.
    ///
    /// Source: Open WebUI `config.py`: image engines default to the key listed beside that address.
    fn for_engine(&self, name: &str) -> Option<&str> {
        match name {
            "OPENAI_API_KEY" => self.openai_key(),
            other => self.get(other),
        }
    }

    fn openai_key(&self) -> Option<&str> {
        let list = |plural: &str, single: &str| -> Vec<&str> {
            let text = self
                .get(plural)
                .or_else(|| self.get(single))
                .unwrap_or_default();
            text.split(';').map(str::trim).collect()
        };
        let urls = list("OPENAI_API_BASE_URLS", "OPENAI_API_BASE_URL");
        let keys = list("OPENAI_API_KEYS", "OPENAI_API_KEY");
        let own = |url: &&str| url.is_empty() || url.trim_end_matches('/') == OPENAI;
        let place = urls.iter().position(own)?;
        keys.get(place).copied().filter(|key| !key.is_empty())
    }
}

impl Settings {
    /// Reads the host's settings. The error names the variable and what it may hold.
    pub fn read(environment: &Environment) -> Result<Self, String> {
        let text = |name: &str| environment.get(name).map(str::to_owned);
        let steps = text("IMAGE_STEPS").map(|steps| {
            let wrong =
                |_| format!("IMAGE_STEPS is {steps:?}: it must be a whole number such as 20");
            steps.trim().parse().map_err(wrong)
        });
        Ok(Self {
            enabled: environment
                .is_true("ENABLE_IMAGE_GENERATION")
                .unwrap_or(true),
            engine: engine(environment),
            model: text("IMAGE_GENERATION_MODEL"),
            size: text("IMAGE_SIZE"),
            steps: steps.transpose()?,
            edit: EditSettings {
                enabled: environment.is_true("ENABLE_IMAGE_EDIT").unwrap_or(true),
                engine: edit_engine(environment),
                model: text("IMAGE_EDIT_MODEL"),
                size: text("IMAGE_EDIT_SIZE"),
            },
            chat_model: chat_model(environment),
        })
    }
}

/// Open WebUI's default is `openai`, and empty means `automatic1111`. Where nothing at all speaks
/// for OpenAI, `sketch` draws, so that a server nobody has configured shows a picture.
fn engine(environment: &Environment) -> String {
    let open_webui = environment.is_true("ENABLE_IMAGE_GENERATION") == Some(true)
        || environment.get("IMAGES_OPENAI_API_KEY").is_some();
    match environment.raw("IMAGE_GENERATION_ENGINE") {
        Some("") => "automatic1111".to_owned(),
        Some(name) => name.to_owned(),
        None if open_webui => "openai".to_owned(),
        None => "sketch".to_owned(),
    }
}

/// Open WebUI's default is `openai`, wherever editing is switched on there.
fn edit_engine(environment: &Environment) -> String {
    let open_webui = environment.is_true("ENABLE_IMAGE_EDIT") == Some(true)
        || environment.get("IMAGES_EDIT_OPENAI_API_KEY").is_some();
    match environment.get("IMAGE_EDIT_ENGINE") {
        Some(name) => name.to_owned(),
        None if open_webui => "openai".to_owned(),
        None => engine(environment),
    }
}

/// The first of `OPENAI_API_BASE_URLS` or the one of `OPENAI_API_BASE_URL`; with a key alone,
/// OpenAI's own.
fn chat_model(environment: &Environment) -> Option<ChatModel> {
    if environment.is_true("ENABLE_OPENAI_API") == Some(false) {
        return None;
    }
    let first = |plural: &str, single: &str| {
        let text = environment
            .get(plural)
            .or_else(|| environment.get(single))?;
        text.split(';')
            .next()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let base_url = first("OPENAI_API_BASE_URLS", "OPENAI_API_BASE_URL");
    let key = first("OPENAI_API_KEYS", "OPENAI_API_KEY");
    if base_url.is_none() && key.is_none() {
        return None;
    }
    Some(ChatModel {
        named: base_url.is_some(),
        base_url: base_url.unwrap_or_else(|| OPENAI.to_owned()),
        key,
    })
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

    fn check_engine(pairs: &[(&str, &str)], expected: &str) {
        assert_eq!(
            Settings::read(&environment(pairs)).unwrap().engine,
            expected
        );
    }

    #[test]
    fn the_engine_is_the_one_that_open_webui_would_take() {
        check_engine(&[], "sketch");
        check_engine(&[("IMAGE_GENERATION_ENGINE", "comfyui")], "comfyui");
        check_engine(&[("IMAGE_GENERATION_ENGINE", "")], "automatic1111");
        check_engine(&[("ENABLE_IMAGE_GENERATION", "True")], "openai");
        check_engine(&[("ENABLE_IMAGE_GENERATION", "false")], "sketch");
        check_engine(&[("IMAGES_OPENAI_API_KEY", "k")], "openai");
        check_engine(&[("OPENAI_API_KEY", "k")], "sketch");
    }

    #[test]
    fn editing_has_an_engine_of_its_own() {
        let engine = |pairs: &[_]| Settings::read(&environment(pairs)).unwrap().edit.engine;
        assert_eq!(engine(&[]), "sketch");
        assert_eq!(engine(&[("IMAGE_GENERATION_ENGINE", "comfyui")]), "comfyui");
        assert_eq!(engine(&[("ENABLE_IMAGE_EDIT", "true")]), "openai");
        let both = [
            ("IMAGE_GENERATION_ENGINE", "comfyui"),
            ("IMAGE_EDIT_ENGINE", "gemini"),
        ];
        assert_eq!(engine(&both), "gemini");
    }

    #[test]
    fn the_master_switch_is_on_unless_set() {
        let enabled = |pairs: &[_]| Settings::read(&environment(pairs)).unwrap().enabled;
        assert!(enabled(&[]));
        assert!(enabled(&[("ENABLE_IMAGE_GENERATION", "TRUE")]));
        assert!(!enabled(&[("ENABLE_IMAGE_GENERATION", "yes")]));
    }

    #[test]
    fn a_wrong_number_is_named() {
        let error = Settings::read(&environment(&[("IMAGE_STEPS", "many")])).unwrap_err();
        assert!(error.contains("IMAGE_STEPS"), "{error}");
    }

    fn check_key(pairs: &[(&str, &str)], expected: Option<&str>) {
        assert_eq!(environment(pairs).openai_key(), expected);
    }

    #[test]
    fn the_image_key_is_the_one_beside_openais_address() {
        check_key(&[("OPENAI_API_KEY", "k")], Some("k"));
        check_key(
            &[
                ("OPENAI_API_KEY", "k"),
                ("OPENAI_API_BASE_URL", "http://ollama/v1"),
            ],
            None,
        );
        check_key(
            &[
                (
                    "OPENAI_API_BASE_URLS",
                    "http://a/v1;https://api.openai.com/v1",
                ),
                ("OPENAI_API_KEYS", "a;b"),
            ],
            Some("b"),
        );
        check_key(&[], None);
    }

    #[test]
    fn the_chat_model_is_the_first() {
        let model = |pairs: &[_]| Settings::read(&environment(pairs)).unwrap().chat_model;
        assert!(model(&[]).is_none());
        let both = [
            ("OPENAI_API_BASE_URLS", "http://a/v1;http://b/v1"),
            ("OPENAI_API_KEYS", "a;b"),
        ];
        let first = model(&both).unwrap();
        assert_eq!(
            (first.base_url.as_str(), first.key.as_deref(), first.named),
            ("http://a/v1", Some("a"), true)
        );
        let own = model(&[("OPENAI_API_KEY", "k")]).unwrap();
        assert_eq!((own.base_url.as_str(), own.named), (OPENAI, false));
        assert!(model(&[("OPENAI_API_KEY", "k"), ("ENABLE_OPENAI_API", "false")]).is_none());
    }
}
