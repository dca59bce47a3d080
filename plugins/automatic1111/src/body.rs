//! The body of a request for a job.

use pinhole_sdk::{Error, Job, Size};
use serde_json::{Map, Value, json};

use crate::parameters;

/// A JSON object.
pub(crate) type Body = Map<String, Value>;

/// The web UI generates in blocks of this many pixels.
const BLOCK: u32 = 8;
/// A source with more pixels is generated with about this many, in its shape, unless the job has a
/// size: a photograph from a camera exceeds every graphics card.
const MAX_SOURCE_PIXELS: u32 = 2048 * 2048;
/// Blur at the edge of a mask, in pixels.
const MASK_BLUR: u32 = 4;
/// An edit starts with the original pixels under the mask.
const FILL_ORIGINAL: u32 = 1;
/// Between these tags in a prompt, the server of stable-diffusion.cpp accepts all its own parameters.
const EXTRA_ARGS_TAGS: [&str; 2] = ["<sd_cpp_extra_args>", "</sd_cpp_extra_args>"];

/// The body of a txt2img request. Its names are not yet replaced by the web UI's own.
pub(crate) fn txt2img(job: &Job) -> Result<Body, Error> {
    let mut body = common_fields(job, job.size)?;
    body.extend(parameters::parse_parameters(job, false)?);
    Ok(body)
}

/// The body of an img2img request, as [`txt2img`]; null where the images go.
pub(crate) fn img2img(job: &Job, source: Size, masked: bool) -> Result<Body, Error> {
    let size = job.size.unwrap_or_else(|| bound_source_size(source));
    let mut body = common_fields(job, Some(size))?;
    body.insert("init_images".into(), json!([null]));
    if masked {
        body.insert("mask".into(), Value::Null);
        body.insert("mask_blur".into(), json!(MASK_BLUR));
        body.insert("inpainting_fill".into(), json!(FILL_ORIGINAL));
        // Otherwise the web UI crops the source to the mask and ignores what surrounds it.
        body.insert("inpaint_full_res".into(), json!(false));
    }
    body.extend(parameters::parse_parameters(job, true)?);
    Ok(body)
}

/// The fields of both requests. Both sides are rounded down, as the web UI does with the image.
fn common_fields(job: &Job, size: Option<Size>) -> Result<Body, Error> {
    let mut body = Body::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let prompt = remove_extra_args(&job.prompt);
    if prompt.trim().is_empty() {
        let [tag, _] = EXTRA_ARGS_TAGS;
        let message = format!("the prompt is empty except for {tag}: describe the image");
        return Err(Error::invalid("prompt", message));
    }
    set("prompt", json!(prompt));
    set("batch_size", json!(job.count));
    // The web UI adds a grid of all images to a batch that it saves.
    set("save_images", json!(false));
    if let Some(text) = &job.negative_prompt {
        set("negative_prompt", json!(remove_extra_args(text)));
    }
    if let Some(size) = size.map(|size| size.round_down(BLOCK)) {
        set("width", json!(size.width));
        set("height", json!(size.height));
    }
    if let Some(steps) = job.steps {
        set("steps", json!(steps));
    }
    if let Some(seed) = job.seed {
        set("seed", json!(seed));
    }
    Ok(body)
}

/// A note if the body has another size than the requested one, or than that of the source.
pub(crate) fn size_note(requested: Size, body: &Body) -> Option<String> {
    let side = |key: &str| u32::try_from(body.get(key)?.as_u64()?).ok();
    let generated = Size::new(side("width")?, side("height")?);
    (generated != requested).then(|| format!("generated at {generated} instead of {requested}"))
}

/// The same shape with at most [`MAX_SOURCE_PIXELS`].
fn bound_source_size(size: Size) -> Size {
    let (max, pixels) = (MAX_SOURCE_PIXELS, size.pixels());
    if pixels <= u64::from(max) {
        return size;
    }
    let scale = (f64::from(max) / pixels as f64).sqrt();
    // A float-to-integer cast saturates.
    let scaled = |side: u32| (f64::from(side) * scale) as u32;
    let width = scaled(size.width).clamp(1, max);
    Size::new(width, scaled(size.height).clamp(1, max / width))
}

/// The text without extra-args tags and their content. Repeats until no tag is left, because the text
/// around a removed tag may form another one.
fn remove_extra_args(text: &str) -> String {
    let [opening, closing] = EXTRA_ARGS_TAGS;
    let mut text = text.to_owned();
    loop {
        let lower = text.to_ascii_lowercase();
        let Some(start) = lower.find(opening) else {
            return text;
        };
        let inside = start + opening.len();
        let rest = lower.get(inside..).unwrap_or_default();
        let end = rest
            .find(closing)
            .map_or(inside, |end| inside + end + closing.len());
        text.replace_range(start..end, "");
    }
}

