//! A job's own parameters, and those an operator lays over every request.

use serde_json::{Map, Value};

use crate::{Error, Job, Settings};

impl Job {
    /// The job's parameters as an object.
    ///
    /// Fails with the name as its field where they hold one of `reserved`: what the job says itself
    /// was checked by the host, so its parameters may not say it again.
    pub fn checked_parameters(&self, reserved: &[&str]) -> Result<Map<String, Value>, Error> {
        let parameters: Map<String, Value> = serde_json::from_str(&self.parameters)
            .map_err(|error| Error::invalid("parameters", format!("cannot be used: {error}")))?;
        match reserved.iter().find(|name| parameters.contains_key(**name)) {
            Some(name) => Err(Error::invalid(
                *name,
                format!("the parameters may not hold {name}: it is a field of the job itself"),
            )),
            None => Ok(parameters),
        }
    }
}

impl Settings {
    /// A document that holds a JSON object; empty when it is unset.
    ///
    /// Fails with kind `invalid` and the key as its field when the text is no object.
    pub fn object(&self, key: &str) -> Result<Map<String, Value>, Error> {
        match self.json::<Value>(key)? {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(Error::invalid(
                key,
                format!("setting {key} must be a JSON object such as {{\"quality\": \"high\"}}"),
            )),
        }
    }
}

/// Lays one value over another, object by object; `null` takes a field out.
pub fn overlay(under: &mut Value, over: Value) {
    let Value::Object(over) = over else {
        *under = over;
        return;
    };
    if !under.is_object() {
        *under = Value::Object(Map::new());
    }
    if let Value::Object(under) = under {
        overlay_fields(under, over);
    }
}

/// The same for the fields of two objects.
pub fn overlay_fields(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        if value.is_null() {
            under.remove(&key);
        } else {
            overlay(under.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::SettingValue;

    fn job(parameters: &str) -> Job {
        Job {
            prompt: "a fox".into(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            parameters: parameters.into(),
        }
    }

    #[test]
    fn parameters_do_not_say_the_job_again() {
        let read = |text: &str| job(text).checked_parameters(&["n"]);
        assert_eq!(read(r#"{"a":1}"#).unwrap().len(), 1);
        assert_eq!(read(r#"{"n":1}"#).unwrap_err().field.as_deref(), Some("n"));
        let field = read("[]").unwrap_err().field;
        assert_eq!(field.as_deref(), Some("parameters"));
    }

    #[test]
    fn a_setting_is_an_object_or_refused() {
        let settings = |text: &str| {
            Settings::new(vec![SettingValue {
                key: "params".into(),
                value: json!(text).to_string(),
            }])
        };
        assert_eq!(
            settings(r#"{"a":1}"#).object("params").unwrap(),
            *json!({"a": 1}).as_object().unwrap()
        );
        assert!(settings("").object("params").unwrap().is_empty());
        for text in ["[1]", "7", "{"] {
            let error = settings(text).object("params").unwrap_err();
            assert_eq!(error.field.as_deref(), Some("params"), "{text}");
        }
    }

    #[test]
    fn the_upper_value_wins_field_by_field() {
        let mut under = json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4});
        overlay(
            &mut under,
            json!({"a": {"c": 5}, "d": null, "e": [1], "f": {"g": 1, "h": null}}),
        );
        assert_eq!(
            under,
            json!({"a": {"b": 1, "c": 5}, "e": [1], "f": {"g": 1}})
        );
    }
}
