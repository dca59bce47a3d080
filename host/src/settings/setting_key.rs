//! The settings that can be changed while the server runs: name, variables, path and kind of each.

use pinhole_sandbox::contract::{Description, Setting, SettingKind};
use pinhole_sandbox::engine_settings::{
    CREDENTIAL_KEY, EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY, HEADERS_KEY, IMAGE_HOSTS_KEY,
    has_edit_connection, is_edit_only, may_be_empty, own_variable,
};
use serde_json::Value;

use super::engine_choice::ENGINE;
use super::form_field::{FormField, SettingMode};
use super::host_settings::HOST_SETTINGS;
use super::value_kind::ValueKind;

/// One setting.
#[derive(Clone, Debug)]
pub struct SettingKey {
    /// The environment variable that names it.
    pub name: String,
    /// All variables that set it, including `name`. The first one that is set applies.
    pub variables: Vec<String>,
    /// Variables that apply if none of `variables` is set, and that other settings share.
    pub shared_variables: Vec<String>,
    /// The key in the database: a dotted path.
    pub path: String,
    pub kind: ValueKind,
    /// An empty text is a value, and does not mean that the setting is unset.
    pub may_be_empty: bool,
    /// Which members are secrets, for [`ValueKind::SecretObject`].
    pub secret_members: SecretMembers,
    /// The default that an engine declares.
    pub default: Option<String>,
    pub description: String,
    pub form_field: FormField,
}

impl SettingKey {
    /// Whether a message for the operator names the setting, by any of its variables.
    #[must_use]
    pub fn is_named_in(&self, message: &str) -> bool {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut words = message.split(|c| !is_name(c));
        words.any(|word| self.variables.iter().any(|variable| variable == word))
    }
}

/// The members of a document that are secrets.
#[derive(Clone, Debug)]
pub enum SecretMembers {
    All,
    /// Those with these names, in addition to names that end like those of secrets.
    Named(Vec<String>),
}

impl SecretMembers {
    fn none() -> Self {
        Self::Named(Vec::new())
    }
}

/// All settings: the server's own, and those that these engines declare.
pub fn setting_keys<'a>(engines: impl IntoIterator<Item = &'a Description>) -> Vec<SettingKey> {
    let mut keys: Vec<SettingKey> = HOST_SETTINGS
        .iter()
        .map(|setting| SettingKey {
            name: setting.name.to_owned(),
            variables: vec![setting.name.to_owned()],
            shared_variables: Vec::new(),
            secret_members: SecretMembers::none(),
            path: setting.path.to_owned(),
            kind: setting.kind,
            may_be_empty: setting.name == ENGINE,
            default: None,
            description: setting.description.to_owned(),
            form_field: setting.form_field(),
        })
        .collect();
    for engine in engines {
        if !engine.upstreams.is_empty() {
            keys.push(image_hosts_key(engine));
            keys.extend(credential_keys(engine));
        }
        for setting in &engine.settings {
            for key in engine_keys(engine, setting) {
                add_engine_key(&mut keys, key);
            }
            if matches!(setting.kind, SettingKind::Secret) {
                for key in &mut keys {
                    if let SecretMembers::Named(members) = &mut key.secret_members {
                        members.push(setting.key.clone());
                    }
                }
            }
        }
    }
    keys
}

/// The variables of the server's own settings, and of those that Open WebUI has for its engines.
pub fn host_variables() -> impl Iterator<Item = (&'static str, ValueKind)> {
    HOST_SETTINGS.iter().map(|it| (it.name, it.kind))
}

/// The key of the operator's list of image hosts of an engine.
fn image_hosts_key(engine: &Description) -> SettingKey {
    let (name, title) = (own_variable(&engine.name, IMAGE_HOSTS_KEY), &engine.title);
    SettingKey {
        variables: vec![name.clone()],
        name,
        shared_variables: Vec::new(),
        secret_members: SecretMembers::none(),
        path: format!("pinhole.engines.{}.{IMAGE_HOSTS_KEY}", engine.name),
        kind: ValueKind::Text,
        may_be_empty: false,
        default: None,
        form_field: FormField::of_engine(
            "Image hosts".to_owned(),
            &engine.name,
            IMAGE_HOSTS_KEY,
            SettingMode::Both,
        ),
        description: format!(
            "{title}: hosts from which images may be fetched if a response has their URL, separated by \
             commas: cdn.example.com, *.example.com, * for any public host, or a URL such as \
             http://10.0.0.5:9000, whose IP address may be private. Empty means the hosts that the engine \
             declares."
        ),
    }
}

