//! Sizes: Google takes a ratio and a rough size, not pixels.

use pinhole_sdk::{Error, Settings, Size};
use serde::Serialize;

use crate::settings::{ASPECT_RATIOS, IMAGE_SIZES};

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

/// The nearest that a model has to these pixels.
///
/// Fails with the setting as its field where that cannot be read.
pub(super) fn shape(asked: Size, model: &str, settings: &Settings) -> Result<Shape, Error> {
    let ratios = settings.text(ASPECT_RATIOS).unwrap_or_default();
    let sizes = settings.text(IMAGE_SIZES).unwrap_or_default();
    Ok(Shape {
        aspect_ratio: nearest_ratio(asked, &family(ASPECT_RATIOS, &ratios, model)?)?,
        image_size: nearest_size(asked, &family(IMAGE_SIZES, &sizes, model)?)?,
    })
}

/// The words of the longest beginning that fits the model; empty where none does.
fn family<'a>(setting: &str, families: &'a str, model: &str) -> Result<Vec<&'a str>, Error> {
    let mut best: Option<(usize, &str)> = None;
    for line in families
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (beginning, words) = line
            .split_once('=')
            .ok_or_else(|| unreadable(setting, line, "it has no ="))?;
        let length = match beginning.trim() {
            "*" => 0,
            beginning if model.starts_with(beginning) => beginning.len(),
            _ => continue,
        };
        if best.is_none_or(|(longest, _)| length >= longest) {
            best = Some((length, words));
        }
    }
    let words = best.map(|(_, words)| words).unwrap_or_default();
    Ok(words.split_whitespace().collect())
}

/// The ratio whose logarithm is nearest: 2:1 is as far from 1:1 as 1:2 is. The first of two alike.
fn nearest_ratio(asked: Size, ratios: &[&str]) -> Result<Option<String>, Error> {
    let wanted = f64::from(asked.width) / f64::from(asked.height);
    let mut best: Option<(f64, &str)> = None;
    for word in ratios {
        let ratio = ratio(word)
            .ok_or_else(|| unreadable(ASPECT_RATIOS, word, "a ratio is written 16:9"))?;
        let distance = (ratio.ln() - wanted.ln()).abs();
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, word));
        }
    }
    Ok(best.map(|(_, word)| word.into()))
}

fn ratio(word: &str) -> Option<f64> {
    let (width, height) = word.split_once(':')?;
    let side = |side: &str| side.parse::<u16>().ok().filter(|side| *side > 0);
    Some(f64::from(side(width)?) / f64::from(side(height)?))
}

/// The largest of the sizes that is not more than asked for, or else the smallest.
fn nearest_size(asked: Size, sizes: &[&str]) -> Result<Option<String>, Error> {
    let long = f64::from(asked.width.max(asked.height));
    let [.., largest] = TIERS;
    let wanted = TIERS.into_iter().find(|tier| long <= tier * REACH);
    let wanted = wanted.unwrap_or(largest);
    let mut best: Option<(f64, &str)> = None;
    for word in sizes {
        let pixels = pixels(word)
            .ok_or_else(|| unreadable(IMAGE_SIZES, word, "a size is written 512, 0.5K or 2K"))?;
        let better = |best: f64| {
            if best > wanted {
                pixels < best
            } else {
                pixels > best && pixels <= wanted
            }
        };
        if best.is_none_or(|(best, _)| better(best)) {
            best = Some((pixels, word));
        }
    }
    Ok(best.map(|(_, word)| word.into()))
}

fn pixels(word: &str) -> Option<f64> {
    let pixels = match word.strip_suffix('K') {
        Some(thousands) => thousands.parse::<f64>().ok()? * PIXELS_PER_K,
        None => word.parse().ok()?,
    };
    (pixels.is_finite() && pixels > 0.0).then_some(pixels)
}

fn unreadable(setting: &str, what: &str, why: &str) -> Error {
    let message = format!("setting {setting} cannot be read at {what:?}: {why}");
    Error::invalid(setting, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    const FLASH: &str = "gemini-3.1-flash-image";
    const OLDER: &str = "gemini-2.5-flash-image";

    fn shaped(model: &str, width: u32, height: u32) -> Shape {
        shape(Size { width, height }, model, &settings::with(&[])).unwrap()
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
        let settings = settings::with(&[
            ("aspect-ratios", "".into()),
            ("image-sizes", "* = 2K 0.5K 1K".into()),
        ]);
        let fitted = |width, height| shape(Size { width, height }, "x", &settings).unwrap();
        let size = |size: &str| Shape {
            aspect_ratio: None,
            image_size: Some(size.into()),
        };
        assert_eq!(fitted(512, 512), size("0.5K"));
        assert_eq!(fitted(1024, 512), size("1K"));
        assert_eq!(fitted(4096, 512), size("2K"));
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named() {
        let asked = Size {
            width: 1,
            height: 1,
        };
        for (setting, families) in [
            ("aspect-ratios", "16:9"),
            ("aspect-ratios", "* = 16x9"),
            ("aspect-ratios", "* = 16:0"),
            ("image-sizes", "* = big"),
            ("image-sizes", "* = 0"),
            ("image-sizes", "* = infK"),
        ] {
            let settings = settings::with(&[(setting, families.into())]);
            let error = shape(asked, "x", &settings).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(setting), "{families}");
        }
    }
}
