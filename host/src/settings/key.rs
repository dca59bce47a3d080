//! The settings that can be changed while the server runs: variable, dotted path, kind.

use serde_json::Value;

use super::kind::Kind::{self, Boolean, Integer, List, Object, Secret, Secrets, Text, Url};
use pinhole_sandbox::engine_settings::{is_edit_only, own_variable};
use pinhole_sandbox::contract::{Description, Setting, SettingKind};

/// One setting.
#[derive(Clone, Debug)]
pub struct Key {
    /// The environment variable that it is called by.
    pub name: String,
    /// All variables that hold it, this one too: the first that is set counts.
    pub variables: Vec<String>,
    /// Variables that count where none of its own is set, and that are not its alone.
    pub shared: Vec<String>,
    /// Where it stands in the store.
    pub path: String,
    /// What it may hold.
    pub kind: Kind,
    /// Of [`Kind::Secrets`]: what members are called that hold a secret.
    pub secrets: Vec<String>,
    /// What holds where nothing is set, as far as an engine declares it.
    pub default: Option<String>,
    /// For a person.
    pub doc: String,
}

/// What the host knows by itself; engines that are not Open WebUI's declare more.
///
/// Source: Open WebUI `config.py`, names and paths; those under `pinhole.` are ours.
const KEYS: &[(&str, &str, Kind, &str)] = &[
    (
        "ENABLE_IMAGE_GENERATION",
        "image_generation.enable",
        Boolean,
        "Are pictures made at all?",
    ),
    (
        "IMAGE_GENERATION_ENGINE",
        "image_generation.engine",
        Text,
        "The engine that makes pictures. Empty means automatic1111.",
    ),
    (
        "IMAGE_GENERATION_MODEL",
        "image_generation.model",
        Text,
        "The model that makes pictures. Empty leaves it to the engine.",
    ),
    (
        "IMAGE_SIZE",
        "image_generation.size",
        Text,
        "Size of a picture, such as 1024x1024. Empty and auto leave it to the engine.",
    ),
    (
        "IMAGE_STEPS",
        "image_generation.steps",
        Integer,
        "Steps of a picture, for engines that have them.",
    ),
    (
        "ENABLE_IMAGE_PROMPT_GENERATION",
        "image_generation.prompt.enable",
        Boolean,
        "Does a language model rewrite what a person asks for into a prompt?",
    ),
    (
        "IMAGES_OPENAI_API_BASE_URL",
        "image_generation.openai.api_base_url",
        Url,
        "OpenAI: where the images API is, with its version.",
    ),
    (
        "IMAGES_OPENAI_API_KEY",
        "image_generation.openai.api_key",
        Secret,
        "OpenAI: the key.",
    ),
    (
        "IMAGES_OPENAI_API_VERSION",
        "image_generation.openai.api_version",
        Text,
        "OpenAI: the query parameter api-version, which Azure wants.",
    ),
    (
        "IMAGES_OPENAI_API_PARAMS",
        "image_generation.openai.params",
        Object,
        "OpenAI: laid over every request for a new picture.",
    ),
    (
        "IMAGES_GEMINI_API_BASE_URL",
        "image_generation.gemini.api_base_url",
        Url,
        "Gemini: where the API is, with its version.",
    ),
    (
        "IMAGES_GEMINI_API_KEY",
        "image_generation.gemini.api_key",
        Secret,
        "Gemini: the key.",
    ),
    (
        "IMAGES_GEMINI_ENDPOINT_METHOD",
        "image_generation.gemini.endpoint_method",
        Text,
        "Gemini: generateContent, streamGenerateContent or predict.",
    ),
    (
        "AUTOMATIC1111_BASE_URL",
        "image_generation.automatic1111.base_url",
        Url,
        "AUTOMATIC1111: where the web UI runs.",
    ),
    (
        "AUTOMATIC1111_API_AUTH",
        "image_generation.automatic1111.api_auth",
        Secret,
        "AUTOMATIC1111: what it was given with --api-auth, as user:password.",
    ),
    (
        "AUTOMATIC1111_PARAMS",
        "image_generation.automatic1111.api_params",
        Object,
        "AUTOMATIC1111: laid over every txt2img request.",
    ),
    (
        "COMFYUI_BASE_URL",
        "image_generation.comfyui.base_url",
        Url,
        "ComfyUI: where it runs.",
    ),
    (
        "COMFYUI_API_KEY",
        "image_generation.comfyui.api_key",
        Secret,
        "ComfyUI: for a proxy in front of it.",
    ),
    (
        "COMFYUI_WORKFLOW",
        "image_generation.comfyui.workflow",
        Text,
        "ComfyUI: the graph that makes pictures, in its API format.",
    ),
    (
        "COMFYUI_WORKFLOW_NODES",
        "image_generation.comfyui.nodes",
        List,
        "ComfyUI: which nodes take what.",
    ),
    (
        "ENABLE_IMAGE_EDIT",
        "images.edit.enable",
        Boolean,
        "Are pictures changed at all?",
    ),
    (
        "IMAGE_EDIT_ENGINE",
        "images.edit.engine",
        Text,
        "The engine that changes pictures. Empty means the one that makes them.",
    ),
    (
        "IMAGE_EDIT_MODEL",
        "images.edit.model",
        Text,
        "The model that changes pictures. Empty leaves it to the engine.",
    ),
    (
        "IMAGE_EDIT_SIZE",
        "images.edit.size",
        Text,
        "Size of a changed picture. Empty and auto leave it to the engine.",
    ),
    (
        "IMAGES_EDIT_OPENAI_API_BASE_URL",
        "images.edit.openai.api_base_url",
        Url,
        "OpenAI for edits: where the images API is.",
    ),
    (
        "IMAGES_EDIT_OPENAI_API_KEY",
        "images.edit.openai.api_key",
        Secret,
        "OpenAI for edits: the key.",
    ),
    (
        "IMAGES_EDIT_OPENAI_API_VERSION",
        "images.edit.openai.api_version",
        Text,
        "OpenAI for edits: the query parameter api-version.",
    ),
    (
        "IMAGES_EDIT_GEMINI_API_BASE_URL",
        "images.edit.gemini.api_base_url",
        Url,
        "Gemini for edits: where the API is.",
    ),
    (
        "IMAGES_EDIT_GEMINI_API_KEY",
        "images.edit.gemini.api_key",
        Secret,
        "Gemini for edits: the key.",
    ),
    (
        "IMAGES_EDIT_COMFYUI_BASE_URL",
        "images.edit.comfyui.base_url",
        Url,
        "ComfyUI for edits: where it runs.",
    ),
    (
        "IMAGES_EDIT_COMFYUI_API_KEY",
        "images.edit.comfyui.api_key",
        Secret,
        "ComfyUI for edits: for a proxy in front of it.",
    ),
    (
        "IMAGES_EDIT_COMFYUI_WORKFLOW",
        "images.edit.comfyui.workflow",
        Text,
        "ComfyUI for edits: the graph that changes pictures, in its API format.",
    ),
    (
        "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
        "images.edit.comfyui.nodes",
        List,
        "ComfyUI for edits: which nodes take what.",
    ),
    (
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
        "task.image.prompt_template",
        Text,
        "What the language model is told that writes a prompt. Empty means the one that comes along.",
    ),
    (
        "TASK_MODEL",
        "task.model.default",
        Text,
        "The language model for such tasks, where the chat's own runs nearby.",
    ),
    (
        "TASK_MODEL_EXTERNAL",
        "task.model.external",
        Text,
        "The same where the chat's own is far away.",
    ),
    (
        "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION",
        "user.permissions.features.image_generation",
        Boolean,
        "May everybody make pictures?",
    ),
    (
        "ENABLE_SIGNUP",
        "ui.enable_signup",
        Boolean,
        "May people sign up?",
    ),
    (
        "DEFAULT_USER_ROLE",
        "ui.default_user_role",
        Text,
        "The role of those who sign up: admin, user or pending.",
    ),
    (
        "JWT_EXPIRES_IN",
        "auth.jwt_expiry",
        Text,
        "How long a session lasts, such as 12h or 4w; -1 is for ever.",
    ),
    (
        "PINHOLE_EDIT_INTENT",
        "pinhole.edit_intent",
        Text,
        "When a chat changes a picture: any-image, wherever it has one; ask, where the task model says so.",
    ),
    (
        "PINHOLE_IMAGE_METADATA",
        "pinhole.image_metadata",
        Text,
        "What stays of the metadata of pictures that are made: essential, only colour profile and orientation; strip, nothing; keep, all of it.",
    ),
    (
        "PINHOLE_BINDINGS",
        "pinhole.bindings",
        Secrets,
        "Further named configurations of engines.",
    ),
    (
        "PINHOLE_FALLBACKS",
        "pinhole.fallbacks",
        Text,
        "Names of configurations, with commas between them, that are tried where one is unavailable.",
    ),
];

