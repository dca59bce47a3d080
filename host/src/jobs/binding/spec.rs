//! The configuration of a binding, as an operator writes it in `PINHOLE_BINDINGS`.

use std::collections::BTreeMap;

use pinhole_egress::Tls;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::contract::{Description, Setting};
use pinhole_sandbox::engine_settings::{
    CREDENTIAL_KEY, CredentialForm, EDIT_CREDENTIAL_KEY, EDIT_HEADERS_KEY, EngineSettings,
    HEADERS_KEY, IMAGE_HOSTS_KEY, check_headers, is_connection_setting, is_edit_only, own_variable,
};
use pinhole_sandbox::grant::ImageHostSetting;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::MAX_SLOTS;
use crate::jobs::request::MAX_STEPS;
use crate::jobs::size::parse_size;

/// The variable that contains the bindings.
pub const BINDINGS: &str = "PINHOLE_BINDINGS";
/// Bindings that an operator may define.
pub const MAX_BINDINGS: usize = 64;
/// The key of the setting by which an engine declares how many jobs its upstream does at the same time.
const CONCURRENCY_KEY: &str = "concurrency";
/// Length of a binding's name in bytes.
const MAX_NAME_BYTES: usize = 40;
/// Groups, and chat models, in each list of one binding.
const MAX_LIST_ENTRIES: usize = 256;

/// The configuration of one binding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::jobs) struct BindingSpec {
    /// The engine's name. By default the binding's own.
    engine: Option<String>,
    /// By the engine's setting keys. A missing setting has the engine's own value.
    settings: Map<String, Value>,
    /// The same for editing only.
    edit_settings: Map<String, Value>,
    /// The form in which the engine's key is sent, in place of the one that the engine declares.
    credential: Option<String>,
    /// Headers with secrets, by name.
    headers: Option<Map<String, Value>>,
    /// The same for editing only, if editing has a connection of its own.
    edit_credential: Option<String>,
    edit_headers: Option<Map<String, Value>>,
    pub(super) model: Option<String>,
    pub(super) size: Option<String>,
    pub(super) steps: Option<u32>,
    pub(super) edit_model: Option<String>,
    pub(super) edit_size: Option<String>,
    /// The hosts from which images may be fetched, in place of those that the engine declares.
    image_hosts: Option<Vec<String>>,
    /// Certificates in addition to the system's, for this binding's upstreams only.
    pub(super) tls: Tls,
    /// The groups whose members may use it. `None` means all users.
    pub(in crate::jobs) groups: Option<Vec<String>>,
    /// The groups whose members use it by default.
    pub(in crate::jobs) preferred_by: Vec<String>,
    /// The models whose chats use it by default.
    pub(in crate::jobs) chat_models: Vec<String>,
    /// Jobs of the binding that run at the same time.
    concurrency: Option<u32>,
}

/// Parses the bindings. The error names the invalid part.
pub(in crate::jobs) fn parse_bindings(
    environment: &Environment,
) -> Result<BTreeMap<String, BindingSpec>, String> {
    let Some(text) = environment.get(BINDINGS) else {
        return Ok(BTreeMap::new());
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The value may be a secret, so the error does not repeat it.
    let specs: BTreeMap<String, BindingSpec> = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| {
            format!(
                "{BINDINGS} is not a JSON object of bindings: see {}, line {}, column {}",
                error.path(),
                error.inner().line(),
                error.inner().column()
            )
        })?;
    if specs.len() > MAX_BINDINGS {
        return Err(format!(
            "{BINDINGS} defines {} bindings, more than the {MAX_BINDINGS} allowed",
            specs.len()
        ));
    }
    for (name, spec) in &specs {
        spec.check(name)
            .map_err(|why| format!("{BINDINGS}: binding {name:?}: {why}"))?;
    }
    Ok(specs)
}

impl BindingSpec {
    /// The engine of a binding with this name.
    pub(in crate::jobs) fn engine<'a>(&'a self, name: &'a str) -> &'a str {
        self.engine.as_deref().unwrap_or(name)
    }

    /// Jobs of the binding that run at the same time, if something limits them: the binding itself, the variable
    /// of the engine for the binding of the engine's own name, or the default of the engine's setting.
    pub(super) fn concurrency(
        &self,
        name: &str,
        description: &Description,
        environment: &Environment,
    ) -> Result<Option<u32>, String> {
        if self.concurrency.is_some() {
            return Ok(self.concurrency);
        }
        let mut declared = description.settings.iter();
        let default = declared
            .find(|setting| setting.key == CONCURRENCY_KEY)
            .and_then(|setting| setting.default.as_deref()?.parse().ok())
            .filter(|number| check_concurrency(*number).is_ok());
        let variable = own_variable(name, CONCURRENCY_KEY);
        let text = environment
            .get(&variable)
            .filter(|_| self.engine(name) == name);
        let Some(text) = text else {
            return Ok(default);
        };
        let number = text.trim().parse().unwrap_or(0);
        check_concurrency(number).map_err(|why| format!("{variable} is {text:?}: it {why}"))?;
        Ok(Some(number))
    }

