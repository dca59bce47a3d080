//! The settings that administrators store while the server runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use cap_std::fs::Dir;
use pinhole_ground::environment::Environment;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::overlay::{Overlay, StoredValue};
use super::secret_cipher::SecretCipher;
use super::secret_mask::MARKER;
use super::setting_key::SettingKey;
use super::value_kind::ValueKind;
use crate::store::{SettingChange, SettingRow, Store, User};

/// Length of a value in the record of changes, in bytes; a longer one is cut.
const MAX_RECORDED_BYTES: usize = 4096;

/// The settings that administrators store while the server runs.
pub struct StoredSettings {
    /// The environment without the stored settings.
    environment: ArcSwap<Environment>,
    cipher: SecretCipher,
    store: Store,
    overlay: ArcSwap<Overlay>,
    /// The revision of the database's settings that the overlay has.
    revision: AtomicI64,
    /// Held while a change is made.
    change_lock: Mutex<()>,
    /// Notified when other settings are current.
    published: Notify,
}

/// A new value of a setting, or its removal.
#[derive(Clone)]
pub struct Change {
    key: SettingKey,
    /// `None` removes the stored value.
    text: Option<String>,
}

/// Changes, and the settings that they lead to.
pub(crate) struct ChangePlan {
    /// The settings after the changes.
    pub(crate) overlay: Overlay,
    /// The revision that they change.
    revision: i64,
    written: Vec<SettingRow>,
    /// Paths.
    removed: Vec<String>,
    records: Vec<SettingChange>,
}

impl Change {
    /// Sets a value. Returns `None` if the value is the marker of a secret, which stays unchanged.
    ///
    /// The error is a phrase that follows the setting's name.
    pub fn new(key: &SettingKey, value: &Value) -> Result<Option<Self>, String> {
        if key.kind.is_encrypted() && *value == MARKER {
            return Ok(None);
        }
        Ok(Some(Self {
            key: key.clone(),
            text: Some(key.kind.format(value)?),
        }))
    }

    /// Removes the stored value, so that the environment applies.
    #[must_use]
    pub fn remove(key: &SettingKey) -> Self {
        Self {
            key: key.clone(),
            text: None,
        }
    }

    /// The setting that changes.
    pub(crate) fn key(&self) -> &SettingKey {
        &self.key
    }

    /// The new text. `None` removes the stored value.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The new secret, if the setting is one.
    pub(crate) fn secret(&self) -> Option<&str> {
        let text = self.text.as_deref()?;
        let is_secret = self.key.kind == ValueKind::Secret && !text.is_empty();
        if is_secret { Some(text) } else { None }
    }
}

impl ChangePlan {
    /// The names of the changed settings.
    pub(crate) fn names(&self) -> Vec<&str> {
        let records = self.records.iter();
        records.map(|record| record.name.as_str()).collect()
    }
}

