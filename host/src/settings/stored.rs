//! What is set: the environment, and over it what administrators have set while the server ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use cap_std::fs::Dir;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use pinhole_ground::environment::Environment;
use super::key::Key;
use super::kind::Kind;
use super::secret::{MARKER, Secrets, masked, unmasked};
use crate::store::{SettingChange, SettingRow, Store, User};

/// Length of a value that the record of changes shows, in bytes.
const MAX_RECORDED_BYTES: usize = 4096;
/// The one variable whose empty value means something.
///
/// Source: Open WebUI, where an empty engine is `automatic1111`.
const MEANT_EMPTY: &str = "IMAGE_GENERATION_ENGINE";

/// The settings of a running server.
pub struct Stored {
    environment: Environment,
    secrets: Secrets,
    store: Store,
    current: ArcSwap<Overlay>,
    /// Changes come one after another.
    changing: Mutex<()>,
}

/// The environment with what is stored over it, at one time.
#[derive(Clone)]
pub struct Overlay {
    environment: Environment,
    rows: BTreeMap<String, Row>,
}

/// A stored setting.
#[derive(Clone)]
struct Row {
    variables: Vec<String>,
    /// What the first variable holds then; `None` where it was sealed with another key.
    text: Option<String>,
}

/// A setting that is to hold something else.
pub struct Change {
    key: Key,
    text: Option<String>,
}

/// Changes with what follows from them.
pub(crate) struct Plan {
    /// What is set after them.
    pub(crate) overlay: Overlay,
    set: Vec<SettingRow>,
    removed: Vec<String>,
    changes: Vec<SettingChange>,
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// The process was started with it.
    Environment,
    /// An administrator has set it.
    Store,
}

impl Change {
    /// To this value. `None` where it is the marker of a secret that is to stay as it is.
    ///
    /// The error says what the value must be.
    pub fn new(key: &Key, value: &Value) -> Result<Option<Self>, String> {
        if key.kind.is_sealed() && *value == MARKER {
            return Ok(None);
        }
        let text = key.kind.text(value)?;
        let key = key.clone();
        let text = Some(text);
        Ok(Some(Self { key, text }))
    }

    /// What is stored goes, and the environment counts again.
    #[must_use]
    pub fn remove(key: &Key) -> Self {
        Self {
            key: key.clone(),
            text: None,
        }
    }

    /// A text that nobody may be shown.
    pub(crate) fn secret(&self) -> Option<&str> {
        let text = self.text.as_deref();
        text.filter(|text| self.key.kind == Kind::Secret && !text.is_empty())
    }
}

impl Plan {
    /// What is changed.
    pub(crate) fn names(&self) -> Vec<&str> {
        let changes = self.changes.iter();
        changes.map(|change| change.name.as_str()).collect()
    }
}

impl Stored {
    /// Reads what is stored, unless `ENABLE_PERSISTENT_CONFIG` is off; forgets it first where
    /// `RESET_CONFIG_ON_START` is on.
    ///
    /// What cannot be unsealed counts as unset, and the log says so.
    pub async fn open(data: &Dir, store: Store, environment: &Environment) -> Result<Self> {
        let secrets = Secrets::open(data, environment)?;
        let failed = "cannot use the settings in the database";
        if environment.is_true("RESET_CONFIG_ON_START") == Some(true) {
            forget(&store).await.context(failed)?;
        }
        let rows = match environment.is_true("ENABLE_PERSISTENT_CONFIG") {
            Some(false) => Vec::new(),
            _ => store.settings().await.context(failed)?,
        };
        let rows = rows.into_iter().map(|row| read(&secrets, row));
        let overlay = Overlay::new(environment, rows.collect());
        Ok(Self {
            environment: environment.clone(),
            secrets,
            store,
            current: ArcSwap::from_pointee(overlay),
            changing: Mutex::new(()),
        })
    }

    /// What is set now.
    #[must_use]
    pub fn current(&self) -> Arc<Overlay> {
        self.current.load_full()
    }

    /// Waits until no other change is made.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// What these changes lead to; `None` where they change nothing.
    pub(crate) fn plan(&self, user: &User, changes: Vec<Change>) -> Result<Option<Plan>> {
        let before = self.current();
        let mut rows = before.rows.clone();
        let mut touched = BTreeMap::new();
        for Change { key, text } in changes {
            match text.map(|text| before.completed(&key, text)) {
                None => {
                    rows.remove(&key.path);
                }
                text => {
                    let variables = ordered(&key);
                    rows.insert(key.path.clone(), Row { variables, text });
                }
            }
            touched.insert(key.path.clone(), key);
        }
        let text = |rows: &BTreeMap<String, Row>, key: &Key| {
            let row = rows.get(&key.path);
            row.map(|row| row.text.clone())
        };
        let mut changed: Vec<Key> = touched.into_values().collect();
        changed.retain(|key| text(&before.rows, key) != text(&rows, key));
        if changed.is_empty() {
            return Ok(None);
        }
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for key in &changed {
            match rows.get(&key.path) {
                Some(row) => set.push(self.sealed(key, row)?),
                None => removed.push(key.path.clone()),
            }
        }
        let overlay = Overlay::new(&self.environment, rows);
        let entry = |key: &Key| recorded(user, key, &before, &overlay);
        let changes = changed.iter().map(entry).collect();
        Ok(Some(Plan {
            set,
            removed,
            changes,
            overlay,
        }))
    }

    /// Writes a plan: all of it or nothing.
    pub(crate) async fn keep(&self, plan: &Plan) -> sqlx::Result<()> {
        let Plan {
            set,
            removed,
            changes,
            ..
        } = plan;
        self.store.change_settings(set, removed, changes).await
    }

