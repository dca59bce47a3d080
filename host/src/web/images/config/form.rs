//! `Form`: the values that Open WebUI's form displays, and the changes that a submitted form asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::image_settings::{ENGINE, ImageSettings, MODEL, SIZE, STEPS};
use super::workflow_nodes::{complete_nodes, has_same_nodes};
use crate::app::App;
use crate::settings::{Change, MARKER, Overlay, SettingKey, Settings, ValueKind};
use crate::web::error::ApiError;

/// URLs that Open WebUI stores without slashes on both ends.
const WITHOUT_SLASHES: [&str; 2] = ["COMFYUI_BASE_URL", "IMAGES_EDIT_COMFYUI_BASE_URL"];
/// Prefix of the models that accept the size `auto`.
const AUTO_SIZE_MODELS: &str = "gpt-image";
/// The form's settings and their displayed values.
pub(super) struct Form {
    keys: BTreeMap<&'static str, SettingKey>,
    overlay: Arc<Overlay>,
    displayed: ImageSettings,
}

impl Form {
    pub(super) async fn new(app: &App) -> Result<Self, ApiError> {
        let setting_keys = app.setting_keys().await?;
        let (overlay, snapshot) = (app.settings.overlay(), app.jobs.snapshot());
        let mut keys = BTreeMap::new();
        let mut displayed = ImageSettings::new();
        for key in setting_keys {
            if let Some(field) = ImageSettings::field(&key.name) {
                displayed.insert(field, displayed_value(&key, &overlay, &snapshot.settings));
                keys.insert(field, key);
            }
        }
        Ok(Self {
            keys,
            overlay,
            displayed,
        })
    }

    pub(super) fn into_settings(self) -> ImageSettings {
        self.displayed
    }

    /// The changes that a submitted form asks for.
    pub(super) fn changes(&self, mut submitted: ImageSettings) -> Result<Vec<Change>, ApiError> {
        for (field, value) in submitted.iter_mut() {
            self.normalize(field, value);
        }
        self.check_numbers(&submitted)?;
        let mut changes = BTreeMap::new();
        for (field, value) in submitted.iter() {
            if let Some(change) = self.change(field, value)? {
                changes.insert(*field, change);
            }
        }
        Ok(changes.into_values().collect())
    }

    fn normalize(&self, field: &str, value: &mut Value) {
        match value {
            Value::String(url) if WITHOUT_SLASHES.contains(&field) => {
                *url = url.trim().trim_matches('/').to_owned();
            }
            Value::Array(nodes) => {
                if let Some(displayed) = self.displayed.get(field).and_then(Value::as_array) {
                    *nodes = complete_nodes(std::mem::take(nodes), displayed);
                }
            }
            _ => {}
        }
    }

    /// Open WebUI's own checks and messages. The size is checked only if it or the model changes.
    fn check_numbers(&self, submitted: &ImageSettings) -> Result<(), ApiError> {
        let is_changed = |field: &&str| submitted.get(field) != self.displayed.get(field);
        let refuse = |field: &str, example: &str| {
            let detail = format!("Invalid format. Please use the correct format  ({example}).");
            Err(ApiError::invalid(field, detail))
        };
        let size = submitted.text(SIZE);
        if [SIZE, MODEL].iter().any(is_changed) {
            if size == "auto" && !submitted.text(MODEL).starts_with(AUTO_SIZE_MODELS) {
                return refuse(SIZE, "auto is only allowed with gpt-image models");
            }
            if !(size.is_empty() || size == "auto" || is_size(size)) {
                return refuse(SIZE, "e.g., 512x512");
            }
        }
        let steps = submitted
            .get(STEPS)
            .map(|steps| ValueKind::Integer.format(steps));
        if let Some(Ok(steps)) = steps
            && steps.starts_with('-')
        {
            return refuse(STEPS, "e.g., 50");
        }
        Ok(())
    }

    /// `None` for a value that equals the displayed one, and for an empty text of a field that is not
    /// set.
    fn change(&self, field: &str, value: &Value) -> Result<Option<Change>, ApiError> {
        let (Some(key), Some(displayed)) = (self.keys.get(field), self.displayed.get(field)) else {
            return Ok(None);
        };
        // The environment may hold an invalid value, which is displayed.
        if value == displayed {
            return Ok(None);
        }
        let text = key
            .kind
            .format(value)
            .map_err(|reason| invalid_field(field, &reason))?;
        let remains_unset = text.is_empty() && self.overlay.text(key).is_none() && field != ENGINE;
        let is_same = match (value, displayed) {
            (Value::Array(value), Value::Array(displayed)) => has_same_nodes(value, displayed),
            _ => key
                .kind
                .format(displayed)
                .is_ok_and(|displayed| displayed == text),
        };
        if remains_unset || is_same {
            return Ok(None);
        }
        Change::new(key, value).map_err(|reason| invalid_field(field, &reason))
    }
}

fn invalid_field(field: &str, reason: &str) -> ApiError {
    ApiError::invalid(field, format!("{field} {reason}"))
}

/// The stored or configured value, else the default. A setting for edits has no default of its own.
fn displayed_value(key: &SettingKey, overlay: &Overlay, settings: &Settings) -> Value {
    match overlay.masked_value(key) {
        None | Some(Value::Null) => {}
        // The form expects a list, but the environment may hold any text.
        Some(value) if key.kind == ValueKind::List && !value.is_array() => return json!([]),
        Some(value) => return value,
    }
    match key.name.as_str() {
        "ENABLE_IMAGE_GENERATION" => json!(settings.enabled),
        "ENABLE_IMAGE_PROMPT_GENERATION" => json!(settings.prompt.enabled),
        "ENABLE_IMAGE_EDIT" => json!(settings.edit.enabled),
        ENGINE => json!(settings.engine),
        _ => match (key.kind, overlay.shared_text(key), key.default.as_deref()) {
            (ValueKind::Secret, Some(_), _) => json!(MARKER),
            (ValueKind::Secret, None, _) => json!(""),
            (kind, Some(text), _) | (kind, None, Some(text)) if !text.is_empty() => {
                kind.parse(text)
            }
            (ValueKind::Object, ..) => json!({}),
            (ValueKind::List, ..) => json!([]),
            (ValueKind::Integer, ..) => json!(null),
            _ => json!(""),
        },
    }
}

/// Is it a size such as `512x512`?
fn is_size(text: &str) -> bool {
    let is_number = |side: &str| !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('x')
        .is_some_and(|(width, height)| is_number(width) && is_number(height))
}
