//! Request parameters from a job, whose caller may be hostile, and from the operator.

use pinhole_sdk::{Error, Job, Parameter, ParameterKind, Settings};
use serde_json::{Map, Value};

use super::MAX_COUNT;
use crate::settings::{EXTRA_PARAMETERS, Options};

/// Fields of the job itself. The host has checked them, so parameters may not override them.
const RESERVED: [&str; 8] = [
    "image", "images", "mask", "markup", "model", "n", "prompt", "size",
];
const OUTPUT_FORMATS: [&str; 4] = ["png", "jpeg", "webp", "gif"];
/// OpenAI's parameters that a job may set.
const KNOWN: [(&str, ParameterType); 15] = [
    ("background", ParameterType::String),
    ("complexity", ParameterType::String),
    ("frame_count", ParameterType::Integer { min: 2, max: 16 }),
    (
        "frame_duration_ms",
        ParameterType::Integer {
            min: 1,
            max: 60_000,
        },
    ),
    ("input_fidelity", ParameterType::String),
    ("moderation", ParameterType::String),
    (
        "output_compression",
        ParameterType::Integer { min: 0, max: 100 },
    ),
    // The upstream also supports svg, but the host does not accept it.
    ("output_format", ParameterType::OneOf(&OUTPUT_FORMATS)),
    ("partial_images", ParameterType::Integer { min: 0, max: 3 }),
    ("quality", ParameterType::String),
    ("safety_identifier", ParameterType::String),
    ("stream", ParameterType::Boolean),
    ("style", ParameterType::String),
    ("user", ParameterType::String),
    (
        "n",
        ParameterType::Integer {
            min: 1,
            max: MAX_COUNT as u64,
        },
    ),
];

#[derive(Clone, Copy)]
enum ParameterType {
    String,
    OneOf(&'static [&'static str]),
    Boolean,
    Integer { min: u64, max: u64 },
}

/// The parameters for forms. Compatible servers have further ones, and other values of the texts.
pub(crate) fn declare_parameters() -> Vec<Parameter> {
    let text = |name| Parameter::new(name, ParameterKind::Text);
    vec![
        text("quality").with_title("Quality", "Such as low, medium or high; hd for dall-e-3."),
        text("background").with_title("Background", "auto, opaque or transparent."),
        Parameter::choice("output_format", &OUTPUT_FORMATS)
            .with_title("Format", "The format of the image."),
        Parameter::integer("output_compression", 0, 100)
            .with_title("Compression", "The quality of a jpeg or webp.")
            .with_unit("%"),
        text("style").with_title("Style", "For dall-e-3: vivid or natural."),
        text("moderation").with_title("Moderation", "auto or low."),
        text("input_fidelity").with_title(
            "Fidelity",
            "For edits: high follows the details of the source.",
        ),
    ]
}

/// The job's parameters. Each must be one that a job may set, and have the right type.
pub(super) fn job_parameters(job: &Job, options: &Options) -> Result<Map<String, Value>, Error> {
    let parameters = job.parse_parameters(&RESERVED)?;
    for (name, value) in &parameters {
        match known_type(name) {
            Some(parameter_type) => parameter_type.check(name, value)?,
            None if options.allows_extra_parameter(name) => {}
            None => {
                let message = format!(
                    "parameter {name:?} is not allowed: remove it, or add it to the setting \
                     {EXTRA_PARAMETERS} if the upstream supports it"
                );
                return Err(Error::invalid(name.as_str(), message));
            }
        }
    }
    Ok(parameters)
}

/// The operator's parameters from a setting. Any object is allowed if the engine can read the
/// fields that it uses itself.
pub(crate) fn operator_parameters(
    settings: &Settings,
    key: &str,
) -> Result<Map<String, Value>, Error> {
    let parameters = settings.object(key)?;
    for name in ["n", "partial_images", "stream"] {
        let (Some(parameter_type), Some(value)) = (known_type(name), parameters.get(name)) else {
            continue;
        };
        parameter_type.check(name, value).map_err(|error| {
            Error::invalid(
                key,
                format!("setting {key} cannot be used: {}", error.message),
            )
        })?;
    }
    match parameters.get("model") {
        Some(model) if !model.is_string() && !model.is_null() => {
            let message = format!("setting {key} cannot be used: model must be a string");
            Err(Error::invalid(key, message))
        }
        _ => Ok(parameters),
    }
}

