//! Redaction of JSON: the result is JSON again.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::Redactor;

impl Redactor {
    /// The JSON text without secrets in strings, names and numbers; `None` if it contains none. Invalid
    /// JSON is redacted as plain text.
    #[must_use]
    pub fn redact_json(&self, text: &str) -> Option<String> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return match self.redact_text(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(redacted) => Some(redacted),
            };
        };
        let redacted = self.redact_value(&value);
        (redacted != value).then(|| redacted.to_string())
    }

    /// The text of a number that contains a secret, with `*` for its digits; `None` if it contains none.
    #[must_use]
    pub fn redact_number(&self, number: &Number) -> Option<String> {
        if !self.is_numeric && self.live.is_empty() {
            return None;
        }
        match self.redact_text(&number.to_string()) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    fn redact_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.redact_text(text)),
            Value::Number(number) => self
                .redact_number(number)
                .map_or_else(|| value.clone(), Value::from),
            Value::Array(items) => items.iter().map(|item| self.redact_value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| {
                    let name = self.redact_text(name).into_owned();
                    (name, self.redact_value(field))
                })
                .collect(),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redactor_keeps_json_valid() {
        let redactor = Redactor::new(["12345678901", "say \"hi\" \\now"]);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(redactor.redact_json(text).as_deref(), expected, "{text}");
        };
        check(r#"{"a": [1, null, "x"]}"#, None);
        check(r#"{"a": 12345678901}"#, Some(r#"{"a":"***********"}"#));
        check(r#"{"n12345678": 1.5}"#, Some(r#"{"n********":1.5}"#));
        check(r#"["say \"hi\" \\now"]"#, Some(r#"["*************"]"#));
        check("no JSON 12345678", Some("no JSON ********"));
        check("no JSON", None);
    }
}
