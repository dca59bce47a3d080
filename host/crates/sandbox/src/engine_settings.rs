//! The settings of one engine: values that the engine reads, and secrets that stay with the host.

mod resolution;
mod value;

use std::collections::BTreeMap;

use pinhole_egress::Redactor;
use serde_json::Value;

use crate::contract::{Description, Setting, SettingKind, SettingValue};

pub(crate) use value::check_value;

/// The settings of one engine, either for generating or for editing.
#[derive(Clone, Default, PartialEq)]
pub struct EngineSettings {
    /// By key; defaults included.
    values: BTreeMap<String, Value>,
    /// By key.
    secrets: BTreeMap<String, String>,
    /// By key: the variable that an administrator set. Other values are defaults of the engine.
    variables: BTreeMap<String, String>,
    /// By key: the name of a setting that is unset, if it is not a variable of the engine.
    unset_names: BTreeMap<String, String>,
}

/// The URL in a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlSetting {
    pub url: String,
    /// True if an administrator set it. False for the engine's default.
    pub is_set: bool,
}

impl EngineSettings {
    /// The values that the engine receives, without secrets.
    #[must_use]
    pub fn values(&self) -> Vec<SettingValue> {
        self.values
            .iter()
            .map(|(key, value)| SettingValue {
                key: key.clone(),
                value: value.to_string(),
            })
            .collect()
    }

    #[must_use]
    pub fn url(&self, key: &str) -> Option<UrlSetting> {
        let url = self.values.get(key)?.as_str()?;
        Some(UrlSetting {
            url: url.to_owned(),
            is_set: self.variables.contains_key(key),
        })
    }

    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(String::as_str)
    }

    /// The variable that set this key, if an administrator set it.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.variables.get(key).map(String::as_str)
    }

    /// The name by which an administrator sets this key; `None` if it is unset and the engine's variables set
    /// it.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<&str> {
        let name = self.variables.get(key).or(self.unset_names.get(key));
        name.map(String::as_str)
    }

    /// Replaces the names of variables by those that an operator knows. Each pair is a key and a name.
    #[must_use]
    pub fn with_variable_names(
        mut self,
        names: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        for (key, name) in names {
            match self.variables.get_mut(&key) {
                Some(variable) => *variable = name,
                None => {
                    self.unset_names.insert(key, name);
                }
            }
        }
        self
    }

    /// True if both have the same upstream URLs and credentials.
    #[must_use]
    pub fn has_same_connections(&self, other: &Self, description: &Description) -> bool {
        description
            .settings
            .iter()
            .filter(|setting| is_connection_setting(setting))
            .all(|setting| {
                let key = &setting.key;
                self.url(key) == other.url(key) && self.secret(key) == other.secret(key)
            })
    }

    /// Finds these secrets in text.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets.values().map(String::as_str))
    }
}

/// Shows keys only, because values may be private.
impl std::fmt::Debug for EngineSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.values.keys()).finish()
    }
}

/// The key of the operator's list of hosts from which images may be fetched. It is a setting of every engine,
/// and none that an engine declares.
pub const IMAGE_HOSTS_KEY: &str = "image-hosts";

/// The variable that every setting of every engine has, such as `PINHOLE_OPENAI_SIZES`.
#[must_use]
pub fn own_variable(engine: &str, key: &str) -> String {
    format!("PINHOLE_{engine}_{key}")
        .replace('-', "_")
        .to_uppercase()
}

/// True if an empty text has a meaning that differs from the setting's default.
#[must_use]
pub fn may_be_empty(setting: &Setting) -> bool {
    matches!(setting.kind, SettingKind::Text | SettingKind::Document) && setting.default.is_some()
}

/// True if a setting exists for editing only. Its own variable is then for editing.
#[must_use]
pub fn is_edit_only(setting: &Setting) -> bool {
    setting.generate_variables.is_empty() && !setting.edit_variables.is_empty()
}

/// True for URLs and secrets, which determine the upstream.
#[must_use]
pub fn is_connection_setting(setting: &Setting) -> bool {
    matches!(setting.kind, SettingKind::Url | SettingKind::Secret)
}