/// All settings: the host's, and what these engines declare.
pub fn keys<'a>(engines: impl IntoIterator<Item = &'a Description>) -> Vec<Key> {
    let known = KEYS.iter().map(|(name, path, kind, doc)| Key {
        name: (*name).to_owned(),
        variables: vec![(*name).to_owned()],
        shared: Vec::new(),
        secrets: Vec::new(),
        path: (*path).to_owned(),
        kind: *kind,
        default: None,
        doc: (*doc).to_owned(),
    });
    let mut keys: Vec<Key> = known.collect();
    for engine in engines {
        for setting in &engine.settings {
            declare(&mut keys, engine, setting);
            if matches!(setting.kind, SettingKind::Secret) {
                let inside = keys.iter_mut().filter(|key| key.kind == Secrets);
                inside.for_each(|key| key.secrets.push(setting.key.clone()));
            }
        }
    }
    keys
}

/// Adds an engine's setting: once, or twice where editing can have another.
fn declare(keys: &mut Vec<Key>, engine: &Description, setting: &Setting) {
    let lists = [&setting.generate_variables, &setting.edit_variables];
    let alone = |list: &[String], other: &[String]| -> Vec<String> {
        let alone = list.iter().filter(|name| !other.contains(name));
        alone.cloned().collect()
    };
    let mut generating = alone(lists[0], lists[1]);
    let mut editing = alone(lists[1], lists[0]);
    let own = own_variable(&engine.name, &setting.key);
    match is_edit_only(setting) {
        true => editing.push(own),
        false => generating.push(own),
    }
    let default = setting.default.as_deref().map(plain);
    let path = format!("pinhole.engines.{}", engine.name);
    if !generating.is_empty() {
        let shared = lists[0].iter().filter(|name| lists[1].contains(name));
        let key = Key {
            shared: shared.cloned().collect(),
            default: default.clone(),
            ..key(setting, generating, format!("{path}.{}", setting.key))
        };
        merge(keys, key);
    }
    if !editing.is_empty() {
        let key = Key {
            default: default.filter(|_| is_edit_only(setting)),
            ..key(setting, editing, format!("{path}.edit.{}", setting.key))
        };
        merge(keys, key);
    }
}