    /// Goes on with what was written.
    pub(crate) fn publish(&self, overlay: Overlay) {
        self.current.store(Arc::new(overlay));
    }

    fn sealed(&self, key: &Key, row: &Row) -> Result<SettingRow> {
        let text = row.text.as_deref().unwrap_or_default();
        let json = key.kind.value(text).to_string();
        let sealed = key.kind.is_sealed();
        Ok(SettingRow {
            path: key.path.clone(),
            variables: row.variables.clone(),
            value: match sealed {
                true => self.secrets.seal(&key.path, &json)?,
                false => json,
            },
            sealed,
        })
    }
}

impl Overlay {
    /// A stored value is the first of its variables, and the others are as if unset.
    fn new(environment: &Environment, rows: BTreeMap<String, Row>) -> Self {
        let set = rows
            .values()
            .filter_map(|row| Some((row, row.text.clone()?)));
        let pairs = set.flat_map(|(row, text)| {
            let texts = std::iter::once(text).chain(std::iter::repeat(String::new()));
            row.variables.iter().cloned().zip(texts)
        });
        Self {
            environment: environment.overlaid(pairs),
            rows,
        }
    }

    /// All variables as they hold now.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What a setting holds, where it is set.
    #[must_use]
    pub fn text(&self, key: &Key) -> Option<&str> {
        let mut variables = key.variables.iter();
        let found = variables.find_map(|name| self.environment.get(name));
        let meant = || self.environment.raw(&key.name);
        found.or_else(|| meant().filter(|_| key.name == MEANT_EMPTY))
    }

    /// What counts for a setting that is not set itself: a variable that it shares with others.
    #[must_use]
    pub fn shared(&self, key: &Key) -> Option<&str> {
        let mut shared = key.shared.iter();
        shared.find_map(|name| self.environment.for_engine(name))
    }

    /// What a setting holds, as anybody may see it: [`MARKER`] stands for every secret.
    #[must_use]
    pub fn shown(&self, key: &Key) -> Option<Value> {
        self.text(key).map(|text| show(key, text))
    }

    /// Where a setting's value comes from.
    #[must_use]
    pub fn source(&self, key: &Key) -> Source {
        let stored = self.rows.get(&key.path);
        match stored.is_some_and(|row| row.text.is_some()) {
            true => Source::Store,
            false if self.text(key).is_some() => Source::Environment,
            false => Source::Default,
        }
    }

    /// Is there a row of this setting, be it readable or not?
    #[must_use]
    pub fn is_stored(&self, key: &Key) -> bool {
        self.rows.contains_key(&key.path)
    }

    /// With the secrets that markers inside stand for.
    fn completed(&self, key: &Key, text: String) -> String {
        if key.kind != Kind::Secrets || text.is_empty() {
            return text;
        }
        let current = key.kind.value(self.text(key).unwrap_or_default());
        unmasked(key.kind.value(&text), &current).to_string()
    }
}

/// As anybody may see it.
fn show(key: &Key, text: &str) -> Value {
    match key.kind {
        Kind::Secret => Value::from(MARKER),
        Kind::Secrets => match key.kind.value(text) {
            value if value.is_object() => masked(value, &key.secrets),
            _ => Value::from(MARKER),
        },
        kind => kind.value(text),
    }
}

/// The variable that a setting is called by takes the value.
fn ordered(key: &Key) -> Vec<String> {
    let others = key.variables.iter().filter(|name| **name != key.name);
    std::iter::once(&key.name).chain(others).cloned().collect()
}

fn read(secrets: &Secrets, row: SettingRow) -> (String, Row) {
    let SettingRow {
        path,
        variables,
        value,
        sealed,
    } = row;
    let json = match sealed {
        true => secrets.unseal(&path, &value),
        false => Some(value),
    };
    if json.is_none() {
        tracing::warn!(
            "the stored setting {path} was sealed with another key and counts as unset: start with \
             the PINHOLE_SETTINGS_KEY that it was set with, or set it again"
        );
    }
    let text = json.map(|json| match serde_json::from_str(&json) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => json,
    });
    (path, Row { variables, text })
}

/// Removes everything that is stored.
async fn forget(store: &Store) -> sqlx::Result<()> {
    let rows = store.settings().await?;
    if rows.is_empty() {
        return Ok(());
    }
    let entry = |row: &SettingRow| SettingChange {
        changed_at: 0,
        user_id: String::new(),
        user_name: "RESET_CONFIG_ON_START".to_owned(),
        path: row.path.clone(),
        name: row.variables.first().cloned().unwrap_or_default(),
        what: "removed".to_owned(),
        old_value: (!row.sealed).then(|| short(row.value.clone())),
        new_value: None,
    };
    let changes: Vec<_> = rows.iter().map(entry).collect();
    let paths: Vec<_> = rows.into_iter().map(|row| row.path).collect();
    store.change_settings(&[], &paths, &changes).await?;
    tracing::warn!(
        "RESET_CONFIG_ON_START: {} stored settings are removed",
        paths.len()
    );
    Ok(())
}

/// The entry of a change. Of a secret it says only that it was changed.
fn recorded(user: &User, key: &Key, before: &Overlay, after: &Overlay) -> SettingChange {
    let what = match (before.text(key), after.text(key)) {
        (None, Some(_)) => "set",
        (Some(_), None) => "removed",
        _ => "changed",
    };
    let open = |overlay: &Overlay| {
        let shown = overlay.shown(key).filter(|_| key.kind != Kind::Secret);
        shown.map(|value| short(value.to_string()))
    };
    SettingChange {
        changed_at: 0,
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        path: key.path.clone(),
        name: key.name.clone(),
        what: what.to_owned(),
        old_value: open(before),
        new_value: open(after),
    }
}

/// A long value's beginning, as a JSON text.
fn short(json: String) -> String {
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
