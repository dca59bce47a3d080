//! A job's own parameters: a short list, since a job comes from a caller who may be hostile.
//!
//! What is not on it could get round what the host checked (a second size, more images), run
//! scripts, or change the web UI for everyone. An operator's parameters may hold anything.

use pinhole_sdk::words::cut;
use pinhole_sdk::{Error, Job};
use serde_json::{Value, json};

use crate::body::Body;

/// Length of a name, in bytes.
const MAX_NAME: usize = 200;
/// Length of a parameter's name in a message, in bytes.
const MAX_SHOWN: usize = 60;

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Number(f64, f64),
    Whole(i64, i64),
    Flag,
    Name,
}

type Allowed = (&'static str, Kind);

/// Of every job. `sampler` is another name of `sampler_name`; `clip_skip` counts the last layers of
/// the text encoder, and is a setting of the web UI that is overridden for this job.
const ALLOWED: [Allowed; 10] = [
    ("cfg_scale", Kind::Number(0.0, 100.0)),
    ("sampler_name", Kind::Name),
    ("sampler", Kind::Name),
    ("scheduler", Kind::Name),
    ("denoising_strength", Kind::Number(0.0, 1.0)),
    ("clip_skip", Kind::Whole(1, 12)),
    ("subseed", Kind::Whole(-1, i64::MAX)),
    ("subseed_strength", Kind::Number(0.0, 1.0)),
    ("tiling", Kind::Flag),
    ("restore_faces", Kind::Flag),
];

/// Of edits besides.
const ALLOWED_IN_EDITS: [Allowed; 7] = [
    ("resize_mode", Kind::Whole(0, 3)),
    ("image_cfg_scale", Kind::Number(0.0, 100.0)),
    ("initial_noise_multiplier", Kind::Number(0.0, 2.0)),
    ("mask_blur", Kind::Whole(0, 64)),
    ("inpainting_fill", Kind::Whole(0, 3)),
    ("inpaint_full_res", Kind::Flag),
    ("inpaint_full_res_padding", Kind::Whole(0, 256)),
];

/// What a job says itself.
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

/// The job's parameters as the web UI's fields. Fails with the name of one that is not allowed, or
/// not what it may be, as its field.
pub(crate) fn read(job: &Job, edits: bool) -> Result<Body, Error> {
    let mut fields = Body::new();
    let allowed = || {
        let in_edits = ALLOWED_IN_EDITS.iter().filter(|_| edits);
        ALLOWED.iter().chain(in_edits)
    };
    for (name, value) in job.checked_parameters(&RESERVED)? {
        let Some((_, kind)) = allowed().find(|(allowed, _)| *allowed == name) else {
            let names: Vec<&str> = allowed().map(|(name, _)| *name).collect();
            let shown = cut(&name, MAX_SHOWN);
            let message = format!(
                "the parameter {shown} is not open to a job, which may have {}; an operator can set it for all",
                names.join(", ")
            );
            return Err(Error::invalid(shown, message));
        };
        if value.is_null() {
            continue;
        }
        kind.check(&name, &value)?;
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

impl Kind {
    fn check(self, name: &str, value: &Value) -> Result<(), Error> {
        let (fits, wanted) = match self {
            Self::Number(min, max) => (
                value
                    .as_f64()
                    .is_some_and(|number| (min..=max).contains(&number)),
                format!("a number from {min} to {max}"),
            ),
            Self::Whole(min, max) => (
                value
                    .as_i64()
                    .is_some_and(|number| (min..=max).contains(&number)),
                format!("a whole number from {min} to {max}"),
            ),
            Self::Flag => (value.is_boolean(), "true or false".to_owned()),
            Self::Name => (
                value
                    .as_str()
                    .is_some_and(|text| (1..=MAX_NAME).contains(&text.len())),
                format!("a name of 1 to {MAX_NAME} bytes"),
            ),
        };
        if fits {
            return Ok(());
        }
        let came = cut(&value.to_string(), MAX_SHOWN);
        let message = format!("the parameter {name} must be {wanted}, not {came}");
        Err(Error::invalid(name, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::job;

    #[track_caller]
    fn check(edits: bool, parameters: &str, expected: Value) {
        let job = Job {
            parameters: parameters.into(),
            ..job()
        };
        assert_eq!(Value::Object(read(&job, edits).unwrap()), expected);
    }

    #[track_caller]
    fn check_refused(edits: bool, parameters: &str, field: &str) {
        let job = Job {
            parameters: parameters.into(),
            ..job()
        };
        let error = read(&job, edits).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{parameters}");
    }

    #[test]
    fn what_is_open_to_a_job_becomes_fields() {
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
    fn nothing_else_is_open_to_a_job() {
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
            for edits in [false, true] {
                check_refused(edits, &format!(r#"{{"{name}": null}}"#), name);
            }
        }
        check_refused(false, r#"{"mask_blur": 8}"#, "mask_blur");
        check_refused(false, "[]", "parameters");
    }

    #[test]
    fn values_have_their_kind_and_range() {
        check_refused(false, r#"{"cfg_scale": "7"}"#, "cfg_scale");
        check_refused(false, r#"{"cfg_scale": 1e300}"#, "cfg_scale");
        check_refused(false, r#"{"clip_skip": 0}"#, "clip_skip");
        check_refused(false, r#"{"clip_skip": 1.5}"#, "clip_skip");
        check_refused(false, r#"{"tiling": 1}"#, "tiling");
        check_refused(false, r#"{"sampler": ""}"#, "sampler");
        check_refused(true, r#"{"mask_blur": 100000}"#, "mask_blur");
    }
}
