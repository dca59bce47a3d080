//! The kinds of a setting's value, and the conversion between JSON and the text of a variable.

use serde_json::Value;

/// Length of one setting's value in bytes.
pub const MAX_SETTING_BYTES: usize = 1 << 20;

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Boolean,
    Text,
    /// A base URL.
    Url,
    Integer,
    /// A JSON object.
    Object,
    /// A JSON array.
    List,
    /// A text that is never returned.
    Secret,
    /// A JSON object with secrets among its members, which are never returned.
    SecretObject,
}

use ValueKind::{Boolean, Integer, List, Object, Secret, SecretObject, Text, Url};

impl ValueKind {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Boolean => "boolean",
            Text => "text",
            Url => "url",
            Integer => "integer",
            Object => "object",
            List => "list",
            Secret => "secret",
            SecretObject => "object with secrets",
        }
    }

    /// True if the database stores values of this kind encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Secret | SecretObject)
    }

    /// Converts the text of a variable to JSON. An empty text is null, except for texts. A text that is
    /// not of the kind becomes a string.
    #[must_use]
    pub fn parse(self, text: &str) -> Value {
        match self {
            Text | Url | Secret => Value::from(text),
            _ if text.is_empty() => Value::Null,
            Boolean => Value::from(text.eq_ignore_ascii_case("true")),
            Integer => match text.trim().parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(text),
            },
            Object | List | SecretObject => match serde_json::from_str(text) {
                Ok(document) if self.accepts(&document) => document,
                _ => Value::from(text),
            },
        }
    }

    /// Converts JSON to the text of a variable. Numbers, objects and arrays may also be strings, and null
    /// becomes an empty text.
    ///
    /// The error is a phrase that follows the setting's name.
    pub fn format(self, value: &Value) -> Result<String, String> {
        let text = match (self, value) {
            (Boolean, Value::Bool(_)) => value.to_string(),
            (Boolean, Value::String(text)) => match text.to_lowercase() {
                text if text == "true" || text == "false" => text,
                _ => return Err("must be true or false".to_owned()),
            },
            (Boolean, _) => return Err("must be true or false".to_owned()),
            (_, Value::Null) => String::new(),
            (Text | Secret, Value::String(text)) => text.clone(),
            (Url, Value::String(text)) => text.trim().to_owned(),
            (Text | Secret | Url, _) => return Err("must be a string".to_owned()),
            (Integer, Value::String(text)) if text.trim().is_empty() => String::new(),
            (Integer, value) => format_integer(value).ok_or("must be a whole number such as 20")?,
            (Object | List | SecretObject, value) => self.format_document(value)?,
        };
        if text.len() > MAX_SETTING_BYTES {
            return Err(format!(
                "has {} bytes, more than the {MAX_SETTING_BYTES} allowed",
                text.len()
            ));
        }
        if text.contains('\0') {
            return Err("must not contain the character NUL".to_owned());
        }
        Ok(text)
    }

    /// An empty object or array becomes an empty text.
    fn format_document(self, value: &Value) -> Result<String, String> {
        let document = match value {
            Value::String(text) if text.trim().is_empty() => return Ok(String::new()),
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            value => value.clone(),
        };
        if !self.accepts(&document) {
            return Err(match self {
                List => "must be a JSON array".to_owned(),
                _ => "must be a JSON object".to_owned(),
            });
        }
        let is_empty = match &document {
            Value::Object(members) => members.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if is_empty {
            return Ok(String::new());
        }
        Ok(document.to_string())
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Object | SecretObject => value.is_object(),
            List => value.is_array(),
            _ => true,
        }
    }
}

fn format_integer(value: &Value) -> Option<String> {
    let number = match value {
        Value::String(digits) => digits.trim().parse::<i64>().ok(),
        value => value.as_i64(),
    };
    number.map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: ValueKind, value: Value, text: &str) {
        assert_eq!(kind.format(&value).as_deref(), Ok(text), "{value}");
    }

    #[test]
    fn value_kind_formats_json_as_text() {
        check(Boolean, json!(true), "true");
        check(Boolean, json!("False"), "false");
        check(Integer, json!(20), "20");
        check(Integer, json!(" -1 "), "-1");
        check(Integer, json!(null), "");
        check(Integer, json!(""), "");
        check(Text, json!(" as it is "), " as it is ");
        check(Text, json!(null), "");
        check(Url, json!(" http://a/ "), "http://a/");
        check(Object, json!({"b": 1, "a": []}), r#"{"a":[],"b":1}"#);
        check(Object, json!("{\"a\": 1}"), r#"{"a":1}"#);
        check(Object, json!({}), "");
        check(Object, json!("  "), "");
        check(List, json!([{"type": "seed"}]), r#"[{"type":"seed"}]"#);
        check(List, json!("[]"), "");
    }

    #[test]
    fn value_kind_refuses_values_of_other_kinds() {
        let check_refused = |kind: ValueKind, value: Value| {
            let text = kind.format(&value);
            assert!(text.is_err(), "{value}: {text:?}");
        };
        for value in [json!(null), json!("yes"), json!(1), json!("")] {
            check_refused(Boolean, value);
        }
        for value in [json!(1.5), json!("x"), json!(true), json!([1])] {
            check_refused(Integer, value);
        }
        for value in [json!(1), json!(true), json!({}), json!("a\0b")] {
            check_refused(Text, value.clone());
            check_refused(Secret, value);
        }
        for value in [json!([]), json!("[]"), json!("x"), json!(1)] {
            check_refused(Object, value.clone());
            check_refused(SecretObject, value);
        }
        for value in [json!({}), json!("{}"), json!("x"), json!(1)] {
            check_refused(List, value);
        }
        check_refused(Text, json!("x".repeat(MAX_SETTING_BYTES + 1)));
    }

    #[test]
    fn value_kind_parses_text() {
        assert_eq!(Boolean.parse("TRUE"), json!(true));
        assert_eq!(Boolean.parse("yes"), json!(false));
        assert_eq!(Integer.parse("20"), json!(20));
        assert_eq!(Integer.parse("many"), json!("many"));
        assert_eq!(Integer.parse(""), json!(null));
        assert_eq!(Text.parse(""), json!(""));
        assert_eq!(Object.parse("{\"a\":1}"), json!({"a": 1}));
        assert_eq!(Object.parse("[1]"), json!("[1]"));
        assert_eq!(List.parse("[1]"), json!([1]));
    }
}