    /// The keys of all settings in it.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.settings.keys().chain(self.edit_settings.keys())
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_allowed) {
            return Err(format!(
                "the name must be 1 to {MAX_NAME_BYTES} lowercase letters, digits and dashes"
            ));
        }
        for size in [&self.size, &self.edit_size].into_iter().flatten() {
            parse_size(size).map_err(|why| format!("size {why}"))?;
        }
        if self
            .steps
            .is_some_and(|steps| !(1..=MAX_STEPS).contains(&steps))
        {
            return Err(format!("steps must be from 1 to {MAX_STEPS}"));
        }
        if let Some(number) = self.concurrency {
            check_concurrency(number).map_err(|why| format!("concurrency {why}"))?;
        }
        self.check_credentials()?;
        let groups = self.groups.as_ref().map_or(0, Vec::len);
        let lengths = [groups, self.preferred_by.len(), self.chat_models.len()];
        if lengths.iter().any(|length| *length > MAX_LIST_ENTRIES) {
            return Err(format!(
                "more than {MAX_LIST_ENTRIES} groups or chat models"
            ));
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<(), String> {
        for (field, form) in [
            ("credential", &self.credential),
            ("edit_credential", &self.edit_credential),
        ] {
            if let Some(form) = form.as_ref().filter(|form| !form.is_empty()) {
                CredentialForm::parse(form).map_err(|why| format!("{field} {why}"))?;
            }
        }
        for (field, headers) in [
            ("headers", &self.headers),
            ("edit_headers", &self.edit_headers),
        ] {
            if let Some(headers) = headers {
                check_headers(headers).map_err(|why| format!("{field} {why}"))?;
            }
        }
        Ok(())
    }

    /// The hosts from which images may be fetched. The error names the setting.
    ///
    /// A binding without a list of its own has that of the engine's variable, unless it has its own
    /// connection: an upstream must not name URLs in a network that the operator opened for another one.
    pub(in crate::jobs) fn image_hosts(
        &self,
        name: &str,
        description: &Description,
        environment: &Environment,
    ) -> Result<ImageHostSetting, String> {
        let variable = own_variable(&description.name, IMAGE_HOSTS_KEY);
        let is_json = self.image_hosts.is_some() || self.has_own_connection(description);
        let sources = match &self.image_hosts {
            Some(hosts) => Some(ImageHostSetting::parse(hosts.iter().map(String::as_str))),
            None if is_json => None,
            None => environment
                .get(&variable)
                .map(|text| ImageHostSetting::parse(text.split(',').map(str::trim))),
        };
        let setting_name = if is_json {
            format!("{BINDINGS} ({name}, image_hosts)")
        } else {
            variable
        };
        Ok(ImageHostSetting {
            sources: sources
                .transpose()
                .map_err(|why| format!("{setting_name} cannot be used: {why}"))?,
            name: setting_name,
            is_json,
        })
    }

    /// True if the binding has a URL or a secret of its own.
    pub(super) fn has_own_connection(&self, description: &Description) -> bool {
        let mut headers = [&self.headers, &self.edit_headers].into_iter().flatten();
        headers.any(|headers| !headers.is_empty())
            || description.settings.iter().any(|setting| {
                is_connection_setting(setting) && self.keys().any(|key| *key == setting.key)
            })
    }

    /// The variables as the binding's engine reads them.
    ///
    /// If the binding has its own URL or secret, it inherits no URL and no secret from the engine's
    /// variables, so that no key is sent to a URL that it was not meant for.
    pub(super) fn environment(
        &self,
        name: &str,
        description: &Description,
        environment: &Environment,
    ) -> Result<Environment, String> {
        self.check_keys(name, description)?;
        let is_own = |setting: &Setting| self.keys().any(|key| *key == setting.key);
        let has_own_connection = self.has_own_connection(description);
        let (mut hidden, mut overlay) = (Vec::new(), Vec::new());
        for setting in &description.settings {
            let key = &setting.key;
            let variable = own_variable(&description.name, key);
            if is_own(setting) || (has_own_connection && is_connection_setting(setting)) {
                hidden.extend(setting.generate_variables.iter().cloned());
                hidden.extend(setting.edit_variables.iter().cloned());
                hidden.push(variable.clone());
            }
            if let Some(value) = self.settings.get(key) {
                overlay.push((variable.clone(), to_variable(value)));
            }
            if let Some(value) = self.edit_settings.get(key) {
                let edit_variable = if is_edit_only(setting) {
                    Some(variable)
                } else {
                    setting.edit_variables.first().cloned()
                };
                let edit_variable = edit_variable.ok_or_else(|| {
                    format!(
                        "{BINDINGS} ({name}): the setting {key} cannot differ for editing: move it from edit_settings to settings"
                    )
                })?;
                overlay.push((edit_variable, to_variable(value)));
            }
        }
        let own_credentials = self.credentials();
        for key in CREDENTIAL_KEYS {
            let variable = own_variable(&description.name, key);
            match own_credentials.iter().find(|(own, _)| *own == key) {
                Some((_, text)) => overlay.push((variable, text.clone())),
                None if has_own_connection => hidden.push(variable),
                None => {}
            }
        }
        Ok(environment.without(&hidden).overlaid(overlay))
    }

    /// The choice of the credential, as the texts of the engine's variables, by key.
    fn credentials(&self) -> Vec<(&'static str, String)> {
        let text = |headers: &Map<String, Value>| {
            if headers.is_empty() {
                return String::new();
            }
            Value::from(headers.clone()).to_string()
        };
        let credentials = [
            (CREDENTIAL_KEY, self.credential.clone()),
            (HEADERS_KEY, self.headers.as_ref().map(text)),
            (EDIT_CREDENTIAL_KEY, self.edit_credential.clone()),
            (EDIT_HEADERS_KEY, self.edit_headers.as_ref().map(text)),
        ];
        let set = credentials.into_iter();
        set.filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The names of the choice of the credential in these settings that come from the binding, by key.
    pub(super) fn credential_names(
        &self,
        name: &str,
        description: &Description,
        settings: &EngineSettings,
    ) -> Vec<(String, String)> {
        let has_own_connection = self.has_own_connection(description);
        let own = self.credentials();
        let mut names = Vec::new();
        for (key, edit_key) in [
            (CREDENTIAL_KEY, EDIT_CREDENTIAL_KEY),
            (HEADERS_KEY, EDIT_HEADERS_KEY),
        ] {
            let is_edit = settings.name(key) == Some(&own_variable(&description.name, edit_key));
            let own_key = if is_edit { edit_key } else { key };
            if has_own_connection || own.iter().any(|(it, _)| *it == own_key) {
                let field = own_key.replace('-', "_");
                names.push((key.to_owned(), format!("{BINDINGS} ({name}, {field})")));
            }
        }
        names
    }

    fn check_keys(&self, name: &str, description: &Description) -> Result<(), String> {
        let is_declared = |key: &String| description.settings.iter().any(|it| it.key == *key);
        let Some(unknown) = self.keys().find(|key| !is_declared(key)) else {
            return Ok(());
        };
        let settings = description.settings.iter();
        let keys: Vec<_> = settings.map(|setting| setting.key.as_str()).collect();
        Err(format!(
            "{BINDINGS} ({name}): unknown setting {unknown:?}: the settings of engine {} are {}",
            description.name,
            keys.join(", ")
        ))
    }
}

/// The keys of the choice of the credential.
const CREDENTIAL_KEYS: [&str; 4] = [
    CREDENTIAL_KEY,
    HEADERS_KEY,
    EDIT_CREDENTIAL_KEY,
    EDIT_HEADERS_KEY,
];

fn check_concurrency(number: u32) -> Result<(), String> {
    if (1..=MAX_SLOTS).contains(&number) {
        return Ok(());
    }
    Err(format!("must be a whole number from 1 to {MAX_SLOTS}"))
}

/// A setting's value as the text of a variable.
fn to_variable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sandbox::contract::SettingKind;

    use super::*;

    /// An engine whose setting `concurrency` has this default, if any.
    fn engine(default: Option<&str>) -> Description {
        let setting = Setting {
            key: CONCURRENCY_KEY.to_owned(),
            title: String::new(),
            description: String::new(),
            kind: SettingKind::Integer,
            default: default.map(str::to_owned),
            generate_variables: Vec::new(),
            edit_variables: Vec::new(),
        };
        Description {
            name: "my-engine".to_owned(),
            settings: vec![setting],
            ..Description::default()
        }
    }

    #[test]
    fn concurrency_comes_from_the_binding_the_engines_variable_or_its_default() {
        let environment = |value: &str| {
            let variable = "PINHOLE_MY_ENGINE_CONCURRENCY".to_owned();
            Environment::new([(variable, value.to_owned())])
        };
        let (plain, single) = (engine(None), engine(Some("1")));
        let default = BindingSpec::default();
        let check = |spec: &BindingSpec, name, engine, value, expected| {
            let number = spec.concurrency(name, engine, &environment(value));
            assert_eq!(number, Ok(expected), "{name} {value}");
        };
        check(&default, "my-engine", &plain, "7", Some(7));
        check(&default, "my-engine", &plain, "", None);
        check(&default, "my-engine", &single, "7", Some(7));
        check(&default, "my-engine", &single, "", Some(1));
        let own = BindingSpec {
            concurrency: Some(3),
            ..BindingSpec::default()
        };
        check(&own, "my-engine", &single, "7", Some(3));
        let other = BindingSpec {
            engine: Some("my-engine".to_owned()),
            ..BindingSpec::default()
        };
        check(&other, "photo", &plain, "7", None);
        check(&other, "photo", &single, "7", Some(1));
        for invalid in ["0", "many", "10001", "-1"] {
            let error = default
                .concurrency("my-engine", &single, &environment(invalid))
                .unwrap_err();
            assert_eq!(
                error,
                format!(
                    "PINHOLE_MY_ENGINE_CONCURRENCY is {invalid:?}: it must be a whole number from 1 to 10000"
                )
            );
        }
    }
}