/// The keys of the operator's choice of an engine's credential, also for editing if it can have a connection
/// of its own.
fn credential_keys(engine: &Description) -> Vec<SettingKey> {
    let title = &engine.title;
    let new_key = |key, kind, description| credential_key(engine, key, kind, description);
    let mut keys = vec![
        new_key(
            CREDENTIAL_KEY,
            ValueKind::Text,
            format!(
                "{title}: form in which the key is sent: none, bearer, basic (the key is user:password), \
                 header NAME, header NAME PREFIX, or query NAME. Empty: as the engine declares it."
            ),
        ),
        new_key(
            HEADERS_KEY,
            ValueKind::SecretObject,
            format!(
                "{title}: further headers with secrets, as a JSON object of names and values, such as those \
                 of Cloudflare Access. They are redacted in responses."
            ),
        ),
    ];
    if has_edit_connection(engine) {
        keys.push(new_key(
            EDIT_CREDENTIAL_KEY,
            ValueKind::Text,
            format!("{title} for edits: the form, if edits have a URL or a key of their own."),
        ));
        keys.push(new_key(
            EDIT_HEADERS_KEY,
            ValueKind::SecretObject,
            format!("{title} for edits: the headers, if edits have a URL or a key of their own."),
        ));
    }
    keys
}

fn credential_key(
    engine: &Description,
    key: &str,
    kind: ValueKind,
    description: String,
) -> SettingKey {
    let name = own_variable(&engine.name, key);
    let path_key = key.replacen("edit-", "edit.", 1);
    let is_object = kind == ValueKind::SecretObject;
    let title = if is_object {
        "Headers"
    } else {
        "Form of the key"
    };
    let mode = match (has_edit_connection(engine), key.starts_with("edit-")) {
        (false, _) => SettingMode::Both,
        (true, false) => SettingMode::Generate,
        (true, true) => SettingMode::Edit,
    };
    SettingKey {
        variables: vec![name.clone()],
        name,
        shared_variables: Vec::new(),
        secret_members: SecretMembers::All,
        path: format!("pinhole.engines.{}.{path_key}", engine.name),
        kind,
        may_be_empty: false,
        default: None,
        description,
        form_field: FormField {
            is_multiline: is_object,
            ..FormField::of_engine(title.to_owned(), &engine.name, key, mode)
        },
    }
}

/// The keys of an engine's setting: one, or two if editing can have another value.
fn engine_keys(engine: &Description, setting: &Setting) -> Vec<SettingKey> {
    let (generate, edit) = (&setting.generate_variables, &setting.edit_variables);
    let mut generate_only = difference(generate, edit);
    let mut edit_only = difference(edit, generate);
    let own = own_variable(&engine.name, &setting.key);
    if is_edit_only(setting) {
        edit_only.push(own);
    } else {
        generate_only.push(own);
    }
    let default = setting.default.as_deref().map(json_to_text);
    let (engine_name, key) = (&engine.name, &setting.key);
    let edit_key = format!("edit-{key}");
    let is_edit_key = |it: &Setting| it.key == edit_key && is_edit_only(it);
    let has_edit_value = !edit_only.is_empty() || engine.settings.iter().any(is_edit_key);
    let mut keys = Vec::new();
    if !generate_only.is_empty() {
        let shared = generate.iter().filter(|name| edit.contains(name));
        let mode = if has_edit_value {
            SettingMode::Generate
        } else {
            SettingMode::Both
        };
        keys.push(SettingKey {
            shared_variables: shared.cloned().collect(),
            default: default.clone(),
            ..new_key(
                setting,
                form_field(engine, setting, mode),
                generate_only,
                format!("pinhole.engines.{engine_name}.{key}"),
            )
        });
    }
    if !edit_only.is_empty() {
        keys.push(SettingKey {
            default: if is_edit_only(setting) { default } else { None },
            may_be_empty: is_edit_only(setting) && may_be_empty(setting),
            ..new_key(
                setting,
                form_field(engine, setting, SettingMode::Edit),
                edit_only,
                format!("pinhole.engines.{engine_name}.edit.{key}"),
            )
        });
    }
    keys
}

fn form_field(engine: &Description, setting: &Setting, mode: SettingMode) -> FormField {
    let choices = match &setting.kind {
        SettingKind::Choice(choices) => choices.clone(),
        _ => Vec::new(),
    };
    FormField {
        choices,
        is_multiline: matches!(setting.kind, SettingKind::Document),
        ..FormField::of_engine(setting.title.clone(), &engine.name, &setting.key, mode)
    }
}

fn difference(names: &[String], other: &[String]) -> Vec<String> {
    let difference = names.iter().filter(|name| !other.contains(name));
    difference.cloned().collect()
}

fn new_key(
    setting: &Setting,
    form_field: FormField,
    variables: Vec<String>,
    path: String,
) -> SettingKey {
    SettingKey {
        name: variables.first().cloned().unwrap_or_default(),
        variables,
        shared_variables: Vec::new(),
        secret_members: SecretMembers::none(),
        path,
        kind: match setting.kind {
            SettingKind::Secret => ValueKind::Secret,
            SettingKind::Url => ValueKind::Url,
            SettingKind::Integer => ValueKind::Integer,
            SettingKind::Boolean => ValueKind::Boolean,
            SettingKind::Text | SettingKind::Document | SettingKind::Choice(_) => ValueKind::Text,
        },
        may_be_empty: may_be_empty(setting),
        default: None,
        description: setting.description.clone(),
        form_field,
    }
}