/// Number of images that a request produces.
pub(crate) fn requested_images(body: &Body) -> u32 {
    let number = |key: &str| body.get(key).and_then(Value::as_u64).unwrap_or(1);
    let images = number("batch_size").saturating_mul(number("n_iter"));
    u32::try_from(images).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn job() -> Job {
        Job {
            prompt: "a red fox".into(),
            ..Job::default()
        }
    }

    #[track_caller]
    fn check_txt2img(job: &Job, expected: Value) {
        assert_eq!(Value::Object(txt2img(job).unwrap()), expected);
    }

    #[test]
    fn txt2img_sends_only_set_fields() {
        check_txt2img(
            &job(),
            json!({"prompt": "a red fox", "batch_size": 1, "save_images": false}),
        );
        check_txt2img(
            &Job {
                negative_prompt: Some("blurry".into()),
                size: Some(Size::new(70, 50)),
                count: 2,
                steps: Some(20),
                seed: Some(5),
                parameters: r#"{"cfg_scale": 3}"#.into(),
                ..job()
            },
            json!({
                "prompt": "a red fox", "negative_prompt": "blurry", "batch_size": 2, "save_images": false,
                "width": 64, "height": 48, "steps": 20, "seed": 5, "cfg_scale": 3,
            }),
        );
    }

    #[test]
    fn img2img_defaults_to_source_size() {
        let body = img2img(&job(), Size::new(70, 50), false).unwrap();
        assert_eq!(
            Value::Object(body),
            json!({
                "prompt": "a red fox", "batch_size": 1, "save_images": false, "width": 64, "height": 48,
                "init_images": [null],
            })
        );
        let sized = Job {
            size: Some(Size::new(512, 256)),
            parameters: r#"{"mask_blur": 0}"#.into(),
            ..job()
        };
        let masked_body = img2img(&sized, Size::new(70, 50), true).unwrap();
        assert_eq!(
            Value::Object(masked_body),
            json!({
                "prompt": "a red fox", "batch_size": 1, "save_images": false, "width": 512, "height": 256,
                "init_images": [null], "mask": null, "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": false,
            })
        );
    }

    #[test]
    fn bound_source_size_keeps_shape() {
        for (source, expected) in [
            ((2048, 2048), (2048, 2048)),
            ((4096, 4096), (2048, 2048)),
            ((8000, 4000), (2896, 1448)),
            ((65_535, 65_535), (2048, 2048)),
        ] {
            let found = bound_source_size(Size::new(source.0, source.1));
            assert_eq!(found, Size::new(expected.0, expected.1));
        }
        for size in [
            Size::new(u32::MAX, 1),
            Size::new(1, u32::MAX),
            Size::new(u32::MAX, u32::MAX),
        ] {
            let found = bound_source_size(size);
            assert!(
                found.pixels() <= u64::from(MAX_SOURCE_PIXELS) && found.pixels() > 0,
                "{found}"
            );
        }
    }

    #[test]
    fn size_note_reports_changed_size() {
        let note = |requested, body: Value| size_note(requested, body.as_object().unwrap());
        assert_eq!(
            note(Size::new(64, 48), json!({"width": 64, "height": 48})),
            None
        );
        assert_eq!(note(Size::new(64, 48), json!({"width": "x"})), None);
        assert_eq!(
            note(Size::new(70, 50), json!({"width": 64, "height": 48})).as_deref(),
            Some("generated at 64x48 instead of 70x50")
        );
    }

    #[test]
    fn remove_extra_args_finds_hidden_tags() {
        for (prompt, expected) in [
            ("a fox", "a fox"),
            ("a <b> fox", "a <b> fox"),
            (
                "a<sd_cpp_extra_args>{\"steps\": 999}</sd_cpp_extra_args> fox",
                "a fox",
            ),
            ("a<SD_cpp_extra_args>x</sd_CPP_extra_args> fox", "a fox"),
            ("a <sd_cpp_extra_args>fox", "a fox"),
            (
                "ü<sd_cpp_<sd_cpp_extra_args>1</sd_cpp_extra_args>extra_args>2</sd_cpp_extra_args>ü",
                "üü",
            ),
        ] {
            assert_eq!(remove_extra_args(prompt), expected);
        }
        let empty = Job {
            prompt: " <sd_cpp_extra_args>a fox</sd_cpp_extra_args>".into(),
            ..job()
        };
        assert_eq!(
            txt2img(&empty).unwrap_err().field.as_deref(),
            Some("prompt")
        );
        let negative = Job {
            negative_prompt: Some("bad<sd_cpp_extra_args>{}</sd_cpp_extra_args>".into()),
            ..job()
        };
        assert_eq!(txt2img(&negative).unwrap()["negative_prompt"], "bad");
    }

    #[test]
    fn requested_images_multiplies_batches() {
        let requested = |body: Value| requested_images(body.as_object().unwrap());
        assert_eq!(requested(json!({"batch_size": 2})), 2);
        assert_eq!(requested(json!({"batch_size": 2, "n_iter": 3})), 6);
        assert_eq!(requested(json!({"batch_size": -2, "n_iter": "3"})), 1);
        assert_eq!(requested(json!({"batch_size": 0})), 1);
        assert_eq!(
            requested(json!({"batch_size": u64::MAX, "n_iter": 2})),
            u32::MAX
        );
    }
}
