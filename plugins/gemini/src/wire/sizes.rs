//! Sizes: Google takes a ratio and a rough size, not pixels.

use pinhole_sdk::{Error, Size};
use serde::Serialize;

use crate::settings::Setup;

/// The longer side of `1K`, in pixels.
const PIXELS_PER_K: f64 = 1024.0;
/// A size is taken for pixels up to this many times its own: 1536 is still 1K.
const REACH: f64 = 1.5;
/// What the API makes, by the longer side in pixels.
const TIERS: [f64; 4] = [512.0, 1024.0, 2048.0, 4096.0];

/// What a request says of the size, as far as the model's families have words for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Shape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aspect_ratio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_size: Option<String>,
}

/// Can every ratio and size of the settings be read?
pub(crate) fn check(setup: &Setup) -> Result<(), Error> {
    for word in setup.ratios.all().flatten() {
        ratio(word).ok_or_else(|| setup.ratios.unreadable(word, "a ratio is written 16:9"))?;
    }
    for word in setup.sizes.all().flatten() {
        let why = "a size is written 512, 0.5K or 2K";
        pixels(word).ok_or_else(|| setup.sizes.unreadable(word, why))?;
    }
    Ok(())
}

/// The nearest that a model has to these pixels.
pub(super) fn shape(asked: Size, model: &str, setup: &Setup) -> Shape {
    let ratios = setup.ratios.words(Some(model)).unwrap_or_default();
    let ratios: Vec<Size> = ratios.iter().filter_map(|word| ratio(word)).collect();
    let nearest = asked.nearest(&ratios);
    Shape {
        aspect_ratio: nearest.map(|ratio| format!("{}:{}", ratio.width, ratio.height)),
        image_size: nearest_size(asked, setup.sizes.words(Some(model)).unwrap_or_default()),
    }
}

/// `16:9` as the smallest size of this shape.
fn ratio(word: &str) -> Option<Size> {
    let (width, height) = word.split_once(':')?;
    let side = |side: &str| side.parse::<u16>().ok().filter(|side| *side > 0);
    Some(Size::new(side(width)?.into(), side(height)?.into()))
}

/// The largest of the sizes that is not more than asked for, or else the smallest.
fn nearest_size(asked: Size, sizes: &[String]) -> Option<String> {
    let long = f64::from(asked.width.max(asked.height));
    let [.., largest] = TIERS;
    let wanted = TIERS.into_iter().find(|tier| long <= tier * REACH);
    let wanted = wanted.unwrap_or(largest);
    let sizes = sizes.iter().filter_map(|word| Some((pixels(word)?, word)));
    let nearest = sizes.reduce(|best, size| {
        let better = match best.0 > wanted {
            true => size.0 < best.0,
            false => size.0 > best.0 && size.0 <= wanted,
        };
        if better { size } else { best }
    });
    nearest.map(|(_, word)| word.clone())
}

fn pixels(word: &str) -> Option<f64> {
    let pixels = match word.strip_suffix('K') {
        Some(thousands) => thousands.parse::<f64>().ok()? * PIXELS_PER_K,
        None => word.parse().ok()?,
    };
    (pixels.is_finite() && pixels > 0.0).then_some(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::with;

    const FLASH: &str = "gemini-3.1-flash-image";
    const OLDER: &str = "gemini-2.5-flash-image";

    fn shaped(model: &str, width: u32, height: u32) -> Shape {
        let setup = Setup::read(&with(&[])).unwrap();
        shape(Size::new(width, height), model, &setup)
    }

    fn check_ratio(model: &str, (width, height): (u32, u32), expected: &str) {
        let ratio = shaped(model, width, height).aspect_ratio;
        assert_eq!(ratio.as_deref(), Some(expected), "{width}x{height}");
    }

    #[test]
    fn the_nearest_ratio_is_asked_for() {
        check_ratio(OLDER, (1024, 1024), "1:1");
        check_ratio(OLDER, (1920, 1080), "16:9");
        check_ratio(OLDER, (1280, 960), "4:3");
        check_ratio(OLDER, (1536, 1024), "3:2");
        check_ratio(OLDER, (1000, 1250), "4:5");
        check_ratio(OLDER, (832, 1216), "2:3");
        check_ratio(OLDER, (2560, 1080), "21:9");
        check_ratio(OLDER, (1080, 1920), "9:16");
        check_ratio(OLDER, (1024, 768), "4:3");
        check_ratio(OLDER, (1792, 1024), "16:9");
        check_ratio(OLDER, (800, 600), "4:3");
        check_ratio(OLDER, (512, 2048), "9:16");
        check_ratio(FLASH, (512, 2048), "1:4");
        check_ratio(FLASH, (u32::MAX, 1), "8:1");
        check_ratio("imagen-4.0-generate-001", (1536, 1024), "4:3");
        check_ratio("a-gateways-own-name", (1536, 1024), "3:2");
    }

    fn check_size(model: &str, side: u32, expected: Option<&str>) {
        let size = shaped(model, side, 16).image_size;
        assert_eq!(size.as_deref(), expected, "{model} {side}");
    }

    #[test]
    fn the_longer_side_decides_the_size() {
        check_size(FLASH, 1, Some("512"));
        check_size(FLASH, 768, Some("512"));
        check_size(FLASH, 769, Some("1K"));
        check_size(FLASH, 1536, Some("1K"));
        check_size(FLASH, 1537, Some("2K"));
        check_size(FLASH, 3072, Some("2K"));
        check_size(FLASH, 3073, Some("4K"));
        check_size(FLASH, u32::MAX, Some("4K"));
        check_size("gemini-3-pro-image", 512, Some("1K"));
        check_size("imagen-4.0-generate-001", 4096, Some("2K"));
        check_size(OLDER, 2048, None);
    }

    #[test]
    fn the_families_are_settings() {
        let settings = with(&[
            ("aspect-ratios", "".into()),
            ("image-sizes", "* = 2K 0.5K 1K".into()),
        ]);
        let setup = Setup::read(&settings).unwrap();
        let fitted = |width, height| shape(Size::new(width, height), "x", &setup);
        let size = |size: &str| Shape {
            aspect_ratio: None,
            image_size: Some(size.into()),
        };
        assert_eq!(fitted(512, 512), size("0.5K"));
        assert_eq!(fitted(1024, 512), size("1K"));
        assert_eq!(fitted(4096, 512), size("2K"));
    }

    #[test]
    fn a_word_that_cannot_be_read_is_an_error() {
        for (setting, families) in [
            ("aspect-ratios", "* = 16x9"),
            ("aspect-ratios", "* = 16:0"),
            ("aspect-ratios", "* = 1:1\nx = 70000:1"),
            ("image-sizes", "* = big"),
            ("image-sizes", "* = 0"),
            ("image-sizes", "* = infK"),
        ] {
            let error = Setup::read(&with(&[(setting, families.into())])).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(setting), "{families}");
        }
    }
}
