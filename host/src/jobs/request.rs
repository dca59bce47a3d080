//! What a caller asks for, and whether an engine can be asked for it.

use serde_json::{Map, Value};

use super::binding::Binding;
use super::snapshot::Requester;
use super::error::Error;
use pinhole_sandbox::contract::{Abilities, Description, Job, Size};
use pinhole_sandbox::{Edit, MAX_COUNT, MAX_MODEL_BYTES};
use pinhole_images::Image;
use pinhole_ground::text::plain;

/// Length of a prompt, in bytes.
pub const MAX_PROMPT_BYTES: usize = 32_000;
/// Width and height, in pixels.
pub const MAX_SIDE: u32 = 8192;
/// Width times height.
pub const MAX_PIXELS: u64 = 4096 * 4096;
/// Inference steps.
pub const MAX_STEPS: u32 = 1000;
/// Pictures to change and mask together, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;
/// Length of the engine-specific parameters as JSON, in bytes.
const MAX_PARAMETERS_BYTES: usize = 64 << 10;

/// What a caller asks for. What is `None` comes from the settings or is the engine's choice.
#[derive(Clone, Debug, Default)]
pub struct JobRequest {
    /// What to draw.
    pub prompt: String,
    /// What to leave out.
    pub negative_prompt: Option<String>,
    /// An engine other than the settings' one.
    pub engine: Option<String>,
    /// A model of the engine.
    pub model: Option<String>,
    /// `WxH`, `auto` or empty.
    pub size: Option<String>,
    /// How many pictures.
    pub count: Option<u32>,
    /// Inference steps.
    pub steps: Option<u32>,
    /// The seed.
    pub seed: Option<u64>,
    /// Engine-specific parameters.
    pub parameters: Map<String, Value>,
    /// Who asks, where it matters for what they may use.
    pub asker: Requester,
}

/// What holds where a request says nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) model: Option<String>,
    pub(super) size: Option<String>,
    pub(super) steps: Option<u32>,
}

impl JobRequest {
    /// Does what was asked for mean the same to another binding? A model's name, and an engine's
    /// parameters, mean something to one engine alone.
    pub(super) fn suits(&self, other: &Binding, first: &Binding) -> bool {
        let own = self.model.is_some() || !self.parameters.is_empty();
        let engine = |binding: &Binding| binding.component.description.name.clone();
        !own || engine(other) == engine(first)
    }

    /// The job, with the defaults filled in and every limit checked.
    pub(super) fn checked(self, defaults: &Defaults, engine: &Description) -> Result<Job, Error> {
        let abilities = &engine.abilities;
        let invalid = |field, message: String| Err(Error::Invalid { field, message });
        if self.prompt.trim().is_empty() {
            return invalid("prompt", "the prompt is empty".to_owned());
        }
        let negative_prompt = self.negative_prompt.filter(|text| !text.trim().is_empty());
        for (field, text) in [
            ("prompt", Some(&self.prompt)),
            ("negative_prompt", negative_prompt.as_ref()),
        ] {
            let length = text.map_or(0, String::len);
            if length > MAX_PROMPT_BYTES {
                return invalid(
                    field,
                    format!("the prompt has {length} bytes; {MAX_PROMPT_BYTES} are allowed"),
                );
            }
        }
        let missing = [
            (
                "negative_prompt",
                negative_prompt.is_some() && !abilities.negative_prompt,
            ),
            ("seed", self.seed.is_some() && !abilities.seed),
            ("steps", self.steps.is_some() && !abilities.steps),
        ];
        if let Some((field, _)) = missing.into_iter().find(|(_, missing)| *missing) {
            return invalid(
                field,
                format!("engine {} has no {field}: leave it out", engine.name),
            );
        }
        let count = self.count.unwrap_or(1);
        let max_count = abilities.max_count.min(MAX_COUNT);
        if !(1..=max_count).contains(&count) {
            return invalid(
                "n",
                format!(
                    "{count} pictures were asked for; engine {} makes 1 to {max_count}",
                    engine.name
                ),
            );
        }
        let steps = self.steps.or(defaults.steps.filter(|_| abilities.steps));
        if steps.is_some_and(|steps| steps == 0 || steps > MAX_STEPS) {
            return invalid("steps", format!("steps must be 1 to {MAX_STEPS}"));
        }
        let model = self
            .model
            .filter(|model| !model.is_empty())
            .or_else(|| defaults.model.clone());
        if model
            .as_ref()
            .is_some_and(|model| model.len() > MAX_MODEL_BYTES || model.contains(char::is_control))
        {
            return invalid(
                "model",
                format!(
                    "a model's name has at most {MAX_MODEL_BYTES} bytes and no control characters"
                ),
            );
        }
        let size = self
            .size
            .or_else(|| defaults.size.clone())
            .unwrap_or_default();
        let size = match parse_size(&size) {
            Ok(size) => size,
            Err(why) => return invalid("size", format!("the size {why}")),
        };
        let parameters = Value::Object(self.parameters).to_string();
        if parameters.len() > MAX_PARAMETERS_BYTES {
            return invalid(
                "parameters",
                format!("the parameters have more than {MAX_PARAMETERS_BYTES} bytes"),
            );
        }
        Ok(Job {
            prompt: self.prompt,
            negative_prompt,
            model,
            size,
            count,
            steps,
            seed: self.seed,
            parameters,
        })
    }
}

