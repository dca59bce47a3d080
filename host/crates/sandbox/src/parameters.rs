//! The parameters that an engine declares, and the values that callers give for them.

use pinhole_ground::text::plain;
use serde_json::{Map, Value};

use crate::contract::{Description, IntegerRange, NumberRange, Parameter, ParameterKind};

/// Length of a text in bytes.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// Length of a value in a message, in bytes.
const MAX_VALUE_BYTES: usize = 60;
/// Choices and parameters that a message lists.
const MAX_LISTED: usize = 20;

/// Why the parameters of a job are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    pub name: String,
    /// Continues a sentence that begins with the name.
    pub problem: String,
}

/// Refuses a value that its parameter does not allow, and a parameter that the engine does not take.
pub fn check_parameters(
    description: &Description,
    parameters: &Map<String, Value>,
) -> Result<(), InvalidParameter> {
    let declared = &description.parameters;
    for (name, value) in parameters {
        // As if it was not given.
        if value.is_null() {
            continue;
        }
        let problem = match declared.iter().find(|it| it.name == *name) {
            Some(parameter) => check_parameter_value(parameter, value).err(),
            None if description.other_parameters => None,
            None => Some(unknown_parameter(description)),
        };
        if let Some(problem) = problem {
            return Err(InvalidParameter {
                name: name.clone(),
                problem,
            });
        }
    }
    Ok(())
}

fn unknown_parameter(description: &Description) -> String {
    let engine = &description.name;
    let names: Vec<&str> = description
        .parameters
        .iter()
        .take(MAX_LISTED)
        .map(|it| it.name.as_str())
        .collect();
    if names.is_empty() {
        return format!("is unknown: engine {engine} has no parameters");
    }
    format!(
        "is unknown: engine {engine} has the parameters {}",
        names.join(", ")
    )
}

/// Refuses a value that the parameter does not allow. The problem continues a sentence.
pub(crate) fn check_parameter_value(parameter: &Parameter, value: &Value) -> Result<(), String> {
    let is_allowed = match &parameter.kind {
        ParameterKind::Text => value.as_str().is_some_and(|it| it.len() <= MAX_TEXT_BYTES),
        ParameterKind::Integer(IntegerRange { min, max }) => value
            .as_i64()
            .is_some_and(|it| min.is_none_or(|min| it >= min) && max.is_none_or(|max| it <= max)),
        ParameterKind::Number(NumberRange { min, max }) => value
            .as_f64()
            .is_some_and(|it| min.is_none_or(|min| it >= min) && max.is_none_or(|max| it <= max)),
        ParameterKind::Boolean => value.is_boolean(),
        ParameterKind::Choice(choices) => value
            .as_str()
            .is_some_and(|it| choices.iter().any(|choice| choice == it)),
    };
    if is_allowed {
        return Ok(());
    }
    let given = plain(&value.to_string(), MAX_VALUE_BYTES);
    Err(format!(
        "must be {}, not {given}",
        describe_kind(&parameter.kind)
    ))
}

fn describe_kind(kind: &ParameterKind) -> String {
    match kind {
        ParameterKind::Text => format!("a text of at most {MAX_TEXT_BYTES} bytes"),
        ParameterKind::Integer(IntegerRange { min, max }) => {
            describe_range("an integer", min.as_ref(), max.as_ref())
        }
        ParameterKind::Number(NumberRange { min, max }) => {
            describe_range("a number", min.as_ref(), max.as_ref())
        }
        ParameterKind::Boolean => "true or false".to_owned(),
        ParameterKind::Choice(choices) => {
            let listed: Vec<&str> = choices
                .iter()
                .take(MAX_LISTED)
                .map(String::as_str)
                .collect();
            format!("one of {}", listed.join(", "))
        }
    }
}

fn describe_range<T: ToString>(kind: &str, min: Option<&T>, max: Option<&T>) -> String {
    match (min.map(T::to_string), max.map(T::to_string)) {
        (Some(min), Some(max)) => format!("{kind} from {min} to {max}"),
        (Some(min), None) => format!("{kind} of at least {min}"),
        (None, Some(max)) => format!("{kind} of at most {max}"),
        (None, None) => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::Abilities;

    fn description(other_parameters: bool) -> Description {
        let parameter = |name: &str, kind| Parameter {
            name: name.into(),
            title: String::new(),
            description: String::new(),
            kind,
            default: None,
            unit: None,
        };
        Description {
            name: "draw".into(),
            title: "Draw".into(),
            version: "1".into(),
            abilities: Abilities::default(),
            settings: Vec::new(),
            upstreams: Vec::new(),
            parameters: vec![
                parameter("note", ParameterKind::Text),
                parameter(
                    "count",
                    ParameterKind::Integer(IntegerRange {
                        min: Some(1),
                        max: Some(4),
                    }),
                ),
                parameter(
                    "guidance",
                    ParameterKind::Number(NumberRange {
                        min: Some(0.5),
                        max: None,
                    }),
                ),
                parameter("tiled", ParameterKind::Boolean),
                parameter(
                    "style",
                    ParameterKind::Choice(vec!["vivid".into(), "plain".into()]),
                ),
            ],
            other_parameters,
        }
    }

    fn check(other_parameters: bool, given: Value) -> String {
        let description = description(other_parameters);
        match check_parameters(&description, given.as_object().unwrap()) {
            Ok(()) => String::new(),
            Err(InvalidParameter { name, problem }) => format!("{name} {problem}"),
        }
    }

    #[test]
    fn parameters_are_checked_by_type_range_and_choice() {
        let good = json!({
            "note": "x", "count": 4, "guidance": 3, "tiled": true, "style": "plain", "x": null,
        });
        assert_eq!(check(false, good), "");
        for (given, expected) in [
            (json!({"note": 1}), "note must be a text"),
            (json!({"count": 5}), "count must be an integer from 1 to 4"),
            (
                json!({"count": 1.5}),
                "count must be an integer from 1 to 4",
            ),
            (
                json!({"guidance": 0.4}),
                "guidance must be a number of at least 0.5",
            ),
            (json!({"guidance": "3"}), "guidance must be a number"),
            (json!({"tiled": "yes"}), "tiled must be true or false"),
            (
                json!({"style": "loud"}),
                "style must be one of vivid, plain",
            ),
        ] {
            let problem = check(false, given);
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused_unless_the_engine_takes_others() {
        let problem = check(false, json!({"x": 1}));
        assert_eq!(
            problem,
            "x is unknown: engine draw has the parameters note, count, guidance, tiled, style"
        );
        assert_eq!(check(true, json!({"x": 1})), "");
        assert!(!check(true, json!({"count": 9})).is_empty());
    }
}
