//! From environment variables to the settings of an engine.
//!
//! An API key must never be sent to a URL that it was not meant for. So a URL and a secret are taken from
//! the same side: once a variable for editing sets one of them, editing has a connection of its own, and
//! inherits no URL or secret from generating.

use pinhole_ground::environment::Environment;
use serde_json::Value;

use super::credential::ConnectionCredential;
use super::value::parse_value;
use super::{
    CREDENTIAL_KEY, EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY, EngineSettings, HEADERS_KEY,
    is_connection_setting, is_edit_only, may_be_empty, own_variable,
};
use crate::contract::{Description, Setting, SettingKind};

/// A variable that is set.
struct SetVariable {
    name: String,
    text: String,
}

impl EngineSettings {
    /// The settings for generating. A setting's value comes from the variables that the engine declares,
    /// then from its [own variable](own_variable), then from its default. A text that has a default is also
    /// empty if one of these variables is.
    ///
    /// The error names the unusable variable.
    pub fn for_generating(
        description: &Description,
        environment: &Environment,
    ) -> Result<Self, String> {
        let mut settings = Self::default();
        for setting in &description.settings {
            match find_generate_variable(description, environment, setting) {
                Some(variable) => settings.set(setting, &variable.name, &variable.text)?,
                None => settings.set_default(setting),
            }
        }
        settings.set_credential(description, environment, [CREDENTIAL_KEY, HEADERS_KEY])?;
        Ok(settings)
    }

    /// The settings for editing, if these are the settings for generating. A setting without a variable for
    /// editing has the same value as for generating.
    ///
    /// If a variable for editing sets a URL or a secret, editing has its own connection: all settings that
    /// declare variables for editing come from those variables, or are defaults, and so does the operator's
    /// choice of the credential.
    pub fn for_editing(
        &self,
        description: &Description,
        environment: &Environment,
    ) -> Result<Self, String> {
        let edit_credential = [EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY];
        let headers = own_variable(&description.name, EDIT_HEADERS_KEY);
        let has_own_connection = environment.for_engine(&headers).is_some()
            || description.settings.iter().any(|setting| {
                is_connection_setting(setting)
                    && find_edit_variable(description, environment, setting).is_some_and(
                        |variable| !setting.generate_variables.contains(&variable.name),
                    )
            });
        let mut settings = self.clone();
        if has_own_connection {
            settings.set_credential(description, environment, edit_credential)?;
        }
        for setting in &description.settings {
            match find_edit_variable(description, environment, setting) {
                Some(variable) if has_own_connection || !is_connection_setting(setting) => {
                    settings.remove(setting);
                    settings.set(setting, &variable.name, &variable.text)?;
                }
                None if has_own_connection && !setting.edit_variables.is_empty() => {
                    settings.remove(setting);
                    settings.set_default(setting);
                }
                _ => {}
            }
        }
        Ok(settings)
    }

    /// The same settings with another URL and key for the first upstream. All other URLs and secrets are
    /// removed: headers too, unless the URL is the current one.
    pub fn with_connection(
        &self,
        description: &Description,
        url: &str,
        key: Option<&str>,
    ) -> Result<Self, String> {
        let upstream = description
            .upstreams
            .first()
            .ok_or_else(|| format!("engine {} has no upstream", description.name))?;
        let secret_key = upstream.secret_key();
        let mut settings = self.clone();
        let current = self.url(&upstream.base_url).map(|it| it.url);
        if current.as_deref() != Some(url) {
            settings.credential.headers.clear();
        }
        for setting in &description.settings {
            if !is_connection_setting(setting) {
                continue;
            }
            settings.remove(setting);
            if setting.key == upstream.base_url {
                settings.set(setting, "url", url)?;
            } else if let Some(key) = key
                && secret_key == Some(setting.key.as_str())
            {
                settings.set(setting, "key", key)?;
            }
        }
        Ok(settings)
    }

    /// Refuses a choice of the credential that is not one, in the variables of this engine. The error names the
    /// variable.
    pub fn check_credential(
        description: &Description,
        environment: &Environment,
    ) -> Result<(), String> {
        for keys in [
            [CREDENTIAL_KEY, HEADERS_KEY],
            [EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY],
        ] {
            ConnectionCredential::from_environment(description, environment, keys)?;
        }
        Ok(())
    }