/// Can the engine change these sources, and only where the mask lets it?
pub(super) fn check_edit(edit: &Edit, engine: &Description) -> Result<(), Error> {
    let Description {
        name, abilities, ..
    } = engine;
    let unsupported = |field, message| Err(Error::Unsupported { field, message });
    let invalid = |field, message| Err(Error::Invalid { field, message });
    let Abilities {
        max_sources, mask, ..
    } = abilities;
    if !abilities.edit {
        return unsupported(
            "image",
            format!("engine {name} makes pictures but cannot change them: choose another"),
        );
    }
    let Some(first) = edit.sources.first() else {
        return invalid("image", "there is no picture to change".to_owned());
    };
    let sources = edit.sources.len();
    if sources > *max_sources as usize {
        return invalid(
            "image",
            format!("{sources} pictures were sent; engine {name} takes 1 to {max_sources}"),
        );
    }
    let pictures = edit.sources.iter().chain(&edit.mask);
    let bytes: usize = pictures.map(|image| image.bytes().len()).sum();
    if bytes > MAX_SOURCE_BYTES {
        return invalid(
            "image",
            format!("the pictures have {bytes} bytes together; {MAX_SOURCE_BYTES} are allowed"),
        );
    }
    let Some(masked) = &edit.mask else {
        return Ok(());
    };
    if !mask {
        return unsupported(
            "mask",
            format!(
                "engine {name} has no masks: leave the mask out, or say in the prompt what may change"
            ),
        );
    }
    if let Err(why) = check_mask(masked, first) {
        return invalid("mask", format!("the mask {why}"));
    }
    Ok(())
}

/// A mask is a PNG with an alpha channel and of the size of the picture it is for.
fn check_mask(mask: &Image, source: &Image) -> Result<(), String> {
    if mask.media_type() != "image/png" || !mask.has_alpha() {
        return Err(
            "must be a PNG with an alpha channel, transparent where the picture may change"
                .to_owned(),
        );
    }
    let ((width, height), (wide, high)) = (mask.size(), source.size());
    match (width, height) == (wide, high) {
        true => Ok(()),
        false => Err(format!(
            "is {width}x{height}; it must be {wide}x{high}, as the picture is"
        )),
    }
}

