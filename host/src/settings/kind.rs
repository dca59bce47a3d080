//! What a setting may hold: its JSON in the store and in answers, its text in a variable.

use serde_json::Value;

/// Length of one setting's value, in bytes.
pub(super) const MAX_SETTING_BYTES: usize = 1 << 20;

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// Any text.
    Text,
    /// A base URL.
    Url,
    /// A whole number.
    Integer,
    /// A JSON object.
    Object,
    /// A JSON list.
    List,
    /// A text that nobody is shown.
    Secret,
    /// A JSON object with secrets inside, which nobody is shown.
    Secrets,
}

use Kind::{Boolean, Integer, List, Object, Secret, Secrets, Text, Url};

impl Kind {
    /// As clients read it.
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
            Secrets => "object with secrets",
        }
    }

    /// Is it sealed in the store?
    #[must_use]
    pub fn is_sealed(self) -> bool {
        matches!(self, Secret | Secrets)
    }

    /// What a variable holds, as JSON. An empty one of any kind but text is null, and one that is
    /// not of the kind is the text that it is.
    #[must_use]
    pub fn value(self, text: &str) -> Value {
        let is_text = || Value::from(text);
        match self {
            Text | Url | Secret => is_text(),
            _ if text.is_empty() => Value::Null,
            Boolean => Value::from(text.eq_ignore_ascii_case("true")),
            Integer => text
                .trim()
                .parse::<i64>()
                .map_or_else(|_| is_text(), Value::from),
            Object | List | Secrets => {
                let parsed = serde_json::from_str(text).ok();
                let parsed = parsed.filter(|value| self.holds(value));
                parsed.unwrap_or_else(is_text)
            }
        }
    }

    /// The same back: what a variable has to hold for this value. Numbers and documents may come as
    /// texts too, and null is an empty one.
    ///
    /// The error says what the value must be.
    pub fn text(self, value: &Value) -> Result<String, String> {
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
            (Text | Secret | Url, _) => return Err("must be a text".to_owned()),
            (Integer, Value::String(text)) if text.trim().is_empty() => String::new(),
            (Integer, value) => whole(value).ok_or("must be a whole number such as 20")?,
            (Object | List | Secrets, value) => self.document(value)?,
        };
        if text.len() > MAX_SETTING_BYTES {
            let length = text.len();
            return Err(format!(
                "has {length} bytes; a setting may have {MAX_SETTING_BYTES} at most"
            ));
        }
        match text.contains('\0') {
            true => Err("must not contain the character NUL".to_owned()),
            false => Ok(text),
        }
    }

    /// An empty document says nothing.
    fn document(self, value: &Value) -> Result<String, String> {
        let parsed = match value {
            Value::String(text) if text.trim().is_empty() => return Ok(String::new()),
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            value => value.clone(),
        };
        let empty = match &parsed {
            Value::Object(members) => members.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        match (self.holds(&parsed), self) {
            (true, _) if empty => Ok(String::new()),
            (true, _) => Ok(parsed.to_string()),
            (false, List) => Err("must be a JSON list".to_owned()),
            (false, _) => Err("must be a JSON object".to_owned()),
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Object | Secrets => value.is_object(),
            List => value.is_array(),
            _ => true,
        }
    }
}

fn whole(value: &Value) -> Option<String> {
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

    fn check(kind: Kind, value: Value, text: &str) {
        assert_eq!(kind.text(&value).as_deref(), Ok(text), "{value}");
    }

    #[test]
    fn values_become_what_variables_hold() {
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
    fn what_is_of_another_kind_is_refused() {
        let refused = |kind: Kind, value: Value| {
            let text = kind.text(&value);
            assert!(text.is_err(), "{value}: {text:?}");
        };
        for value in [json!(null), json!("yes"), json!(1), json!("")] {
            refused(Boolean, value);
        }
        for value in [json!(1.5), json!("x"), json!(true), json!([1])] {
            refused(Integer, value);
        }
        for value in [json!(1), json!(true), json!({}), json!("a\0b")] {
            refused(Text, value.clone());
            refused(Secret, value);
        }
        for value in [json!([]), json!("[]"), json!("x"), json!(1)] {
            refused(Object, value.clone());
            refused(Secrets, value);
        }
        for value in [json!({}), json!("{}"), json!("x"), json!(1)] {
            refused(List, value);
        }
        refused(Text, json!("x".repeat(MAX_SETTING_BYTES + 1)));
    }

    #[test]
    fn a_variable_is_shown_as_its_kind() {
        assert_eq!(Boolean.value("TRUE"), json!(true));
        assert_eq!(Boolean.value("yes"), json!(false));
        assert_eq!(Integer.value("20"), json!(20));
        assert_eq!(Integer.value("many"), json!("many"));
        assert_eq!(Integer.value(""), json!(null));
        assert_eq!(Text.value(""), json!(""));
        assert_eq!(Object.value("{\"a\":1}"), json!({"a": 1}));
        assert_eq!(Object.value("[1]"), json!("[1]"));
        assert_eq!(List.value("[1]"), json!([1]));
    }
}
