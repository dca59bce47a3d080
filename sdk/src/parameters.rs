//! A job's own parameters, and JSON merge patches that lay settings over a request.
//!
//! ```
//! use pinhole_sdk::{Job, parameters::merge_patch_fields};
//!
//! let job = Job { parameters: r#"{"quality": "high"}"#.into(), ..Job::default() };
//! let mut body = serde_json::Map::new();
//! merge_patch_fields(&mut body, job.parse_parameters(&["prompt"])?);
//! assert_eq!(body["quality"], "high");
//! # Ok::<(), pinhole_sdk::Error>(())
//! ```

use serde_json::{Map, Value};

use crate::{Error, Job, Settings};

impl Job {
    /// The strength of an edit with the digits that the caller wrote: a 32-bit 0.6 in JSON is
    /// 0.6000000238418579.
    ///
    /// ```
    /// use pinhole_sdk::Job;
    ///
    /// let job = Job { strength: Some(0.6), ..Job::default() };
    /// assert_eq!(serde_json::json!(job.decimal_strength()).to_string(), "0.6");
    /// ```
    #[must_use]
    pub fn decimal_strength(&self) -> Option<f64> {
        self.strength?.to_string().parse().ok()
    }

    /// Parses the job's parameters as a JSON object.
    ///
    /// Fails if they contain a name of `reserved`, with that name as the field: the host has
    /// checked the job's own fields, and parameters must not override them.
    ///
    /// ```
    /// use pinhole_sdk::Job;
    ///
    /// let job = Job { parameters: r#"{"style": "vivid"}"#.into(), ..Job::default() };
    /// assert_eq!(job.parse_parameters(&["prompt"])?["style"], "vivid");
    /// assert!(job.parse_parameters(&["style"]).is_err());
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    pub fn parse_parameters(&self, reserved: &[&str]) -> Result<Map<String, Value>, Error> {
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
    /// A document that holds a JSON object; empty if it is unset.
    ///
    /// Fails if the text is not a JSON object, with the key as the field.
    ///
    /// ```
    /// use pinhole_sdk::{SettingValue, Settings};
    ///
    /// let value = serde_json::json!(r#"{"quality": "high"}"#).to_string();
    /// let settings = Settings::new(vec![SettingValue { key: "params".into(), value }]);
    /// assert_eq!(settings.object("params")?["quality"], "high");
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
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

/// Applies a JSON merge patch (RFC 7396): objects merge field by field, `null` removes a field,
/// and any other value replaces.
///
/// ```
/// use pinhole_sdk::parameters::merge_patch;
/// use serde_json::json;
///
/// let mut body = json!({"size": "auto", "n": 1});
/// merge_patch(&mut body, json!({"size": null, "quality": "high"}));
/// assert_eq!(body, json!({"n": 1, "quality": "high"}));
/// ```
pub fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        merge_patch_fields(target, patch);
    }
}

/// [`merge_patch`] for two objects.
///
/// ```
/// use pinhole_sdk::parameters::merge_patch_fields;
/// use serde_json::Map;
///
/// let mut body = Map::from_iter([("n".to_owned(), 1.into())]);
/// merge_patch_fields(&mut body, Map::from_iter([("n".to_owned(), 2.into())]));
/// assert_eq!(body["n"], 2);
/// ```
pub fn merge_patch_fields(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge_patch(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Setting, SettingKind, testing};

    fn job(parameters: &str) -> Job {
        Job {
            parameters: parameters.into(),
            ..Job::default()
        }
    }

    #[test]
    fn parse_parameters_refuses_reserved_names() {
        let parse = |text: &str| job(text).parse_parameters(&["n"]);
        assert_eq!(parse(r#"{"a":1}"#).unwrap().len(), 1);
        assert_eq!(parse(r#"{"n":1}"#).unwrap_err().field.as_deref(), Some("n"));
        let field = parse("[]").unwrap_err().field;
        assert_eq!(field.as_deref(), Some("parameters"));
    }

    #[test]
    fn settings_object_refuses_other_json() {
        let settings = |text: &str| {
            let declared = Setting::new("params", SettingKind::Document, "", "");
            testing::settings([declared], &[("params", text)])
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
    fn merge_patch_merges_field_by_field() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4});
        merge_patch(
            &mut target,
            json!({"a": {"c": 5}, "d": null, "e": [1], "f": {"g": 1, "h": null}}),
        );
        assert_eq!(
            target,
            json!({"a": {"b": 1, "c": 5}, "e": [1], "f": {"g": 1}})
        );
    }
}