/// `WxH`; `None` for `auto` and for nothing.
pub(super) fn parse_size(text: &str) -> Result<Option<Size>, String> {
    if text.is_empty() || text == "auto" {
        return Ok(None);
    }
    let sides = text.split_once('x').and_then(|(width, height)| {
        let side = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u32>().ok())?
        };
        Some((side(width)?, side(height)?))
    });
    let Some((width, height)) = sides else {
        return Err(format!(
            "{:?} is not WxH such as 1024x1024, nor auto",
            plain(text, 40)
        ));
    };
    let fits = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    match fits && u64::from(width) * u64::from(height) <= MAX_PIXELS {
        true => Ok(Some(Size { width, height })),
        false => Err(format!(
            "{width}x{height} is not allowed: each side 1 to {MAX_SIDE}, and {MAX_PIXELS} pixels at most"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};

    use super::*;
    use pinhole_sandbox::Limits;

    fn picture(image: &DynamicImage, format: ImageFormat) -> Image {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        let limits = Limits::job(std::time::Duration::ZERO).image;
        Image::from_bytes(bytes.into_inner().into(), limits).unwrap()
    }

    fn engine(edit: bool, mask: bool) -> Description {
        Description {
            name: "draw".to_owned(),
            title: "Draw".to_owned(),
            version: "1".to_owned(),
            abilities: Abilities {
                edit,
                mask,
                max_sources: 2,
                ..Abilities::default()
            },
            settings: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    #[test]
    fn an_edit_is_refused_where_the_engine_cannot_do_it() {
        let opaque = picture(&DynamicImage::new_rgb8(8, 6), ImageFormat::Png);
        let clear = picture(&DynamicImage::new_rgba8(8, 6), ImageFormat::Png);
        let small = picture(&DynamicImage::new_rgba8(8, 5), ImageFormat::Png);
        let jpeg = picture(&DynamicImage::new_rgb8(8, 6), ImageFormat::Jpeg);
        let check = |sources: usize, mask: Option<&Image>, edits: bool, masks: bool| {
            let edit = Edit {
                sources: vec![jpeg.clone(); sources],
                mask: mask.cloned(),
            };
            match check_edit(&edit, &engine(edits, masks)) {
                Ok(()) => "fine".to_owned(),
                Err(error) => format!("{error:?}"),
            }
        };
        let limits = Limits::job(std::time::Duration::ZERO).image;
        let long = Image::sample(1, limits.max_bytes);
        let edit = Edit {
            sources: vec![long; 2],
            mask: Some(clear.clone()),
        };
        let error = check_edit(&edit, &engine(true, true))
            .unwrap_err()
            .to_string();
        assert!(error.contains("bytes together"), "{error}");
        assert_eq!(check(1, None, true, false), "fine");
        assert_eq!(check(2, Some(&clear), true, true), "fine");
        for (refusal, sources, mask, edits, masks) in [
            ("Unsupported { field: \"image\"", 1, None, false, false),
            (
                "Unsupported { field: \"mask\"",
                1,
                Some(&clear),
                true,
                false,
            ),
            ("Invalid { field: \"image\"", 0, None, true, true),
            ("Invalid { field: \"image\"", 3, None, true, true),
            ("Invalid { field: \"mask\"", 1, Some(&opaque), true, true),
            ("Invalid { field: \"mask\"", 1, Some(&jpeg), true, true),
            ("8x5; it must be 8x6", 1, Some(&small), true, true),
        ] {
            let said = check(sources, mask, edits, masks);
            assert!(said.contains(refusal), "{said} is not {refusal}");
        }
    }

    fn check(text: &str, expected: Option<Option<(u32, u32)>>) {
        let size = parse_size(text).ok();
        let size = size.map(|size| size.map(|size| (size.width, size.height)));
        assert_eq!(size, expected, "{text:?}");
    }

    #[test]
    fn a_size_is_two_numbers_within_bounds() {
        check("512x768", Some(Some((512, 768))));
        check("auto", Some(None));
        check("", Some(None));
        check("4096x4096", Some(Some((4096, 4096))));
        for bad in [
            "0x512",
            "512x0",
            "axb",
            "512",
            "1x2x3",
            "512x512\n",
            "+5x5",
            " 5x5",
            "8193x1",
            "8192x8192",
            "99999999999x1",
            "x",
        ] {
            check(bad, None);
        }
    }
}