    /// Takes the operator's choice of the credential from the variables of these keys.
    fn set_credential(
        &mut self,
        description: &Description,
        environment: &Environment,
        keys: [&str; 2],
    ) -> Result<(), String> {
        self.credential = ConnectionCredential::from_environment(description, environment, keys)?;
        for (key, name) in [CREDENTIAL_KEY, HEADERS_KEY].into_iter().zip(keys) {
            let variable = own_variable(&description.name, name);
            self.variables.insert(key.to_owned(), variable);
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, variable: &str, text: &str) -> Result<(), String> {
        let value = parse_value(setting, text)
            .map_err(|problem| format!("cannot use variable {variable}: it {problem}"))?;
        let key = setting.key.clone();
        self.variables.insert(key.clone(), variable.to_owned());
        match (&setting.kind, value) {
            (SettingKind::Secret, Value::String(secret)) => {
                self.secrets.insert(key, secret);
            }
            (_, other) => {
                self.values.insert(key, other);
            }
        }
        Ok(())
    }

    /// A secret has no default.
    fn set_default(&mut self, setting: &Setting) {
        if let Some(default) = setting.default.as_deref() {
            let value = serde_json::from_str(default).unwrap_or(Value::Null);
            self.values.insert(setting.key.clone(), value);
        }
    }

    fn remove(&mut self, setting: &Setting) {
        self.values.remove(&setting.key);
        self.secrets.remove(&setting.key);
        self.variables.remove(&setting.key);
    }
}

/// The variable that sets a setting for generating.
fn find_generate_variable(
    description: &Description,
    environment: &Environment,
    setting: &Setting,
) -> Option<SetVariable> {
    let mut names = setting.generate_variables.clone();
    if !is_edit_only(setting) {
        names.push(own_variable(&description.name, &setting.key));
    }
    first_set(environment, &names).or_else(|| empty_text(environment, setting, &names))
}

/// The variable that sets a setting for editing.
fn find_edit_variable(
    description: &Description,
    environment: &Environment,
    setting: &Setting,
) -> Option<SetVariable> {
    let mut names = setting.edit_variables.clone();
    if is_edit_only(setting) {
        names.push(own_variable(&description.name, &setting.key));
        return first_set(environment, &names).or_else(|| empty_text(environment, setting, &names));
    }
    first_set(environment, &names)
}

fn first_set(environment: &Environment, names: &[String]) -> Option<SetVariable> {
    names.iter().find_map(|name| {
        let text = environment.for_engine(name)?.to_owned();
        Some(SetVariable {
            name: name.clone(),
            text,
        })
    })
}

/// An empty variable, if the setting may be empty.
fn empty_text(
    environment: &Environment,
    setting: &Setting,
    names: &[String],
) -> Option<SetVariable> {
    let is_empty = |name: &&String| environment.is_empty_for_engine(name);
    let name = names.iter().find(is_empty)?;
    may_be_empty(setting).then(|| SetVariable {
        name: name.clone(),
        text: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Abilities, Credential, Upstream};
    use crate::engine_settings::UrlSetting;

    fn setting(
        key: &str,
        kind: SettingKind,
        default: Option<&str>,
        variables: [&str; 2],
    ) -> Setting {
        let list = |names: &str| names.split_whitespace().map(str::to_owned).collect();
        Setting {
            key: key.into(),
            title: key.into(),
            description: String::new(),
            kind,
            default: default.map(|text| Value::from(text).to_string()),
            generate_variables: list(variables[0]),
            edit_variables: list(variables[1]),
        }
    }

    fn description() -> Description {
        use SettingKind::{Document, Secret, Text, Url};
        Description {
            name: "draw".into(),
            title: "Draw".into(),
            version: "1".into(),
            abilities: Abilities::default(),
            settings: vec![
                setting(
                    "base-url",
                    Url,
                    Some("https://draw"),
                    ["DRAW_URL", "EDIT_DRAW_URL"],
                ),
                setting(
                    "api-key",
                    Secret,
                    None,
                    ["DRAW_KEY COMMON_DRAW_KEY", "EDIT_DRAW_KEY COMMON_DRAW_KEY"],
                ),
                setting("params", Document, None, ["DRAW_PARAMS", ""]),
                setting(
                    "graph",
                    Document,
                    Some("g"),
                    ["DRAW_GRAPH", "EDIT_DRAW_GRAPH"],
                ),
                setting("edit-note", Text, None, ["", "EDIT_DRAW_NOTE"]),
            ],
            upstreams: Vec::new(),
            parameters: Vec::new(),
            other_parameters: false,
        }
    }

    /// Asserts base URL, key, params, graph and note, for generating and for editing.
    fn check(variables: &[(&str, &str)], generating: &str, editing: &str) {
        let pairs = variables
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        let environment = Environment::new(pairs);
        let description = description();
        let generate = EngineSettings::for_generating(&description, &environment).unwrap();
        let edit = generate.for_editing(&description, &environment).unwrap();
        let show = |settings: &EngineSettings| {
            let show_value = |key: &str| {
                let value = settings.values.get(key).and_then(Value::as_str);
                value.or(settings.secret(key)).unwrap_or("-").to_owned()
            };
            ["base-url", "api-key", "params", "graph", "edit-note"]
                .map(show_value)
                .join(" ")
        };
        assert_eq!(
            (show(&generate), show(&edit)),
            (generating.to_owned(), editing.to_owned())
        );
        assert_eq!(
            generate.has_same_connections(&edit, &description),
            show(&generate)
                .split(' ')
                .take(2)
                .eq(show(&edit).split(' ').take(2))
        );
    }

    #[test]
    fn text_with_default_can_be_set_to_empty() {
        check(
            &[("DRAW_GRAPH", "")],
            "https://draw - -  -",
            "https://draw - -  -",
        );
        check(
            &[("PINHOLE_DRAW_GRAPH", ""), ("DRAW_GRAPH", "h")],
            "https://draw - - h -",
            "https://draw - - h -",
        );
        // A URL cannot be empty, and an empty variable for editing inherits.
        check(
            &[("DRAW_URL", ""), ("DRAW_KEY", ""), ("EDIT_DRAW_GRAPH", "")],
            "https://draw - - g -",
            "https://draw - - g -",
        );
    }

    #[test]
    fn for_editing_inherits_settings_without_variables_for_editing() {
        check(&[], "https://draw - - g -", "https://draw - - g -");
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("DRAW_KEY", "k"),
                ("DRAW_PARAMS", "p"),
            ],
            "http://a k p g -",
            "http://a k p g -",
        );
        check(
            &[
                ("DRAW_GRAPH", "a"),
                ("EDIT_DRAW_GRAPH", "b"),
                ("EDIT_DRAW_NOTE", "n"),
            ],
            "https://draw - - a -",
            "https://draw - - b n",
        );
        check(
            &[
                ("PINHOLE_DRAW_BASE_URL", "http://a"),
                ("PINHOLE_DRAW_EDIT_NOTE", "n"),
            ],
            "http://a - - g -",
            "http://a - - g n",
        );
        check(
            &[
                ("EDIT_DRAW_URL", "http://b"),
                ("PINHOLE_DRAW_EDIT_NOTE", "n"),
            ],
            "https://draw - - g -",
            "http://b - - g n",
        );
    }

