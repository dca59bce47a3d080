//! Fixtures for an engine's own unit tests. They call no host function.
//!
//! ```
//! use pinhole_sdk::testing;
//!
//! let refusal = testing::recorded_refusal(&serde_json::json!({"status": 401, "body": "wrong key"}));
//! assert_eq!(refusal.message(), "wrong key");
//! ```

use serde_json::Value;

use crate::upstream::Header;
use crate::{Refusal, Setting, SettingValue, Settings};

/// The settings of a call: the default of each declared setting, except for `changes`.
///
/// A change holds a setting's value as its kind wants it: a string (also for a document that holds
/// JSON), an integer or a boolean. With no changes, name the type: `settings::<&str>(declared, &[])`.
///
/// ```
/// use pinhole_sdk::{Setting, SettingKind, testing};
///
/// let declared = || vec![
///     Setting::new("quality", SettingKind::Text, "Quality", "").with_default("high"),
///     Setting::new("params", SettingKind::Document, "Parameters", ""),
/// ];
/// let settings = testing::settings(declared(), &[("params", r#"{"style": "vivid"}"#)]);
/// assert_eq!(settings.text("quality").as_deref(), Some("high"));
/// assert_eq!(settings.object("params").unwrap()["style"], "vivid");
/// ```
///
/// # Panics
///
/// If a change names a setting that is not declared.
#[must_use]
pub fn settings<V: Clone + Into<Value>>(
    declared: impl IntoIterator<Item = Setting>,
    changes: &[(&str, V)],
) -> Settings {
    let declared: Vec<Setting> = declared.into_iter().collect();
    for (key, _) in changes {
        let known = declared.iter().any(|setting| setting.key == *key);
        assert!(known, "setting {key} is not declared");
    }
    let set_value = |setting: Setting| {
        let change = changes.iter().find(|(key, _)| *key == setting.key);
        let value = match change {
            Some((_, value)) => value.clone().into().to_string(),
            None => setting.default?,
        };
        Some(SettingValue {
            key: setting.key,
            value,
        })
    };
    Settings::new(declared.into_iter().filter_map(set_value).collect())
}

/// The refusal in a recorded response: a JSON object with `status`, `body` and, optionally,
/// `headers`. A body that is a string is the body's text; any other body is JSON.
///
/// ```
/// use pinhole_sdk::{ErrorKind, testing};
/// use serde_json::json;
///
/// let refusal = testing::recorded_refusal(&json!({
///     "status": 429,
///     "headers": {"retry-after": "3"},
///     "body": {"error": {"message": "slow down"}},
/// }));
/// assert_eq!(refusal.kind(), ErrorKind::RateLimited);
/// assert_eq!(refusal.message(), "slow down");
/// assert_eq!(refusal.retry_after_ms, Some(3000));
/// ```
///
/// # Panics
///
/// If `status` is not an HTTP status, or a header's value is not a string.
#[must_use]
pub fn recorded_refusal(recorded: &Value) -> Refusal {
    let field = |name: &str| recorded.get(name);
    let status = field("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok());
    let headers = field("headers").and_then(Value::as_object);
    let headers: Vec<Header> = headers
        .into_iter()
        .flatten()
        .map(|(name, value)| Header {
            name: name.clone(),
            value: value.as_str().expect("a header is a string").into(),
        })
        .collect();
    let body = match field("body") {
        Some(Value::String(text)) => text.clone(),
        Some(json) => json.to_string(),
        None => String::new(),
    };
    Refusal::new(status.expect("status is an HTTP status"), &headers, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::SettingKind;

    fn declared() -> Vec<Setting> {
        vec![
            Setting::new("model", SettingKind::Text, "Model", "").with_default("small"),
            Setting::new("steps", SettingKind::Integer, "Steps", ""),
        ]
    }

    #[test]
    fn settings_hold_defaults_and_changes() {
        let defaults = settings::<&str>(declared(), &[]);
        assert_eq!(defaults.text("model").as_deref(), Some("small"));
        assert_eq!(defaults.integer("steps"), None);
        let changed = settings(
            declared(),
            &[("model", json!("large")), ("steps", json!(8))],
        );
        assert_eq!(changed.text("model").as_deref(), Some("large"));
        assert_eq!(changed.integer("steps"), Some(8));
    }

    #[test]
    #[should_panic(expected = "setting sampler is not declared")]
    fn settings_refuse_undeclared_change() {
        let _ = settings(declared(), &[("sampler", 8)]);
    }

    #[test]
    fn recorded_refusal_accepts_text_and_no_body() {
        let text = recorded_refusal(&json!({"status": 502, "body": "Bad gateway"}));
        assert_eq!(text.message(), "Bad gateway");
        let empty = recorded_refusal(&json!({"status": 502}));
        assert_eq!(empty.text, "");
    }
}