fn key(setting: &Setting, variables: Vec<String>, path: String) -> Key {
    Key {
        name: variables.first().cloned().unwrap_or_default(),
        variables,
        shared: Vec::new(),
        secrets: Vec::new(),
        path,
        kind: match setting.kind {
            SettingKind::Secret => Secret,
            SettingKind::Url => Url,
            SettingKind::Integer => Integer,
            SettingKind::Boolean => Boolean,
            SettingKind::Text | SettingKind::Document | SettingKind::Choice(_) => Text,
        },
        default: None,
        doc: setting.description.clone(),
    }
}

/// A setting that the host knows by one of its variables keeps its name, path and kind.
fn merge(keys: &mut Vec<Key>, declared: Key) {
    let host = |name: &String| KEYS.iter().any(|(known, ..)| known == name);
    let Some(known) = declared.variables.iter().find(|name| host(name)).cloned() else {
        keys.push(declared);
        return;
    };
    let variables = declared.variables.into_iter();
    let variables = variables.filter(|name| *name == known || !host(name));
    if let Some(key) = keys.iter_mut().find(|key| key.name == known) {
        key.variables = variables.collect();
        key.shared = declared.shared;
        key.default = declared.default;
    }
}

/// A default's JSON as a variable would hold it.
fn plain(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        _ => json.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_sandbox::contract::Abilities;

    fn setting(key: &str, generating: &str, editing: &str, default: Option<&str>) -> Setting {
        let list = |names: &str| names.split_whitespace().map(str::to_owned).collect();
        Setting {
            key: key.into(),
            title: key.into(),
            description: format!("about {key}"),
            kind: SettingKind::Text,
            default: default.map(|text| Value::from(text).to_string()),
            generate_variables: list(generating),
            edit_variables: list(editing),
        }
    }

    fn check(settings: Vec<Setting>, name: &str, expected: &str) {
        let engine = Description {
            name: "draw".into(),
            title: "Draw".into(),
            version: "1".into(),
            abilities: Abilities::default(),
            settings,
            upstreams: Vec::new(),
        };
        let keys = keys([&engine]);
        let found = keys.iter().filter(|key| key.name == name);
        let found: Vec<String> = found
            .map(|key| {
                let (variables, shared) = (key.variables.join(" "), key.shared.join(" "));
                let default = key.default.as_deref().unwrap_or("-");
                format!("{} | {variables} | {shared} | {default}", key.path)
            })
            .collect();
        assert_eq!(found, [expected], "{name}");
    }

    #[test]
    fn what_an_engine_declares_has_a_path_of_its_own() {
        let url = setting(
            "url",
            "DRAW_URL ALL_URL",
            "EDIT_DRAW_URL ALL_URL",
            Some("u"),
        );
        check(
            vec![url.clone()],
            "DRAW_URL",
            "pinhole.engines.draw.url | DRAW_URL PINHOLE_DRAW_URL | ALL_URL | u",
        );
        check(
            vec![url],
            "EDIT_DRAW_URL",
            "pinhole.engines.draw.edit.url | EDIT_DRAW_URL |  | -",
        );
        check(
            vec![setting("note", "", "EDIT_DRAW_NOTE", Some("n"))],
            "EDIT_DRAW_NOTE",
            "pinhole.engines.draw.edit.note | EDIT_DRAW_NOTE PINHOLE_DRAW_NOTE |  | n",
        );
        check(
            vec![setting("own", "", "", None)],
            "PINHOLE_DRAW_OWN",
            "pinhole.engines.draw.own | PINHOLE_DRAW_OWN |  | -",
        );
    }

    #[test]
    fn what_open_webui_knows_keeps_its_name_in_all_spellings() {
        check(
            vec![setting(
                "params",
                "IMAGES_OPENAI_PARAMS IMAGES_OPENAI_API_PARAMS",
                "",
                None,
            )],
            "IMAGES_OPENAI_API_PARAMS",
            "image_generation.openai.params | IMAGES_OPENAI_PARAMS IMAGES_OPENAI_API_PARAMS PINHOLE_DRAW_PARAMS |  | -",
        );
        // A second of the host's own stays what it is.
        let both = || vec![setting("url", "COMFYUI_BASE_URL COMFYUI_API_KEY", "", None)];
        check(
            both(),
            "COMFYUI_API_KEY",
            "image_generation.comfyui.api_key | COMFYUI_API_KEY |  | -",
        );
        check(
            both(),
            "COMFYUI_BASE_URL",
            "image_generation.comfyui.base_url | COMFYUI_BASE_URL PINHOLE_DRAW_URL |  | -",
        );
    }

    #[test]
    fn every_name_and_path_is_there_once() {
        let keys = keys([]);
        for (index, key) in keys.iter().enumerate() {
            let same = |other: &Key| other.name == key.name || other.path == key.path;
            assert_eq!(keys.iter().position(same), Some(index), "{}", key.name);
        }
    }
}