    #[test]
    fn for_editing_never_combines_url_and_secret_of_different_sides() {
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("DRAW_KEY", "k"),
                ("EDIT_DRAW_KEY", "e"),
            ],
            "http://a k - g -",
            "https://draw e - g -",
        );
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("DRAW_KEY", "k"),
                ("EDIT_DRAW_URL", "http://b"),
            ],
            "http://a k - g -",
            "http://b - - g -",
        );
        // Settings that only the other upstream understands are not inherited either.
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("DRAW_GRAPH", "x"),
                ("EDIT_DRAW_URL", "http://b"),
            ],
            "http://a - - x -",
            "http://b - - g -",
        );
        // This key is for both sides.
        check(
            &[("DRAW_URL", "http://a"), ("COMMON_DRAW_KEY", "c")],
            "http://a c - g -",
            "http://a c - g -",
        );
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("EDIT_DRAW_URL", "http://b"),
                ("COMMON_DRAW_KEY", "c"),
            ],
            "http://a c - g -",
            "http://b c - g -",
        );
    }

    #[test]
    fn with_connection_removes_all_other_urls_and_secrets() {
        let mut description = description();
        let spare = setting("spare-url", SettingKind::Url, None, ["DRAW_SPARE", ""]);
        description.settings.push(spare);
        description.upstreams = vec![Upstream {
            name: "api".into(),
            base_url: "base-url".into(),
            credentials: vec![Credential::Bearer("api-key".into())],
            requests: Vec::new(),
            hosts: Vec::new(),
            image_hosts: Vec::new(),
        }];
        let pairs = [
            ("DRAW_URL", "http://a"),
            ("DRAW_KEY", "k"),
            ("DRAW_SPARE", "http://spare"),
            ("DRAW_GRAPH", "x"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()));
        let generate =
            EngineSettings::for_generating(&description, &Environment::new(pairs)).unwrap();
        for key in [None, Some("b")] {
            let other = generate
                .with_connection(&description, "http://b", key)
                .unwrap();
            let url = UrlSetting {
                url: "http://b".into(),
                is_set: true,
            };
            assert_eq!(other.url("base-url"), Some(url));
            assert_eq!(other.secret("api-key"), key);
            assert_eq!(other.url("spare-url"), None);
            assert_eq!(other.values.get("graph"), Some(&Value::from("x")));
        }
    }

    #[test]
    fn for_editing_names_the_unusable_variable() {
        let pair = ("EDIT_DRAW_NOTE".to_owned(), "two\nlines".to_owned());
        let environment = Environment::new([pair]);
        let description = description();
        let generate = EngineSettings::for_generating(&description, &environment).unwrap();
        let error = generate
            .for_editing(&description, &environment)
            .unwrap_err();
        assert!(error.contains("EDIT_DRAW_NOTE"), "{error}");
    }
}
