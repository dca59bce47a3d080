//! The parameters of a job: a short list, because the client that sends a job may be hostile.
//!
//! Others could bypass what the host validated (a second size, more images), run scripts, or change the web UI for
//! all its users. The host checks each value before the job. The operator's parameters are not restricted.

use pinhole_sdk::{Error, Job, Parameter, ParameterKind};
use serde_json::{Map, Value, json};

/// Parameters that only edits use.
const EDIT_ONLY: [&str; 7] = [
    "resize_mode",
    "image_cfg_scale",
    "initial_noise_multiplier",
    "mask_blur",
    "inpainting_fill",
    "inpaint_full_res",
    "inpaint_full_res_padding",
];

/// What a job may set, with the web UI's names and ranges.
pub(crate) fn declare() -> Vec<Parameter> {
    let text = |name| Parameter::new(name, ParameterKind::Text);
    let switch = |name| Parameter::new(name, ParameterKind::Boolean);
    vec![
        Parameter::number("cfg_scale", 0.0, 100.0)
            .with_title("Guidance", "How closely the image follows the prompt."),
        text("sampler_name").with_title("Sampler", "A sampler of the web UI, such as Euler a."),
        text("sampler").with_title("Sampler", "Another name of sampler_name."),
        text("scheduler").with_title("Scheduler", "A schedule type of the web UI, such as Karras."),
        Parameter::number("denoising_strength", 0.0, 1.0).with_title(
            "Denoising strength",
            "How far the image may differ from its source.",
        ),
        Parameter::integer("clip_skip", 1, 12).with_title(
            "Clip skip",
            "Leaves out the last layers of the text encoder, for this job.",
        ),
        Parameter::integer("subseed", -1, i64::MAX)
            .with_title("Variation seed", "The seed of the variation; -1 is random."),
        Parameter::number("subseed_strength", 0.0, 1.0).with_title(
            "Variation strength",
            "How much of the variation seed is mixed in.",
        ),
        switch("tiling").with_title("Tiling", "The edges of the image fit together."),
        switch("restore_faces").with_title("Restore faces", "Repairs faces after the image is made."),
        Parameter::integer("resize_mode", 0, 3).with_title(
            "Resize mode",
            "For edits: 0 stretches the source, 1 crops, 2 fills, 3 scales the latent image.",
        ),
        Parameter::number("image_cfg_scale", 0.0, 100.0).with_title(
            "Image guidance",
            "For edits with a model that follows instructions: how closely the image follows its source.",
        ),
        Parameter::number("initial_noise_multiplier", 0.0, 2.0)
            .with_title("Noise", "For edits: the noise that is added to the source."),
        Parameter::integer("mask_blur", 0, 64)
            .with_title("Mask blur", "For edits: blur at the edge of the mask.")
            .with_unit("px"),
        Parameter::integer("inpainting_fill", 0, 3).with_title(
            "Fill",
            "For edits, below the mask: 0 fills, 1 keeps the source, 2 uses noise, 3 nothing.",
        ),
        switch("inpaint_full_res").with_title(
            "Only masked",
            "For edits: draws the masked area at the full size.",
        ),
        Parameter::integer("inpaint_full_res_padding", 0, 256)
            .with_title("Padding", "For edits: pixels around the masked area.")
            .with_unit("px"),
    ]
}

/// The job's parameters as the web UI's fields. Fails with the name of a parameter that this job cannot have as
/// its field.
pub(crate) fn parse_parameters(job: &Job, is_edit: bool) -> Result<Map<String, Value>, Error> {
    let mut fields = Map::new();
    if let Some(strength) = job.decimal_strength() {
        fields.insert("denoising_strength".into(), json!(strength));
    }
    for (name, value) in job.parse_parameters(&[])? {
        if value.is_null() {
            continue;
        }
        if !is_edit && EDIT_ONLY.contains(&name.as_str()) {
            let message = format!("parameter {name} is for edits only: leave it out");
            return Err(Error::invalid(name, message));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(is_edit: bool, parameters: &str) -> Result<Map<String, Value>, Error> {
        let job = Job {
            parameters: parameters.into(),
            ..Job::default()
        };
        parse_parameters(&job, is_edit)
    }

    #[track_caller]
    fn check(is_edit: bool, parameters: &str, expected: Value) {
        assert_eq!(Value::Object(parse(is_edit, parameters).unwrap()), expected);
    }

    #[test]
    fn parse_parameters_maps_names_to_fields() {
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
    fn parse_parameters_refuses_those_of_edits_elsewhere() {
        let error = parse(false, r#"{"mask_blur": 8}"#).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("mask_blur"));
        for name in EDIT_ONLY {
            assert!(declare().iter().any(|it| it.name == name), "{name}");
        }
    }

    /// Each of these would bypass a check of the host, or change the web UI for others.
    #[test]
    fn declared_parameters_exclude_dangerous_ones() {
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
            assert!(declare().iter().all(|it| it.name != name), "{name}");
        }
    }
}