impl StoredSettings {
    /// Loads the stored settings, unless `ENABLE_PERSISTENT_CONFIG` is false. Deletes them first if
    /// `RESET_CONFIG_ON_START` is true.
    ///
    /// A value that cannot be decrypted is logged and counts as unset.
    pub async fn open(data: &Dir, store: Store, environment: &Environment) -> Result<Self> {
        let cipher = SecretCipher::open(data, environment)?;
        let context = "cannot use the settings in the database";
        if environment.is_true("RESET_CONFIG_ON_START") == Some(true) {
            delete_all(&store).await.context(context)?;
        }
        // Before the settings: a later revision would hide a change from this server.
        let revision = store.settings_revision().await.context(context)?;
        let rows = match environment.is_true("ENABLE_PERSISTENT_CONFIG") {
            Some(false) => Vec::new(),
            _ => store.settings().await.context(context)?,
        };
        let values = rows.into_iter().map(|row| decode_row(&cipher, row));
        let overlay = Overlay::new(environment, values.collect());
        Ok(Self {
            environment: ArcSwap::from_pointee(environment.clone()),
            cipher,
            store,
            overlay: ArcSwap::from_pointee(overlay),
            revision: AtomicI64::new(revision),
            change_lock: Mutex::new(()),
            published: Notify::new(),
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The settings at this moment.
    #[must_use]
    pub fn overlay(&self) -> Arc<Overlay> {
        self.overlay.load_full()
    }

    /// The environment without the stored settings.
    pub(crate) fn environment(&self) -> Arc<Environment> {
        self.environment.load_full()
    }

    /// The stored settings over another environment.
    pub(crate) fn overlay_on(&self, environment: &Environment) -> Overlay {
        Overlay::new(environment, self.overlay().rows().clone())
    }

    /// Replaces the environment below the stored settings. The caller holds the lock.
    pub(crate) fn replace_environment(&self, environment: Environment) {
        self.overlay.store(Arc::new(self.overlay_on(&environment)));
        self.environment.store(Arc::new(environment));
    }

    /// Waits until no other change is in progress, and prevents others.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, ()> {
        self.change_lock.lock().await
    }

    /// The settings that these changes lead to. Nothing changes.
    pub(crate) fn preview(&self, changes: &[Change]) -> Overlay {
        let before = self.overlay();
        Overlay::new(&self.environment.load(), changed_rows(&before, changes))
    }

    /// What these changes lead to. Returns `None` if they change nothing.
    pub(crate) fn plan(&self, user: &User, changes: Vec<Change>) -> Result<Option<ChangePlan>> {
        let before = self.overlay();
        let rows = changed_rows(&before, &changes);
        let keys: BTreeMap<String, SettingKey> = changes
            .into_iter()
            .map(|change| (change.key.path.clone(), change.key))
            .collect();
        let mut changed: Vec<SettingKey> = keys.into_values().collect();
        changed.retain(|key| {
            let text_before = before.rows().get(&key.path).map(|row| &row.text);
            text_before != rows.get(&key.path).map(|row| &row.text)
        });
        if changed.is_empty() {
            return Ok(None);
        }
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for key in &changed {
            match rows.get(&key.path) {
                Some(value) => written.push(self.encode_row(key, value)?),
                None => removed.push(key.path.clone()),
            }
        }
        let overlay = Overlay::new(&self.environment.load(), rows);
        let records = changed
            .iter()
            .map(|key| record(user, key, &before, &overlay))
            .collect();
        Ok(Some(ChangePlan {
            revision: self.revision(),
            written,
            removed,
            records,
            overlay,
        }))
    }

    /// The settings that another process has stored since, with their revision. `None` if its own are the newest.
    pub(crate) async fn newer_overlay(&self) -> sqlx::Result<Option<(Overlay, i64)>> {
        let environment = self.environment.load();
        if environment.is_true("ENABLE_PERSISTENT_CONFIG") == Some(false) {
            return Ok(None);
        }
        let revision = self.store.settings_revision().await?;
        if revision == self.revision() {
            return Ok(None);
        }
        let rows = self.store.settings().await?;
        let values = rows.into_iter().map(|row| decode_row(&self.cipher, row));
        Ok(Some((
            Overlay::new(&environment, values.collect()),
            revision,
        )))
    }

    /// Writes all changes of a plan, or none. Returns their revision, or `None` if another process has changed settings
    /// since they were planned.
    pub(crate) async fn save(&self, plan: &ChangePlan) -> sqlx::Result<Option<i64>> {
        self.store
            .change_settings(plan.revision, &plan.written, &plan.removed, &plan.records)
            .await
    }

    /// Makes the saved settings of a revision current.
    pub(crate) fn publish(&self, overlay: Overlay, revision: i64) {
        self.overlay.store(Arc::new(overlay));
        self.revision.store(revision, Ordering::Release);
        self.published.notify_one();
    }

    /// Waits until other settings are current than at the last call. For one caller.
    pub(crate) async fn wait_for_publication(&self) {
        self.published.notified().await;
    }

    /// Increases with each change that this server makes or loads.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    fn encode_row(&self, key: &SettingKey, value: &StoredValue) -> Result<SettingRow> {
        let text = value.text.as_deref().unwrap_or_default();
        let json = key.kind.parse(text).to_string();
        let sealed = key.kind.is_encrypted();
        Ok(SettingRow {
            path: key.path.clone(),
            variables: value.variables.clone(),
            value: if sealed {
                self.cipher.encrypt(&key.path, &json)?
            } else {
                json
            },
            sealed,
        })
    }
}

/// The stored values after these changes.
fn changed_rows(before: &Overlay, changes: &[Change]) -> BTreeMap<String, StoredValue> {
    let mut rows = before.rows().clone();
    for Change { key, text } in changes {
        match text {
            None => {
                rows.remove(&key.path);
            }
            Some(text) => {
                let value = StoredValue {
                    variables: name_first(key),
                    text: Some(before.unmasked_text(key, text.clone())),
                };
                rows.insert(key.path.clone(), value);
            }
        }
    }
    rows
}

/// All variables of a setting, with the one that names it first, which receives the stored value.
fn name_first(key: &SettingKey) -> Vec<String> {
    let others = key.variables.iter().filter(|name| **name != key.name);
    std::iter::once(&key.name).chain(others).cloned().collect()
}

/// A path with its value.
fn decode_row(cipher: &SecretCipher, row: SettingRow) -> (String, StoredValue) {
    let SettingRow {
        path,
        variables,
        value,
        sealed,
    } = row;
    let json = if sealed {
        cipher.decrypt(&path, &value)
    } else {
        Some(value)
    };
    if json.is_none() {
        tracing::warn!(
            "the stored setting {path} is encrypted with another key and counts as unset; start with \
             that PINHOLE_SETTINGS_KEY, or set it again"
        );
    }
    let text = json.map(|json| match serde_json::from_str(&json) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => json,
    });
    (path, StoredValue { variables, text })
}

