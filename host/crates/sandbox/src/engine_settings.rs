//! One engine's settings, for generating and for editing.

use std::collections::BTreeMap;

use serde_json::Value;

use pinhole_ground::environment::Environment;
use pinhole_egress::Redactor;
use crate::contract::{Credential, Description, Setting, SettingKind, SettingValue};
use crate::admission::fits;

/// One engine's settings. Secrets stay with the host.
#[derive(Clone, Default, PartialEq)]
pub struct EngineSettings {
    values: BTreeMap<String, Value>,
    secrets: BTreeMap<String, String>,
    /// The variable that each key was read from, where an administrator has set one; all others
    /// are defaults of the engine's.
    variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for EngineSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.values.keys()).finish()
    }
}

impl EngineSettings {
    /// Reads an engine's settings for generating: the variables it declares, then the one that
    /// [`own_variable`] names, unless [only editing](only_edits) has the setting, then its default.
    ///
    /// The error names the variable that cannot be used.
    pub fn read(description: &Description, environment: &Environment) -> Result<Self, String> {
        let mut settings = Self::default();
        for setting in &description.settings {
            let own = Some(own_variable(&description.name, &setting.key));
            let own = own.filter(|_| !only_edits(setting));
            let mut variables = setting.generate_variables.iter().chain(&own);
            let found = variables.find_map(|name| Some((name, environment.for_engine(name)?)));
            match found {
                Some((variable, text)) => settings.take(setting, variable, text)?,
                None => settings.take_default(setting),
            }
        }
        Ok(settings)
    }

    /// The same for editing, where these are the settings for generating: a setting whose variables
    /// for editing are all unset keeps its value.
    ///
    /// Once a variable of the editing side sets an address or a secret, editing is another place: all
    /// settings that have variables for editing then come from them or are defaults. So no key is sent
    /// to an address that it was not meant for.
    pub fn for_editing(
        &self,
        description: &Description,
        environment: &Environment,
    ) -> Result<Self, String> {
        let found = |setting: &Setting| {
            let own = Some(own_variable(&description.name, &setting.key));
            let own = own.filter(|_| only_edits(setting));
            let mut variables = setting.edit_variables.iter().chain(&own);
            variables.find_map(|name| {
                let text = environment.for_engine(name)?;
                Some((name.clone(), text.to_owned()))
            })
        };
        let own_side = description.settings.iter().any(|setting| {
            let both = |name: &String| setting.generate_variables.contains(name);
            connects(setting) && found(setting).is_some_and(|(name, _)| !both(&name))
        });
        let mut settings = self.clone();
        for setting in &description.settings {
            match found(setting) {
                Some((variable, text)) if own_side || !connects(setting) => {
                    settings.forget(setting);
                    settings.take(setting, &variable, &text)?;
                }
                None if own_side && !setting.edit_variables.is_empty() => {
                    settings.forget(setting);
                    settings.take_default(setting);
                }
                _ => {}
            }
        }
        Ok(settings)
    }

    /// The same at another place that an administrator names: the first upstream's address, and the
    /// key it wants. No other address or key stays, so none is sent to a place it was not meant for.
    pub fn at(
        &self,
        description: &Description,
        url: &str,
        key: Option<&str>,
    ) -> Result<Self, String> {
        let first = description.upstreams.first();
        let first = first.ok_or_else(|| format!("engine {} has no address", description.name))?;
        let secret = match &first.credential {
            Credential::None => None,
            Credential::Bearer(key) | Credential::Basic(key) | Credential::Header((_, key)) => {
                Some(key)
            }
        };
        let mut settings = self.clone();
        for setting in description.settings.iter().filter(|it| connects(it)) {
            settings.forget(setting);
            if setting.key == first.base_url {
                settings.take(setting, "url", url)?;
            } else if let Some(key) = key.filter(|_| Some(&setting.key) == secret) {
                settings.take(setting, "key", key)?;
            }
        }
        Ok(settings)
    }

    /// The same, where an operator knows what sets these keys by other names.
    #[must_use]
    pub(crate) fn known_as(mut self, names: impl IntoIterator<Item = (String, String)>) -> Self {
        for (key, name) in names {
            if let Some(variable) = self.variables.get_mut(&key) {
                *variable = name;
            }
        }
        self
    }

    fn take(&mut self, setting: &Setting, variable: &str, text: &str) -> Result<(), String> {
        let value = parse(setting, text)
            .map_err(|why| format!("cannot use variable {variable}: it {why}"))?;
        let key = setting.key.clone();
        self.variables.insert(key.clone(), variable.to_owned());
        match (&setting.kind, value) {
            (SettingKind::Secret, Value::String(secret)) => {
                self.secrets.insert(key, secret);
            }
            (_, value) => {
                self.values.insert(key, value);
            }
        }
        Ok(())
    }

    /// A secret has no default.
    fn take_default(&mut self, setting: &Setting) {
        if let Some(default) = setting.default.as_deref() {
            let value = serde_json::from_str(default).unwrap_or(Value::Null);
            self.values.insert(setting.key.clone(), value);
        }
    }

    fn forget(&mut self, setting: &Setting) {
        self.values.remove(&setting.key);
        self.secrets.remove(&setting.key);
        self.variables.remove(&setting.key);
    }

