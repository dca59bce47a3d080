//! What the operator set, and how to declare what may be set.

use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Setting, SettingKind, SettingValue};

/// The settings of one call, by key. Unset ones are absent; secrets never come.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<SettingValue>);

impl Settings {
    /// From the pairs that the host hands over.
    #[must_use]
    pub fn new(values: Vec<SettingValue>) -> Self {
        Self(values)
    }

    /// A text, document, URL or choice; `None` when it is unset or empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.value::<String>(key).filter(|text| !text.is_empty())
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.value(key)
    }

    /// True only when it is set and true.
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.value(key).unwrap_or(false)
    }

    /// A document that holds JSON; `None` when it is unset or empty.
    ///
    /// Fails with kind `invalid` and the key as its field when the text is not what `T` wants.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("setting {key} cannot be used: {error}"),
            )
            .with_field(key)
        })
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let setting = self.0.iter().find(|setting| setting.key == key)?;
        serde_json::from_str(&setting.value).ok()
    }
}

impl Setting {
    /// A setting of this kind, without default and variables.
    #[must_use]
    pub fn new(key: &str, kind: SettingKind, title: &str, description: &str) -> Self {
        Self {
            key: key.into(),
            title: title.into(),
            description: description.into(),
            kind,
            default: None,
            generate_variables: Vec::new(),
            edit_variables: Vec::new(),
        }
    }

    /// The same with a default: the text itself for texts, documents, URLs and choices.
    #[must_use]
    pub fn with_default(mut self, value: impl Into<serde_json::Value>) -> Self {
        self.default = Some(value.into().to_string());
        self
    }

    /// The same with the environment variables it is also known by, for generating and editing.
    #[must_use]
    pub fn with_variables(mut self, generate: &[&str], edit: &[&str]) -> Self {
        self.generate_variables = generate.iter().map(ToString::to_string).collect();
        self.edit_variables = edit.iter().map(ToString::to_string).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let value = |key: &str, value: &str| SettingValue {
            key: key.into(),
            value: value.into(),
        };
        Settings::new(vec![
            value("name", r#""fox""#),
            value("empty", r#""""#),
            value("steps", "12"),
            value("on", "true"),
            value("params", r#""{\"a\":1}""#),
            value("broken", r#""{""#),
        ])
    }

    #[test]
    fn values_have_the_type_asked_for() {
        let settings = settings();
        assert_eq!(settings.text("name").as_deref(), Some("fox"));
        assert_eq!(settings.text("empty"), None);
        assert_eq!(settings.text("absent"), None);
        assert_eq!(settings.integer("steps"), Some(12));
        assert!(settings.boolean("on"));
        assert!(!settings.boolean("name"));
    }

    #[test]
    fn a_document_is_read_as_json() {
        let settings = settings();
        let params: Option<serde_json::Value> = settings.json("params").unwrap();
        assert_eq!(params, Some(serde_json::json!({"a": 1})));
        assert_eq!(settings.json::<u8>("absent").unwrap(), None);
        let error = settings.json::<serde_json::Value>("broken").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some("broken"));
    }
}
