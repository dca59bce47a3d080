//! A job as the body of a request.

use pinhole_sdk::{Error, Job, Size};
use serde_json::{Map, Value, json};

use crate::parameters;

/// A JSON object.
pub(crate) type Body = Map<String, Value>;

/// The web UI draws in blocks of so many pixels.
const BLOCK: u32 = 8;
/// A source with more pixels is drawn at about as many, in its shape, unless the job names a size:
/// a photograph as it comes from a camera is beyond every graphics card.
const MAX_SOURCE_PIXELS: u32 = 2048 * 2048;
/// How far the edge of a mask is blurred, in pixels.
const MASK_BLUR: u32 = 4;
/// What an edit begins with under the mask: what was there.
const FILL_ORIGINAL: u32 = 1;
/// With this tag in a prompt, the server of stable-diffusion.cpp takes any of its own parameters.
const TAG: [&str; 2] = ["<sd_cpp_extra_args>", "</sd_cpp_extra_args>"];

/// The body of a txt2img request, without the names that the web UI has to be asked for.
pub(crate) fn txt2img(job: &Job) -> Result<Body, Error> {
    let mut body = drawn(job, job.size)?;
    body.extend(parameters::read(job, false)?);
    Ok(body)
}

/// The same of an img2img request with a source of this size; null where the pictures go.
pub(crate) fn img2img(job: &Job, source: Size, masked: bool) -> Result<Body, Error> {
    let mut body = drawn(job, Some(job.size.unwrap_or_else(|| bounded(source))))?;
    body.insert("init_images".into(), json!([null]));
    if masked {
        body.insert("mask".into(), Value::Null);
        body.insert("mask_blur".into(), json!(MASK_BLUR));
        body.insert("inpainting_fill".into(), json!(FILL_ORIGINAL));
        // Else the web UI draws from the masked part alone, and sees nothing of what is around it.
        body.insert("inpaint_full_res".into(), json!(false));
    }
    body.extend(parameters::read(job, true)?);
    Ok(body)
}

/// What both have. Both sides are rounded down, as the web UI would do with the picture.
fn drawn(job: &Job, size: Option<Size>) -> Result<Body, Error> {
    let mut body = Body::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let prompt = without_tags(&job.prompt);
    if prompt.trim().is_empty() {
        let message = format!("the prompt is empty but for {}: say what to draw", TAG[0]);
        return Err(Error::invalid("prompt", message));
    }
    set("prompt", json!(prompt));
    set("batch_size", json!(job.count));
    // Saved batches come with a grid of all their images.
    set("save_images", json!(false));
    if let Some(text) = &job.negative_prompt {
        set("negative_prompt", json!(without_tags(text)));
    }
    if let Some(size) = size.map(|size| size.rounded_down(BLOCK)) {
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

/// What a person should know of a size other than the one asked for, or that of the source.
pub(crate) fn size_note(asked: Size, body: &Body) -> Option<String> {
    let side = |key: &str| u32::try_from(body.get(key)?.as_u64()?).ok();
    let drawn = Size::new(side("width")?, side("height")?);
    (drawn != asked).then(|| format!("{asked} was drawn as {drawn}"))
}

/// The same shape with at most [`MAX_SOURCE_PIXELS`].
fn bounded(size: Size) -> Size {
    let (max, pixels) = (MAX_SOURCE_PIXELS, size.pixels());
    if pixels <= u64::from(max) {
        return size;
    }
    let scale = (f64::from(max) / pixels as f64).sqrt();
    // A float-to-integer cast saturates.
    let side = |side: u32| (f64::from(side) * scale) as u32;
    let width = side(size.width).clamp(1, max);
    Size::new(width, side(size.height).clamp(1, max / width))
}

/// The text without tags and what stands in them, until none is left: what remains around one may
/// make up another.
fn without_tags(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let lower = text.to_ascii_lowercase();
        let Some(start) = lower.find(TAG[0]) else {
            return text;
        };
        let inside = start + TAG[0].len();
        let rest = lower.get(inside..).unwrap_or_default();
        let end = rest
            .find(TAG[1])
            .map_or(inside, |end| inside + end + TAG[1].len());
        text.replace_range(start..end, "");
    }
}

/// How many images a request asks for.
pub(crate) fn images_asked(body: &Body) -> u32 {
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
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            parameters: "{}".into(),
        }
    }

    #[track_caller]
    fn check_txt2img(job: &Job, expected: Value) {
        assert_eq!(Value::Object(txt2img(job).unwrap()), expected);
    }

    #[test]
    fn only_what_is_set_is_sent() {
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
    fn an_edit_has_its_sources_size() {
        let body = img2img(&job(), Size::new(70, 50), false).unwrap();
        assert_eq!(
            Value::Object(body),
            json!({
                "prompt": "a red fox", "batch_size": 1, "save_images": false, "width": 64, "height": 48,
                "init_images": [null],
            })
        );
        let named = Job {
            size: Some(Size::new(512, 256)),
            parameters: r#"{"mask_blur": 0}"#.into(),
            ..job()
        };
        let body = img2img(&named, Size::new(70, 50), true).unwrap();
        assert_eq!(
            Value::Object(body),
            json!({
                "prompt": "a red fox", "batch_size": 1, "save_images": false, "width": 512, "height": 256,
                "init_images": [null], "mask": null, "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": false,
            })
        );
    }

    #[test]
    fn a_large_source_is_drawn_smaller_in_its_shape() {
        for (source, expected) in [
            ((2048, 2048), (2048, 2048)),
            ((4096, 4096), (2048, 2048)),
            ((8000, 4000), (2896, 1448)),
            ((65_535, 65_535), (2048, 2048)),
        ] {
            let found = bounded(Size::new(source.0, source.1));
            assert_eq!(found, Size::new(expected.0, expected.1));
        }
        for size in [
            Size::new(u32::MAX, 1),
            Size::new(1, u32::MAX),
            Size::new(u32::MAX, u32::MAX),
        ] {
            let found = bounded(size);
            assert!(
                found.pixels() <= u64::from(MAX_SOURCE_PIXELS) && found.pixels() > 0,
                "{found}"
            );
        }
    }

    #[test]
    fn a_size_that_was_changed_is_told() {
        let note = |asked, body: Value| size_note(asked, body.as_object().unwrap());
        assert_eq!(
            note(Size::new(64, 48), json!({"width": 64, "height": 48})),
            None
        );
        assert_eq!(note(Size::new(64, 48), json!({"width": "x"})), None);
        assert_eq!(
            note(Size::new(70, 50), json!({"width": 64, "height": 48})).as_deref(),
            Some("70x50 was drawn as 64x48")
        );
    }

    #[test]
    fn no_parameters_hide_in_a_prompt() {
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
            assert_eq!(without_tags(prompt), expected);
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
    fn images_asked_for_are_counted() {
        let asked = |body: Value| images_asked(body.as_object().unwrap());
        assert_eq!(asked(json!({"batch_size": 2})), 2);
        assert_eq!(asked(json!({"batch_size": 2, "n_iter": 3})), 6);
        assert_eq!(asked(json!({"batch_size": -2, "n_iter": "3"})), 1);
        assert_eq!(asked(json!({"batch_size": 0})), 1);
        assert_eq!(
            asked(json!({"batch_size": u64::MAX, "n_iter": 2})),
            u32::MAX
        );
    }
}
