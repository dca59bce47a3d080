//! The job's own parameters: a short list, because the client that sends a job may be hostile.
//!
//! Other parameters could bypass what the host validated (a second size, more images), run scripts,
//! or change the web UI for all its users. The operator's parameters are not restricted.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value, json};

/// Maximum length of a sampler's or scheduler's name, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Maximum length of a parameter's name or value in a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 60;

/// The type and range of a parameter.
#[derive(Clone, Copy, Debug)]
enum ParameterType {
    Number(f64, f64),
    Integer(i64, i64),
    Boolean,
    Name,
}

type Parameter = (&'static str, ParameterType);

/// Parameters of every job. `sampler` is another name of `sampler_name`; `clip_skip` counts the last
/// layers of the text encoder, and is a setting of the web UI that is overridden for this job.
const PARAMETERS: [Parameter; 10] = [
    ("cfg_scale", ParameterType::Number(0.0, 100.0)),
    ("sampler_name", ParameterType::Name),
    ("sampler", ParameterType::Name),
    ("scheduler", ParameterType::Name),
    ("denoising_strength", ParameterType::Number(0.0, 1.0)),
    ("clip_skip", ParameterType::Integer(1, 12)),
    ("subseed", ParameterType::Integer(-1, i64::MAX)),
    ("subseed_strength", ParameterType::Number(0.0, 1.0)),
    ("tiling", ParameterType::Boolean),
    ("restore_faces", ParameterType::Boolean),
];

/// Additional parameters of edits.
const EDIT_PARAMETERS: [Parameter; 7] = [
    ("resize_mode", ParameterType::Integer(0, 3)),
    ("image_cfg_scale", ParameterType::Number(0.0, 100.0)),
    ("initial_noise_multiplier", ParameterType::Number(0.0, 2.0)),
    ("mask_blur", ParameterType::Integer(0, 64)),
    ("inpainting_fill", ParameterType::Integer(0, 3)),
    ("inpaint_full_res", ParameterType::Boolean),
    ("inpaint_full_res_padding", ParameterType::Integer(0, 256)),
];

/// Parameters that are fields of the job itself.
const RESERVED: [&str; 8] = [
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "batch_size",
    "n_iter",
    "steps",
    "seed",
];

/// The job's parameters as the web UI's fields. Fails with the name of a parameter that is not allowed
/// or has an invalid value as its field.
pub(crate) fn parse_parameters(job: &Job, is_edit: bool) -> Result<Map<String, Value>, Error> {
    let edit_parameters: &[Parameter] = if is_edit { &EDIT_PARAMETERS } else { &[] };
    let allowed = || PARAMETERS.iter().chain(edit_parameters);
    let mut fields = Map::new();
    for (name, value) in job.parse_parameters(&RESERVED)? {
        let Some((_, parameter_type)) = allowed().find(|(allowed, _)| *allowed == name) else {
            let names: Vec<&str> = allowed().map(|(allowed, _)| *allowed).collect();
            let short_name = truncate(&name, MAX_MESSAGE_BYTES);
            let message = format!(
                "parameter {short_name} is not allowed in a job: use one of {}, or let the operator set it",
                names.join(", ")
            );
            return Err(Error::invalid(short_name, message));
        };
        if value.is_null() {
            continue;
        }
        parameter_type.validate(&name, &value)?;
        match name.as_str() {
            "clip_skip" => {
                let clip_skip = json!({ "CLIP_stop_at_last_layers": value });
                fields.insert("override_settings".into(), clip_skip);
            }
            "sampler" => {
                fields.entry("sampler_name").or_insert(value);
            }
            _ => {
                fields.insert(name, value);
            }
        }
    }
    Ok(fields)
}

impl ParameterType {
    fn validate(self, name: &str, value: &Value) -> Result<(), Error> {
        if self.accepts(value) {
            return Ok(());
        }
        let expected = match self {
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::Integer(min, max) => format!("an integer from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Name => format!("a name of 1 to {MAX_NAME_BYTES} bytes"),
        };
        let short_value = truncate(&value.to_string(), MAX_MESSAGE_BYTES);
        let message = format!("parameter {name} must be {expected}, not {short_value}");
        Err(Error::invalid(name, message))
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Number(min, max) => value
                .as_f64()
                .is_some_and(|number| (min..=max).contains(&number)),
            Self::Integer(min, max) => value
                .as_i64()
                .is_some_and(|number| (min..=max).contains(&number)),
            Self::Boolean => value.is_boolean(),
            Self::Name => value
                .as_str()
                .is_some_and(|text| (1..=MAX_NAME_BYTES).contains(&text.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::job;

    #[track_caller]
    fn check(is_edit: bool, parameters: &str, expected: Value) {
        let job = Job {
            parameters: parameters.into(),
            ..job()
        };
        assert_eq!(
            Value::Object(parse_parameters(&job, is_edit).unwrap()),
            expected
        );
    }

    #[track_caller]
    fn check_refused(is_edit: bool, parameters: &str, field: &str) {
        let job = Job {
            parameters: parameters.into(),
            ..job()
        };
        let error = parse_parameters(&job, is_edit).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{parameters}");
    }

    #[test]
    fn parse_parameters_maps_allowed_ones_to_fields() {
        check(false, "{}", json!({}));
        check(
            false,
            r#"{"cfg_scale": 3, "tiling": true, "sampler": "Euler", "clip_skip": 2, "scheduler": null}"#,
            json!({
                "cfg_scale": 3, "tiling": true, "sampler_name": "Euler",
                "override_settings": {"CLIP_stop_at_last_layers": 2},
            }),
        );
        check(
            false,
            r#"{"sampler": "Euler", "sampler_name": "Heun"}"#,
            json!({"sampler_name": "Heun"}),
        );
        check(true, r#"{"mask_blur": 8}"#, json!({"mask_blur": 8}));
    }

    #[test]
    fn parse_parameters_refuses_other_names() {
        for name in [
            "width",
            "batch_size",
            "n_iter",
            "enable_hr",
            "hr_scale",
            "script_name",
            "alwayson_scripts",
            "override_settings",
            "override_settings_restore_afterwards",
            "styles",
            "save_images",
            "send_images",
            "init_images",
            "mask",
            "force_task_id",
            "refiner_checkpoint",
            "inpainting_mask_invert",
        ] {
            for is_edit in [false, true] {
                check_refused(is_edit, &format!(r#"{{"{name}": null}}"#), name);
            }
        }
        check_refused(false, r#"{"mask_blur": 8}"#, "mask_blur");
        check_refused(false, "[]", "parameters");
    }

    #[test]
    fn parse_parameters_checks_type_and_range() {
        check_refused(false, r#"{"cfg_scale": "7"}"#, "cfg_scale");
        check_refused(false, r#"{"cfg_scale": 1e300}"#, "cfg_scale");
        check_refused(false, r#"{"clip_skip": 0}"#, "clip_skip");
        check_refused(false, r#"{"clip_skip": 1.5}"#, "clip_skip");
        check_refused(false, r#"{"tiling": 1}"#, "tiling");
        check_refused(false, r#"{"sampler": ""}"#, "sampler");
        check_refused(true, r#"{"mask_blur": 100000}"#, "mask_blur");
    }
}
