//! A setting as a form needs it: value, origin, label, choices, problem.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::jobs::Snapshot;
use crate::settings::{
    EDIT_ENGINE, ENGINE, Overlay, SettingGroup, SettingKey, SettingMode, SettingOrigin, ValueKind,
};
use crate::store::LatestChange;

/// Length of a placeholder in bytes. A longer text is left out.
const MAX_PLACEHOLDER_BYTES: usize = 2000;

#[derive(Serialize, ToSchema)]
pub(super) struct Setting {
    /// The environment variable that names the setting.
    name: String,
    /// The key in the database: a dotted path.
    path: String,
    /// All variables of the setting. The first one that is set applies.
    variables: Vec<String>,
    kind: SettingKind,
    source: SettingSource,
    /// The current value; `********` in place of a secret, `null` if it has no value.
    #[schema(required = true)]
    value: Option<Value>,
    description: String,
    /// Label in a form.
    title: String,
    group: SettingGroup,
    /// The texts that are accepted. Without it, others are too.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<String>,
    /// True for a document, and for a text with several lines.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    multiline: bool,
    /// The engine that the setting configures: the name of its own binding.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    /// The jobs for which a setting of an engine holds. Edits have a setting of their own in place of one for `generate`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<SettingMode>,
    /// The engine's setting key.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whether it has a value of its own, stored or in the environment.
    is_set: bool,
    /// Why the value cannot be used.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What applies while it is not set, if that is known.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    placeholder: Option<String>,
    /// The time of the last change in seconds since 1970, if a stored value applies.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<i64>,
    /// The name of the user who stored the value.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<String>,
    /// The environment variable whose value applies. If the setting is not set, it is one that other settings share.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    variable_in_use: Option<String>,
}

/// Kind of a setting's value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SettingKind {
    Boolean,
    Text,
    Url,
    Integer,
    Object,
    List,
    Secret,
    #[serde(rename = "object with secrets")]
    SecretObject,
}

impl From<ValueKind> for SettingKind {
    fn from(kind: ValueKind) -> Self {
        match kind {
            ValueKind::Boolean => Self::Boolean,
            ValueKind::Text => Self::Text,
            ValueKind::Url => Self::Url,
            ValueKind::Integer => Self::Integer,
            ValueKind::Object => Self::Object,
            ValueKind::List => Self::List,
            ValueKind::Secret => Self::Secret,
            ValueKind::SecretObject => Self::SecretObject,
        }
    }
}

/// Origin of a setting's value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SettingSource {
    Default,
    Environment,
    Store,
}

impl From<SettingOrigin> for SettingSource {
    fn from(origin: SettingOrigin) -> Self {
        match origin {
            SettingOrigin::Default => Self::Default,
            SettingOrigin::Environment => Self::Environment,
            SettingOrigin::Store => Self::Store,
        }
    }
}

/// What the entries of all settings need.
pub(super) struct SettingContext {
    overlay: Arc<Overlay>,
    snapshot: Arc<Snapshot>,
    /// By name of the setting.
    problems: HashMap<String, String>,
    /// By path.
    latest_changes: HashMap<String, LatestChange>,
}

impl SettingContext {
    pub(super) fn new(app: &App, keys: &[SettingKey], latest: Vec<LatestChange>) -> Self {
        let (overlay, snapshot) = (app.settings.overlay(), app.jobs.snapshot());
        let mut problems = HashMap::new();
        for problem in snapshot.all_problems() {
            if let Some(key) = keys.iter().find(|key| key.is_named_in(&problem)) {
                problems.entry(key.name.clone()).or_insert(problem);
            }
        }
        let latest_changes = latest.into_iter().map(|it| (it.path.clone(), it));
        Self {
            overlay,
            snapshot,
            problems,
            latest_changes: latest_changes.collect(),
        }
    }

    pub(super) fn setting(&self, key: &SettingKey) -> Setting {
        let (overlay, field) = (&*self.overlay, &key.form_field);
        let value = overlay.masked_value(key).or_else(|| {
            let default = key.default.as_deref()?;
            Some(key.kind.parse(default))
        });
        let origin = overlay.origin(key);
        let change = self.latest_changes.get(&key.path);
        let change = change.filter(|_| origin == SettingOrigin::Store);
        let engine = field.engine.as_ref();
        Setting {
            source: origin.into(),
            value,
            name: key.name.clone(),
            path: key.path.clone(),
            variables: key.variables.clone(),
            kind: key.kind.into(),
            description: key.description.clone(),
            title: field.title.clone(),
            group: field.group,
            choices: self.choices(key),
            multiline: field.is_multiline,
            binding: engine.map(|it| it.engine.clone()),
            mode: engine.map(|it| it.mode),
            key: engine.map(|it| it.key.clone()),
            is_set: origin != SettingOrigin::Default,
            problem: self.problems.get(&key.name).cloned(),
            placeholder: match origin {
                SettingOrigin::Default => self.placeholder(key),
                _ => None,
            },
            changed_at: change.map(|it| it.changed_at),
            changed_by: change.map(|it| it.user_name.clone()),
            variable_in_use: overlay.variable_in_use(key).map(str::to_owned),
        }
    }

    fn choices(&self, key: &SettingKey) -> Vec<String> {
        if ![ENGINE, EDIT_ENGINE].contains(&key.name.as_str()) {
            return key.form_field.choices.clone();
        }
        let bindings = self.snapshot.bindings();
        bindings.map(|binding| binding.name.clone()).collect()
    }

    /// What applies while the setting is not set. Secrets have none.
    fn placeholder(&self, key: &SettingKey) -> Option<String> {
        let settings = &self.snapshot.settings;
        if key.name == ENGINE {
            return Some(settings.engine.clone());
        }
        if key.name == EDIT_ENGINE {
            return Some(settings.edit.engine.clone());
        }
        let placeholder = match &key.form_field.engine {
            None => key.form_field.placeholder.clone(),
            Some(field) => {
                let binding = self.snapshot.binding(&field.engine)?;
                let resolved = match field.mode {
                    SettingMode::Edit => binding.edit_settings(),
                    SettingMode::Generate | SettingMode::Both => binding.generate_settings(),
                };
                match resolved.ok()?.settings.value(&field.key)? {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                }
            }
        };
        placeholder.filter(|text| !text.is_empty() && text.len() <= MAX_PLACEHOLDER_BYTES)
    }
}
