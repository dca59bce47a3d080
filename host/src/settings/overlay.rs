//! The environment with the stored settings over it.

use std::collections::BTreeMap;

use pinhole_ground::environment::Environment;
use serde_json::Value;

use super::secret_mask::{MARKER, mask, unmask};
use super::setting_key::SettingKey;
use super::value_kind::ValueKind;

/// The environment with the stored settings over it, at one moment.
#[derive(Clone)]
pub struct Overlay {
    environment: Environment,
    rows: BTreeMap<String, StoredValue>,
}

/// A stored setting.
#[derive(Clone)]
pub(super) struct StoredValue {
    /// All variables of the setting.
    pub(super) variables: Vec<String>,
    /// The text of the first variable. `None` if it was encrypted with another key.
    pub(super) text: Option<String>,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// It is not set.
    Default,
    Environment,
    /// An administrator stored it.
    Store,
}

impl SettingOrigin {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::Store => "store",
        }
    }
}

impl Overlay {
    /// The environment alone.
    #[must_use]
    pub fn of_environment(environment: &Environment) -> Self {
        Self::new(environment, BTreeMap::new())
    }

    /// `rows` are by path. A stored value becomes the value of its first variable; the others count as unset.
    pub(super) fn new(environment: &Environment, rows: BTreeMap<String, StoredValue>) -> Self {
        let mut pairs = Vec::new();
        for StoredValue { variables, text } in rows.values() {
            if let Some(text) = text {
                let texts = std::iter::once(text.clone()).chain(std::iter::repeat(String::new()));
                pairs.extend(variables.iter().cloned().zip(texts));
            }
        }
        Self {
            environment: environment.overlaid(pairs),
            rows,
        }
    }

    pub(super) fn rows(&self) -> &BTreeMap<String, StoredValue> {
        &self.rows
    }

    /// All variables, with the stored values.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The text of a setting, if it is set.
    #[must_use]
    pub fn text(&self, key: &SettingKey) -> Option<&str> {
        let mut variables = key.variables.iter();
        if let Some(text) = variables.find_map(|name| self.environment.get(name)) {
            return Some(text);
        }
        if !key.may_be_empty {
            return None;
        }
        key.variables
            .iter()
            .find_map(|name| self.environment.raw(name))
    }

    /// The text that applies to a setting that is not set: the one of a variable that settings share.
    #[must_use]
    pub fn shared_text(&self, key: &SettingKey) -> Option<&str> {
        key.shared_variables
            .iter()
            .find_map(|name| self.environment.for_engine(name))
    }

    /// The value of a setting, if it is set, with [`MARKER`] in place of every secret.
    #[must_use]
    pub fn masked_value(&self, key: &SettingKey) -> Option<Value> {
        let text = self.text(key)?;
        Some(match key.kind {
            ValueKind::Secret => Value::from(MARKER),
            ValueKind::SecretObject => match key.kind.parse(text) {
                value if value.is_object() => mask(value, &key.secret_members),
                _ => Value::from(MARKER),
            },
            kind => kind.parse(text),
        })
    }

    /// Where the value of a setting comes from.
    #[must_use]
    pub fn origin(&self, key: &SettingKey) -> SettingOrigin {
        let row = self.rows.get(&key.path);
        if row.is_some_and(|row| row.text.is_some()) {
            SettingOrigin::Store
        } else if self.text(key).is_some() {
            SettingOrigin::Environment
        } else {
            SettingOrigin::Default
        }
    }

    /// The environment variable whose value applies: one of the setting's, or one that it shares with others.
    #[must_use]
    pub fn variable_in_use<'k>(&self, key: &'k SettingKey) -> Option<&'k str> {
        if self.origin(key) == SettingOrigin::Store {
            return None;
        }
        let is_set = |name: &&String| self.environment.get(name).is_some();
        let is_shared = |name: &&String| self.environment.for_engine(name).is_some();
        let own = key.variables.iter().find(is_set);
        let found = own.or_else(|| {
            let empty = |name: &&String| key.may_be_empty && self.environment.raw(name).is_some();
            let mut variables = key.variables.iter();
            variables
                .find(empty)
                .or_else(|| key.shared_variables.iter().find(is_shared))
        });
        found.map(String::as_str)
    }

    /// The text that the database has.
    pub(super) fn stored_text(&self, key: &SettingKey) -> Option<&str> {
        self.rows.get(&key.path)?.text.as_deref()
    }

    /// True if the database has a value, even one that cannot be decrypted.
    #[must_use]
    pub fn is_stored(&self, key: &SettingKey) -> bool {
        self.rows.contains_key(&key.path)
    }

    #[cfg(test)]
    pub(super) fn with_stored_text(mut self, key: &SettingKey, text: &str) -> Self {
        let value = StoredValue {
            variables: key.variables.clone(),
            text: Some(text.to_owned()),
        };
        self.rows.insert(key.path.clone(), value);
        self
    }

    /// A new text of a setting, with the current secrets in place of markers.
    pub(super) fn unmasked_text(&self, key: &SettingKey, text: String) -> String {
        if key.kind != ValueKind::SecretObject || text.is_empty() {
            return text;
        }
        let current = key.kind.parse(self.text(key).unwrap_or_default());
        unmask(key.kind.parse(&text), &current).to_string()
    }
}