/// Adds an engine's key. If one of its variables is a host setting, that one keeps its name, path and kind.
fn add_engine_key(keys: &mut Vec<SettingKey>, key: SettingKey) {
    let is_host_setting = |name: &String| HOST_SETTINGS.iter().any(|it| it.name == name);
    let host_name = key.variables.iter().find(|name| is_host_setting(name));
    let Some(host_name) = host_name.cloned() else {
        keys.push(key);
        return;
    };
    if let Some(host_key) = keys.iter_mut().find(|it| it.name == host_name) {
        let variables = key.variables.into_iter();
        host_key.variables = variables
            .filter(|name| *name == host_name || !is_host_setting(name))
            .collect();
        host_key.shared_variables = key.shared_variables;
        host_key.default = key.default;
        host_key.form_field = FormField {
            is_multiline: host_key.form_field.is_multiline || key.form_field.is_multiline,
            ..key.form_field
        };
    }
}

/// A default's JSON as the text of a variable.
fn json_to_text(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        _ => json.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            settings,
            ..Description::default()
        };
        let keys = setting_keys([&engine]);
        let found: Vec<String> = keys
            .iter()
            .filter(|key| key.name == name)
            .map(|key| {
                let (variables, shared) = (key.variables.join(" "), key.shared_variables.join(" "));
                let default = key.default.as_deref().unwrap_or("-");
                format!("{} | {variables} | {shared} | {default}", key.path)
            })
            .collect();
        assert_eq!(found, [expected], "{name}");
    }

    #[test]
    fn setting_keys_give_engine_settings_paths_of_their_own() {
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
    fn setting_keys_keep_names_and_paths_of_open_webui() {
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
        // A second host setting among the variables stays a setting of its own.
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

    /// Label, mode and choices of a setting of the engine `draw`.
    fn field(settings: &[Setting], name: &str) -> String {
        let engine = Description {
            name: "draw".into(),
            settings: settings.to_vec(),
            ..Description::default()
        };
        let keys = setting_keys([&engine]);
        let found = keys.iter().find(|key| key.name == name).unwrap();
        let field = &found.form_field;
        let place = field
            .engine
            .as_ref()
            .map(|it| format!("{} {} {:?}", it.engine, it.key, it.mode));
        let FormField {
            title,
            group,
            choices,
            ..
        } = field;
        let place = place.unwrap_or_default();
        format!("{title} {group:?} {choices:?} {place}")
    }

    #[test]
    fn setting_keys_know_their_place_in_a_form() {
        let mut style = setting("style", "DRAW_STYLE", "", None);
        style.kind = SettingKind::Choice(vec!["a".into(), "b".into()]);
        let settings = [
            style,
            setting("url", "DRAW_URL", "EDIT_DRAW_URL", None),
            setting("params", "AUTOMATIC1111_PARAMS", "", None),
            setting("edit-params", "", "EDIT_DRAW_PARAMS", None),
        ];
        for (name, expected) in [
            ("DRAW_STYLE", "style Engine [\"a\", \"b\"] draw style Both"),
            ("DRAW_URL", "url Engine [] draw url Generate"),
            ("EDIT_DRAW_URL", "url Engine [] draw url Edit"),
            // Edits have another setting in its place.
            (
                "AUTOMATIC1111_PARAMS",
                "params Engine [] draw params Generate",
            ),
            (
                "EDIT_DRAW_PARAMS",
                "edit-params Engine [] draw edit-params Edit",
            ),
            ("IMAGE_STEPS", "Steps Images [] "),
            (
                "DEFAULT_USER_ROLE",
                "Role of new users Accounts [\"pending\", \"user\", \"admin\"] ",
            ),
        ] {
            assert_eq!(field(&settings, name), expected, "{name}");
        }
    }

    #[test]
    fn setting_is_named_by_whole_variables() {
        let keys = setting_keys([]);
        let named = |message: &str| -> Vec<String> {
            let named = keys.iter().filter(|key| key.is_named_in(message));
            named.map(|key| key.name.clone()).collect()
        };
        assert_eq!(named("IMAGE_SIZE \"x\" is neither"), ["IMAGE_SIZE"]);
        let binding = "set PINHOLE_BINDINGS (photo, base-url): it is no URL";
        assert_eq!(named(binding), ["PINHOLE_BINDINGS"]);
        assert_eq!(named("IMAGE_SIZES and image_size"), [""; 0]);
    }

    #[test]
    fn setting_keys_have_unique_names_and_paths() {
        let keys = setting_keys([]);
        for (index, key) in keys.iter().enumerate() {
            let same = |other: &SettingKey| other.name == key.name || other.path == key.path;
            assert_eq!(keys.iter().position(same), Some(index), "{}", key.name);
        }
    }
}
