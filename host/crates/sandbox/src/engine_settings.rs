//! The settings of one engine: values that the engine reads, and secrets that stay with the host.

mod credential;
mod resolution;
mod value;

use std::collections::BTreeMap;

use pinhole_egress as egress;
use pinhole_egress::{LiveSecrets, Redactor};
use serde_json::Value;

use crate::contract::{Credential, Description, Setting, SettingKind, SettingValue, Upstream};

pub(crate) use credential::check_declared;
pub use credential::{
    CREDENTIAL_KEY, CredentialForm, EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY, HEADERS_KEY,
    check_headers,
};
use credential::{ConnectionCredential, declared_credential, secrets_of_setting};
pub(crate) use value::check_value;

/// The settings of one engine, either for generating or for editing.
#[derive(Clone, Default, PartialEq)]
pub struct EngineSettings {
    /// By key; defaults included.
    values: BTreeMap<String, Value>,
    /// By key.
    secrets: BTreeMap<String, String>,
    /// The operator's choice of the credential.
    credential: ConnectionCredential,
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

    /// The value of a setting that is no secret, or its default.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
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

    /// The credential of the engine's first upstream is the operator's choice, if there is one. Other upstreams
    /// have the declared one, and no header that the operator set.
    ///
    /// The error names the setting.
    pub(crate) fn upstream_credential(
        &self,
        description: &Description,
        upstream: &Upstream,
    ) -> Result<egress::Credential, String> {
        let key = upstream.secret_key();
        let secret = key.and_then(|key| self.secret(key));
        let is_first = description.upstreams.first().map(|it| &it.name) == Some(&upstream.name);
        let form = self.credential.form.as_ref().filter(|_| is_first);
        let secret_name = || self.setting_name(description, key.unwrap_or_default());
        let own = match (form, secret) {
            (Some(CredentialForm::None), _) => egress::Credential::default(),
            (None, _) => self.declared_credentials(description, upstream)?,
            (Some(_), None) => {
                let form_name = self.setting_name(description, CREDENTIAL_KEY);
                return Err(match key {
                    Some(_) => format!("{form_name} is set, but {} is not", secret_name()),
                    None => format!("{form_name} is set, but the engine has no key to send"),
                });
            }
            (Some(form), Some(secret)) => form
                .credential(secret)
                .map_err(|problem| format!("{} {problem}", secret_name()))?,
        };
        if !is_first {
            return Ok(own);
        }
        let mut headers = self.credential.headers.iter();
        headers
            .try_fold(own, |credential, (name, value)| {
                credential.with_header(name, value)
            })
            .map_err(|problem| {
                let form_name = self.setting_name(description, CREDENTIAL_KEY);
                let headers_name = self.setting_name(description, HEADERS_KEY);
                format!("{headers_name}: {problem}: remove it there, or set {form_name} to none")
            })
    }

    /// The credentials of an upstream as the engine declares them: those whose secrets are set.
    fn declared_credentials(
        &self,
        description: &Description,
        upstream: &Upstream,
    ) -> Result<egress::Credential, String> {
        let mut all = egress::Credential::default();
        for declared in &upstream.credentials {
            let credential = declared_credential(declared, |key| self.text(key));
            all = credential
                .and_then(|credential| all.merge(credential.unwrap_or_default()))
                .map_err(|problem| {
                    let label = setting_label(description, declared.secret_key());
                    format!("{label}: {problem}")
                })?;
        }
        Ok(all)
    }

    /// A setting of one line, or a secret.
    fn text(&self, key: &str) -> Option<&str> {
        let value = self.values.get(key).and_then(Value::as_str);
        value.filter(|text| !text.is_empty()).or(self.secret(key))
    }

    /// The name by which an administrator sets this key, or can set it.
    #[must_use]
    pub fn setting_name(&self, description: &Description, key: &str) -> String {
        if let Some(name) = self.name(key) {
            return name.to_owned();
        }
        description
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .and_then(|setting| setting.generate_variables.first().cloned())
            .unwrap_or_else(|| own_variable(&description.name, key))
    }

    /// True if both have the same upstream URLs and credentials.
    #[must_use]
    pub fn has_same_connections(&self, other: &Self, description: &Description) -> bool {
        self.credential == other.credential
            && description
                .settings
                .iter()
                .filter(|setting| is_connection_setting(setting))
                .all(|setting| {
                    let key = &setting.key;
                    self.url(key) == other.url(key) && self.secret(key) == other.secret(key)
                })
            && description
                .upstreams
                .iter()
                .flat_map(|upstream| &upstream.credentials)
                .flat_map(Credential::setting_keys)
                .all(|key| self.text(key) == other.text(key))
    }

    /// Finds these secrets in text, and those that the credentials of upstreams derive from them.
    #[must_use]
    pub fn redactor(&self, live: impl IntoIterator<Item = LiveSecrets>) -> Redactor {
        let keys = self
            .secrets
            .values()
            .flat_map(|secret| secrets_of_setting(secret));
        let secrets: Vec<String> = keys.chain(self.credential.secrets()).collect();
        Redactor::new(secrets.iter().map(String::as_str)).with_live(live)
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

/// The keys of the operator's own settings of an engine, which no engine can declare.
pub const RESERVED_KEYS: [&str; 5] = [
    IMAGE_HOSTS_KEY,
    CREDENTIAL_KEY,
    HEADERS_KEY,
    EDIT_CREDENTIAL_KEY,
    EDIT_HEADERS_KEY,
];

/// True if editing can have a connection of its own.
#[must_use]
pub fn has_edit_connection(description: &Description) -> bool {
    let mut settings = description.settings.iter();
    settings.any(|it| is_connection_setting(it) && !it.edit_variables.is_empty())
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

/// A setting as an operator knows it: `setting base-url (COMFYUI_BASE_URL)`.
pub(crate) fn setting_label(description: &Description, key: &str) -> String {
    let variables = description
        .settings
        .iter()
        .find(|setting| setting.key == key)
        .map(|setting| setting.generate_variables.join(" or "))
        .unwrap_or_default();
    if variables.is_empty() {
        return format!("setting {key}");
    }
    format!("setting {key} ({variables})")
}
