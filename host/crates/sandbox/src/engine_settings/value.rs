//! A setting's value: parsing, and validation by kind.

use serde_json::Value;

use crate::contract::{Setting, SettingKind};

/// Length of a line of text and of a URL in bytes.
const MAX_LINE_BYTES: usize = 2 << 10;
/// Length of a secret in bytes.
const MAX_SECRET_BYTES: usize = 16 << 10;
/// Length of a document in bytes.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Parses the text of a variable.
pub(super) fn parse_value(setting: &Setting, text: &str) -> Result<Value, String> {
    let value = match setting.kind {
        SettingKind::Integer => text.trim().parse::<i64>().map_or(Value::Null, Value::from),
        SettingKind::Boolean => Value::from(text.eq_ignore_ascii_case("true")),
        _ => Value::from(text),
    };
    check_value(&setting.kind, &value)?;
    Ok(value)
}

/// Refuses a value that is not of this kind. The error continues a sentence about the value.
pub(crate) fn check_value(kind: &SettingKind, value: &Value) -> Result<(), String> {
    let has_length = |max: usize| value.as_str().is_some_and(|text| text.len() <= max);
    let is_valid = match kind {
        SettingKind::Text => {
            has_length(MAX_LINE_BYTES)
                && value
                    .as_str()
                    .is_some_and(|text| !text.contains(char::is_control))
        }
        SettingKind::Secret => has_length(MAX_SECRET_BYTES),
        SettingKind::Document => has_length(MAX_DOCUMENT_BYTES),
        SettingKind::Url => has_length(MAX_LINE_BYTES),
        SettingKind::Integer => value.is_i64(),
        SettingKind::Boolean => value.is_boolean(),
        SettingKind::Choice(choices) => choices.iter().any(|choice| value.as_str() == Some(choice)),
    };
    if is_valid {
        return Ok(());
    }
    Err(match kind {
        SettingKind::Text => "must be one line of text".to_owned(),
        SettingKind::Secret => "must be a secret".to_owned(),
        SettingKind::Document => format!("must be text of at most {MAX_DOCUMENT_BYTES} bytes"),
        SettingKind::Url => "must be a URL".to_owned(),
        SettingKind::Integer => "must be a whole number".to_owned(),
        SettingKind::Boolean => "must be true or false".to_owned(),
        SettingKind::Choice(choices) => format!("must be one of {}", choices.join(", ")),
    })
}