    /// What the engine is handed: everything but secrets.
    #[must_use]
    pub fn values(&self) -> Vec<SettingValue> {
        let pair = |(key, value): (&String, &Value)| SettingValue {
            key: key.clone(),
            value: value.to_string(),
        };
        self.values.iter().map(pair).collect()
    }

    /// A URL, and whether an administrator named it.
    #[must_use]
    pub fn url(&self, key: &str) -> Option<(String, bool)> {
        let url = self.values.get(key)?.as_str()?;
        Some((url.to_owned(), self.variables.contains_key(key)))
    }

    /// A secret.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(String::as_str)
    }

    /// The variable that set this key.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.variables.get(key).map(String::as_str)
    }

    /// Do both lead to the same upstreams with the same credentials?
    #[must_use]
    pub fn connects_like(&self, other: &Self, description: &Description) -> bool {
        let mut settings = description.settings.iter().filter(|it| connects(it));
        settings.all(|setting| {
            let key = &setting.key;
            self.url(key) == other.url(key) && self.secret(key) == other.secret(key)
        })
    }

    /// What finds these secrets where they come back.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets.values().map(String::as_str))
    }
}

/// The variable by which every setting of every engine is known, such as `PINHOLE_OPENAI_SIZES`.
#[must_use]
pub fn own_variable(engine: &str, key: &str) -> String {
    format!("PINHOLE_{engine}_{key}")
        .replace('-', "_")
        .to_uppercase()
}

/// Is it a setting that only editing has? Then its own variable is one for editing.
#[must_use]
pub fn only_edits(setting: &Setting) -> bool {
    setting.generate_variables.is_empty() && !setting.edit_variables.is_empty()
}

/// Does it say where to connect, or with what?
pub(crate) fn connects(setting: &Setting) -> bool {
    matches!(setting.kind, SettingKind::Url | SettingKind::Secret)
}

fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    let value = match setting.kind {
        SettingKind::Integer => text.trim().parse::<i64>().map_or(Value::Null, Value::from),
        SettingKind::Boolean => Value::from(text.eq_ignore_ascii_case("true")),
        _ => Value::from(text),
    };
    fits(&setting.kind, &value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Abilities;
    use crate::contract::exports::pinhole::engine::engine::Upstream;

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
        }
    }

    /// Base URL, key, params, graph and note, when generating and when editing.
    fn check(variables: &[(&str, &str)], generating: &str, editing: &str) {
        let pairs = variables.iter();
        let environment =
            Environment::new(pairs.map(|(name, text)| ((*name).into(), (*text).into())));
        let description = description();
        let read = EngineSettings::read(&description, &environment).unwrap();
        let edit = read.for_editing(&description, &environment).unwrap();
        let shown = |settings: &EngineSettings| {
            let text = |key: &str| {
                let value = settings.values.get(key).and_then(Value::as_str);
                value.or(settings.secret(key)).unwrap_or("-").to_owned()
            };
            ["base-url", "api-key", "params", "graph", "edit-note"]
                .map(text)
                .join(" ")
        };
        assert_eq!(
            (shown(&read), shown(&edit)),
            (generating.to_owned(), editing.to_owned())
        );
        assert_eq!(
            read.connects_like(&edit, &description),
            shown(&read)
                .split(' ')
                .take(2)
                .eq(shown(&edit).split(' ').take(2))
        );
    }

    #[test]
    fn editing_takes_what_generating_has_where_it_has_nothing_of_its_own() {
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
    fn a_key_never_goes_to_an_address_of_the_other_side() {
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
        // Nor anything else that only the other place understands.
        check(
            &[
                ("DRAW_URL", "http://a"),
                ("DRAW_GRAPH", "x"),
                ("EDIT_DRAW_URL", "http://b"),
            ],
            "http://a - - x -",
            "http://b - - g -",
        );
        // A key that is meant for both.
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
    fn another_place_gets_the_key_that_is_named_with_it_and_no_other() {
        let mut description = description();
        let spare = setting("spare-url", SettingKind::Url, None, ["DRAW_SPARE", ""]);
        description.settings.push(spare);
        description.upstreams = vec![Upstream {
            name: "api".into(),
            base_url: "base-url".into(),
            credential: Credential::Bearer("api-key".into()),
            requests: Vec::new(),
        }];
        let pairs = [
            ("DRAW_URL", "http://a"),
            ("DRAW_KEY", "k"),
            ("DRAW_SPARE", "http://spare"),
            ("DRAW_GRAPH", "x"),
        ];
        let pairs = pairs.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let read = EngineSettings::read(&description, &Environment::new(pairs)).unwrap();
        for key in [None, Some("b")] {
            let other = read.at(&description, "http://b", key).unwrap();
            assert_eq!(other.url("base-url"), Some(("http://b".to_owned(), true)));
            assert_eq!(other.secret("api-key"), key);
            assert_eq!(other.url("spare-url"), None);
            assert_eq!(other.values.get("graph"), Some(&Value::from("x")));
        }
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named() {
        let pair = ("EDIT_DRAW_NOTE".to_owned(), "two\nlines".to_owned());
        let environment = Environment::new([pair]);
        let description = description();
        let read = EngineSettings::read(&description, &environment).unwrap();
        let error = read.for_editing(&description, &environment).unwrap_err();
        assert!(error.contains("EDIT_DRAW_NOTE"), "{error}");
    }
}
