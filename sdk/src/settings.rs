//! Reads and declares settings.
//!
//! ```
//! use pinhole_sdk::{Setting, SettingKind, testing};
//!
//! let declared = || vec![Setting::new("steps", SettingKind::Integer, "Steps", "").with_default(30)];
//! let settings = testing::settings::<i64>(declared(), &[]);
//! assert_eq!(settings.integer("steps"), Some(30));
//! ```

use serde::de::DeserializeOwned;

use crate::{Error, Setting, SettingKind, SettingValue};

/// The settings of one call, by key. Unset settings are absent; the host never passes secrets.
///
/// ```
/// use pinhole_sdk::{SettingValue, Settings};
///
/// let settings = Settings::new(vec![SettingValue { key: "quality".into(), value: "\"high\"".into() }]);
/// assert_eq!(settings.text("quality").as_deref(), Some("high"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<SettingValue>);

impl Settings {
    /// Wraps the values that the host passes to a call.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let settings = Settings::new(vec![SettingValue { key: "steps".into(), value: "30".into() }]);
    /// assert_eq!(settings.integer("steps"), Some(30));
    /// ```
    #[must_use]
    pub fn new(values: Vec<SettingValue>) -> Self {
        Self(values)
    }

    /// A text, document, URL or choice; `None` if it is unset or empty.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let settings = Settings::new(vec![SettingValue { key: "quality".into(), value: "\"\"".into() }]);
    /// assert_eq!(settings.text("quality"), None);
    /// ```
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.value::<String>(key).filter(|text| !text.is_empty())
    }

    /// An integer; `None` if it is unset.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let settings = Settings::new(vec![SettingValue { key: "steps".into(), value: "30".into() }]);
    /// assert_eq!(settings.integer("steps"), Some(30));
    /// ```
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.value(key)
    }

    /// A boolean; false if it is unset.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let settings = Settings::new(vec![SettingValue { key: "tiling".into(), value: "true".into() }]);
    /// assert!(settings.boolean("tiling"));
    /// assert!(!settings.boolean("unset"));
    /// ```
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.value(key).unwrap_or(false)
    }

    /// A document that holds JSON; `None` if it is unset or empty.
    ///
    /// Fails if the text does not parse as `T`, with the key as the field.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let settings = Settings::new(vec![SettingValue { key: "sizes".into(), value: serde_json::json!("[512, 768]").to_string() }]);
    /// assert_eq!(settings.json::<Vec<u32>>("sizes")?, Some(vec![512, 768]));
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Error::invalid(key, format!("setting {key} cannot be used: {error}")))
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let setting = self.0.iter().find(|setting| setting.key == key)?;
        serde_json::from_str(&setting.value).ok()
    }
}

impl Setting {
    /// A setting without a default and without environment variables.
    ///
    /// ```
    /// use pinhole_sdk::{Setting, SettingKind};
    ///
    /// let setting = Setting::new("base-url", SettingKind::Url, "Base URL", "URL of the API.");
    /// ```
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

    /// Sets the default: a string (also for documents, URLs and choices), an integer or a boolean.
    ///
    /// ```
    /// use pinhole_sdk::{Setting, SettingKind};
    ///
    /// let setting = Setting::new("steps", SettingKind::Integer, "Steps", "").with_default(30);
    /// assert_eq!(setting.default.as_deref(), Some("30"));
    /// ```
    #[must_use]
    pub fn with_default(mut self, value: impl Into<serde_json::Value>) -> Self {
        self.default = Some(value.into().to_string());
        self
    }

    /// Sets the environment variables that also set this setting, for generating and for editing.
    ///
    /// ```
    /// use pinhole_sdk::{Setting, SettingKind};
    ///
    /// let setting = Setting::new("api-key", SettingKind::Secret, "API key", "")
    ///     .with_variables(&["FOX_API_KEY"], &["FOX_EDIT_API_KEY"]);
    /// ```
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
    use crate::ErrorKind;

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
    fn settings_return_typed_values() {
        let settings = settings();
        assert_eq!(settings.text("name").as_deref(), Some("fox"));
        assert_eq!(settings.text("empty"), None);
        assert_eq!(settings.text("absent"), None);
        assert_eq!(settings.integer("steps"), Some(12));
        assert!(settings.boolean("on"));
        assert!(!settings.boolean("name"));
    }

    #[test]
    fn settings_parse_document_as_json() {
        let settings = settings();
        let params: Option<serde_json::Value> = settings.json("params").unwrap();
        assert_eq!(params, Some(serde_json::json!({"a": 1})));
        assert_eq!(settings.json::<u8>("absent").unwrap(), None);
        let error = settings.json::<serde_json::Value>("broken").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some("broken"));
    }
}