fn known_type(name: &str) -> Option<ParameterType> {
    KNOWN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, parameter_type)| *parameter_type)
}

impl ParameterType {
    /// Every parameter may be null, which leaves the choice to the upstream.
    fn check(self, name: &str, value: &Value) -> Result<(), Error> {
        let fits = match self {
            _ if value.is_null() => true,
            Self::String => value.is_string(),
            Self::OneOf(choices) => value.as_str().is_some_and(|text| choices.contains(&text)),
            Self::Boolean => value.is_boolean(),
            Self::Integer { min, max } => value.as_u64().is_some_and(|n| (min..=max).contains(&n)),
        };
        if fits {
            return Ok(());
        }
        let expected = match self {
            Self::String => "a string".to_owned(),
            Self::OneOf(choices) => format!("one of {}", choices.join(", ")),
            Self::Boolean => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
        };
        Err(Error::invalid(name, format!("{name} must be {expected}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{Operation, settings_with};
    use crate::wire::plan::tests::job;

    /// The field of the error, if the parameters are rejected.
    fn rejected_field(parameters: &Value) -> Option<String> {
        let settings = settings_with(&[(EXTRA_PARAMETERS, "cfg_scale, seed")]);
        let options = Options::from_settings(&settings, Operation::Generate).unwrap();
        let job = Job {
            parameters: parameters.to_string(),
            ..job("x")
        };
        let result = job_parameters(&job, &options);
        result.err().and_then(|error| error.field)
    }

    #[test]
    fn job_parameters_reject_reserved_unknown_and_wrong_types() {
        assert_eq!(rejected_field(&json!({})), None);
        let all = json!({
            "background": "opaque", "output_compression": 80, "output_format": "webp",
            "stream": true, "partial_images": 3, "quality": "high", "user": "u", "style": null,
            "cfg_scale": [1], "seed": 5, "input_fidelity": "high",
        });
        assert_eq!(rejected_field(&all), None);
        let no_object = rejected_field(&json!([]));
        assert_eq!(no_object.as_deref(), Some("parameters"));
        for (name, value) in [
            ("n", json!(10)),
            ("n", json!(null)),
            ("model", json!("x")),
            ("prompt", json!("x")),
            ("size", json!("1x1")),
            ("image", json!("http://127.0.0.1/")),
            ("image[]", json!("x")),
            ("images", json!([{"file_id": "file-1"}])),
            ("mask", json!("x")),
            ("steps", json!(1000)),
            ("response_format", json!("url")),
            ("stream", json!("true")),
            ("partial_images", json!(4)),
            ("output_compression", json!("80")),
            ("output_compression", json!(101)),
            ("output_format", json!("svg")),
            ("quality", json!({})),
        ] {
            let parameters = json!({name: value});
            let field = rejected_field(&parameters);
            assert_eq!(field.as_deref(), Some(name), "{parameters}");
        }
    }

    #[test]
    fn operator_parameters_reject_only_unreadable_fields() {
        let parse = |text| operator_parameters(&settings_with(&[("params", text)]), "params");
        assert!(parse(r#"{"prompt": 1, "image": [], "size": {}, "steps": 9, "n": 10}"#).is_ok());
        assert!(parse(r#"{"n": null, "stream": null, "model": null}"#).is_ok());
        for text in [
            "[1]",
            "{",
            r#"{"n": 11}"#,
            r#"{"n": "2"}"#,
            r#"{"stream": 1}"#,
            r#"{"partial_images": 9}"#,
            r#"{"model": 5}"#,
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("params"), "{}", error.message);
        }
    }
}
