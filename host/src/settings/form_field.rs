//! How a form presents a setting.

use serde::Serialize;
use utoipa::ToSchema;

/// How a form presents a setting.
#[derive(Clone, Debug)]
pub struct FormField {
    /// Label.
    pub title: String,
    pub group: SettingGroup,
    /// The texts that are accepted. Empty if others are too.
    pub choices: Vec<String>,
    /// The value is a document, or has several lines.
    pub is_multiline: bool,
    /// The value without the setting, if a text describes it.
    pub placeholder: Option<String>,
    /// The engine that the setting configures, if it is one of an engine.
    pub engine: Option<EngineField>,
}

/// The place of a setting among those of its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineField {
    pub engine: String,
    /// The engine's setting key.
    pub key: String,
    pub mode: SettingMode,
}

/// The page on which a form presents a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SettingGroup {
    Images,
    /// Settings of one engine.
    Engine,
    Chat,
    Accounts,
    Server,
}

/// The jobs for which a setting of an engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SettingMode {
    /// Edits have a setting of their own. Without it, most use this one.
    Generate,
    Edit,
    Both,
}

impl FormField {
    /// A field of an engine's setting.
    pub(super) fn of_engine(title: String, engine: &str, key: &str, mode: SettingMode) -> Self {
        Self {
            title,
            group: SettingGroup::Engine,
            choices: Vec::new(),
            is_multiline: false,
            placeholder: None,
            engine: Some(EngineField {
                engine: engine.to_owned(),
                key: key.to_owned(),
                mode,
            }),
        }
    }

    /// The key of the setting, if it is one of this engine for jobs of this kind.
    pub fn key_of(&self, engine: &str, is_edit: bool) -> Option<&str> {
        let field = self.engine.as_ref()?;
        let other = if is_edit {
            SettingMode::Generate
        } else {
            SettingMode::Edit
        };
        (field.engine == engine && field.mode != other).then_some(field.key.as_str())
    }
}
