//! Changes of one binding, and of the list of fallbacks. Both are stored as a setting, which has a history.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::App;
use super::settings_change::ChangeError;
use crate::jobs::{BINDINGS, FALLBACKS, MAX_FALLBACKS};
use crate::settings::{Change, Overlay, SettingKey};
use crate::store::User;

impl App {
    /// Defines a binding, or replaces its definition. A secret that is masked stays as it is.
    pub async fn define_binding(
        self: &Arc<Self>,
        user: &User,
        name: String,
        definition: Map<String, Value>,
    ) -> Result<(), ChangeError> {
        let key = self.setting_key(BINDINGS).await?;
        self.change_settings_with(user, move |overlay| {
            Ok(vec![definition_change(&key, overlay, name, definition)?])
        })
        .await
    }

    /// The change that [`Self::define_binding`] makes.
    pub async fn binding_change(
        &self,
        name: String,
        definition: Map<String, Value>,
    ) -> Result<Change, ChangeError> {
        let key = self.setting_key(BINDINGS).await?;
        definition_change(&key, &self.settings.overlay(), name, definition)
    }

    /// Removes the definition of a binding. The own binding of an engine then has the engine's settings.
    pub async fn remove_binding(
        self: &Arc<Self>,
        user: &User,
        name: String,
    ) -> Result<(), ChangeError> {
        let key = self.setting_key(BINDINGS).await?;
        self.change_settings_with(user, move |overlay| {
            let mut defined = defined_bindings(&key, overlay);
            defined.remove(&name);
            Ok(vec![change(&key, &Value::Object(defined))?])
        })
        .await
    }

    /// Sets the bindings to try if one is unavailable.
    pub async fn set_fallbacks(
        self: &Arc<Self>,
        user: &User,
        names: &[String],
    ) -> Result<(), ChangeError> {
        if names.len() > MAX_FALLBACKS {
            return Err(ChangeError::Refused(format!(
                "{} fallbacks are more than the {MAX_FALLBACKS} allowed",
                names.len()
            )));
        }
        if names
            .iter()
            .any(|name| name.trim().is_empty() || name.contains(','))
        {
            let message = "a fallback must be the name of a binding: remove empty names and commas";
            return Err(ChangeError::Refused(message.to_owned()));
        }
        let key = self.setting_key(FALLBACKS).await?;
        let change = change(&key, &Value::from(names.join(", ")))?;
        self.change_settings(user, vec![change]).await
    }

    async fn setting_key(&self, name: &str) -> Result<SettingKey, ChangeError> {
        let keys = self.setting_keys().await;
        let keys = keys.map_err(|error| ChangeError::Refused(error.to_string()))?;
        let key = keys.into_iter().find(|key| key.name == name);
        key.ok_or_else(|| anyhow::anyhow!("the setting {name} does not exist").into())
    }
}

fn definition_change(
    key: &SettingKey,
    overlay: &Overlay,
    name: String,
    definition: Map<String, Value>,
) -> Result<Change, ChangeError> {
    let mut defined = defined_bindings(key, overlay);
    defined.insert(name, Value::Object(definition));
    change(key, &Value::Object(defined))
}

/// The definitions, with their secrets.
fn defined_bindings(key: &SettingKey, overlay: &Overlay) -> Map<String, Value> {
    match key.kind.parse(overlay.text(key).unwrap_or_default()) {
        Value::Object(defined) => defined,
        _ => Map::new(),
    }
}

fn change(key: &SettingKey, value: &Value) -> Result<Change, ChangeError> {
    let change = Change::new(key, value);
    let change = change.map_err(|why| ChangeError::Refused(format!("{} {why}", key.name)))?;
    change.ok_or_else(|| anyhow::anyhow!("the setting {} is masked", key.name).into())
}
