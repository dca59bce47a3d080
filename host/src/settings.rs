//! What an operator has set: the host's own settings and those that engines declare.

mod key;
mod kind;
mod secret;
mod stored;

use pinhole_ground::environment::{Environment, OPENAI_URL};
use pinhole_images::Metadata;

pub use key::{Key, keys};
pub use kind::Kind;
pub use secret::MARKER;
pub use stored::{Change, Overlay, Source, Stored};

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
    /// `PINHOLE_IMAGE_METADATA`: what stays of the metadata of pictures that jobs give.
    pub metadata: Metadata,
    /// What editing has of its own.
    pub edit: EditSettings,
    /// How prompts are rewritten, and by which language model.
    pub prompt: PromptSettings,
    /// Where the language models that answer chats are, in the order of their settings.
    pub chat_models: Vec<ChatModels>,
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
    /// `PINHOLE_EDIT_INTENT`: when a turn changes pictures and makes no new one.
    pub intent: EditIntent,
}

/// When a turn changes the pictures of its chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditIntent {
    /// `any-image`: wherever there is a picture among the newest, as Open WebUI does.
    AnyImage,
    /// `ask`: where a language model says that the person means to.
    Ask,
}

/// How a language model rewrites the prompt of a new picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptSettings {
    /// `ENABLE_IMAGE_PROMPT_GENERATION`: on where it is not set.
    pub enabled: bool,
    /// `IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE`; `None` is the one that is built in.
    pub template: Option<String>,
    /// `TASK_MODEL`: asked in chats with a local model; `None` asks the chat's own.
    pub task_model: Option<String>,
    /// `TASK_MODEL_EXTERNAL`: the same for all other chats.
    pub task_model_external: Option<String>,
}

/// Where a server with OpenAI's chat completions is.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatModels {
    /// Such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// True where the administrator named the base URL.
    pub named: bool,
    /// Sent as a bearer token; `None` sends none.
    pub key: Option<String>,
}

impl std::fmt::Debug for ChatModels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password, or be a key that was pasted into the wrong setting.
        formatter.write_str("ChatModels")
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
            metadata: metadata(environment)?,
            edit: EditSettings {
                enabled: environment.is_true("ENABLE_IMAGE_EDIT").unwrap_or(true),
                engine: edit_engine(environment),
                model: text("IMAGE_EDIT_MODEL"),
                size: text("IMAGE_EDIT_SIZE"),
                intent: edit_intent(environment)?,
            },
            prompt: PromptSettings {
                enabled: environment
                    .is_true("ENABLE_IMAGE_PROMPT_GENERATION")
                    .unwrap_or(true),
                template: text("IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE"),
                task_model: text("TASK_MODEL"),
                task_model_external: text("TASK_MODEL_EXTERNAL"),
            },
            chat_models: chat_models(environment),
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

fn edit_intent(environment: &Environment) -> Result<EditIntent, String> {
    match environment.get("PINHOLE_EDIT_INTENT") {
        None | Some("any-image") => Ok(EditIntent::AnyImage),
        Some("ask") => Ok(EditIntent::Ask),
        Some(other) => Err(format!(
            "PINHOLE_EDIT_INTENT is {other:?}: it must be any-image or ask"
        )),
    }
}

fn metadata(environment: &Environment) -> Result<Metadata, String> {
    let Some(word) = environment.get("PINHOLE_IMAGE_METADATA") else {
        return Ok(Metadata::default());
    };
    Metadata::named(word).ok_or_else(|| {
        format!("PINHOLE_IMAGE_METADATA is {word:?}: it must be essential, strip or keep")
    })
}

/// The servers of `OPENAI_API_BASE_URLS` with their keys, or the one of `OPENAI_API_BASE_URL`. An
/// empty address with a key is OpenAI's own.
fn chat_models(environment: &Environment) -> Vec<ChatModels> {
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
        Some(ChatModels {
            named: !url.is_empty(),
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

    fn check_chat_models(pairs: &[(&str, &str)], expected: &[(&str, Option<&str>, bool)]) {
        let models = Settings::read(&environment(pairs)).unwrap().chat_models;
        let models = models.iter();
        let models = models.map(|it| (it.base_url.as_str(), it.key.as_deref(), it.named));
        assert_eq!(models.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_server_of_the_list_has_the_key_beside_it() {
        check_chat_models(&[], &[]);
        check_chat_models(
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
        check_chat_models(&[one], &[("http://a/v1", None, true)]);
        let key = ("OPENAI_API_KEY", "k");
        check_chat_models(&[key], &[(OPENAI_URL, Some("k"), false)]);
        check_chat_models(&[one, key], &[("http://a/v1", Some("k"), true)]);
        check_chat_models(&[one, key, ("ENABLE_OPENAI_API", "false")], &[]);
    }

    #[test]
    fn an_edit_is_meant_as_open_webui_says_unless_set() {
        let intent = |value| {
            let read = Settings::read(&environment(&[("PINHOLE_EDIT_INTENT", value)]));
            read.map(|settings| settings.edit.intent)
        };
        assert_eq!(intent(""), Ok(EditIntent::AnyImage));
        assert_eq!(intent("any-image"), Ok(EditIntent::AnyImage));
        assert_eq!(intent("ask"), Ok(EditIntent::Ask));
        let error = intent("Ask").unwrap_err();
        assert!(error.contains("PINHOLE_EDIT_INTENT"), "{error}");
    }

    #[test]
    fn metadata_is_left_out_but_for_what_a_picture_needs_unless_set() {
        let metadata = |value| {
            let read = Settings::read(&environment(&[("PINHOLE_IMAGE_METADATA", value)]));
            read.map(|settings| settings.metadata)
        };
        assert_eq!(metadata(""), Ok(Metadata::Essential));
        assert_eq!(metadata("essential"), Ok(Metadata::Essential));
        assert_eq!(metadata("strip"), Ok(Metadata::Strip));
        assert_eq!(metadata("keep"), Ok(Metadata::Keep));
        let error = metadata("all").unwrap_err();
        assert!(error.contains("PINHOLE_IMAGE_METADATA"), "{error}");
    }

    #[test]
    fn prompts_are_rewritten_unless_switched_off() {
        let prompt = |pairs: &[_]| Settings::read(&environment(pairs)).unwrap().prompt;
        assert!(prompt(&[]).enabled);
        assert!(!prompt(&[("ENABLE_IMAGE_PROMPT_GENERATION", "no")]).enabled);
        let set = [("TASK_MODEL", "t"), ("TASK_MODEL_EXTERNAL", "")];
        let set = prompt(&set);
        assert_eq!(set.task_model.as_deref(), Some("t"));
        assert_eq!((set.task_model_external, set.template), (None, None));
    }
}