/// Deletes all stored settings.
async fn delete_all(store: &Store) -> sqlx::Result<()> {
    let revision = store.settings_revision().await?;
    let rows = store.settings().await?;
    if rows.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = rows
        .iter()
        .map(|row| SettingChange {
            changed_at: 0,
            user_id: String::new(),
            user_name: "RESET_CONFIG_ON_START".to_owned(),
            path: row.path.clone(),
            name: row.variables.first().cloned().unwrap_or_default(),
            what: "removed".to_owned(),
            old_value: if row.sealed {
                None
            } else {
                Some(shorten(row.value.clone()))
            },
            new_value: None,
        })
        .collect();
    let paths: Vec<_> = rows.into_iter().map(|row| row.path).collect();
    let deleted = store
        .change_settings(revision, &[], &paths, &records)
        .await?;
    // Another server that starts with the variable deletes them too.
    if deleted.is_none() {
        return Ok(());
    }
    tracing::warn!(
        "RESET_CONFIG_ON_START is set: removed {} stored settings",
        paths.len()
    );
    Ok(())
}

/// The record of a change. For a secret it contains no values.
fn record(user: &User, key: &SettingKey, before: &Overlay, after: &Overlay) -> SettingChange {
    let what = match (before.text(key), after.text(key)) {
        (None, Some(_)) => "set",
        (Some(_), None) => "removed",
        _ => "changed",
    };
    let recorded_value = |overlay: &Overlay| {
        if key.kind == ValueKind::Secret {
            return None;
        }
        let value = overlay.masked_value(key)?;
        Some(shorten(value.to_string()))
    };
    SettingChange {
        changed_at: 0,
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        path: key.path.clone(),
        name: key.name.clone(),
        what: what.to_owned(),
        old_value: recorded_value(before),
        new_value: recorded_value(after),
    }
}

/// The JSON itself, or, if it is too long, a JSON string with its beginning.
fn shorten(json: String) -> String {
    if json.len() <= MAX_RECORDED_BYTES {
        return json;
    }
    let text = match serde_json::from_str(&json) {
        Ok(Value::String(text)) => text,
        _ => json,
    };
    let end = text.floor_char_boundary(MAX_RECORDED_BYTES);
    Value::from(format!("{}…", text.get(..end).unwrap_or_default())).to_string()
}
