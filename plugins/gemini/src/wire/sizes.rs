//! Image sizes: Google's API has aspect ratios and size tiers, not pixels.

use pinhole_sdk::{Error, Size};
use serde::Serialize;

use crate::settings::Options;

/// The longer side of `1K`, in pixels.
const PIXELS_PER_K: f64 = 1024.0;
/// A tier covers sides up to this multiple of its own: 1536 pixels still belong to 1K.
const TIER_REACH: f64 = 1.5;
/// The API's size tiers: the longer side in pixels.
const TIERS: [f64; 4] = [512.0, 1024.0, 2048.0, 4096.0];

/// The shape that a request asks for. A value is unset if the model's family has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ImageShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aspect_ratio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_size: Option<String>,
}

/// Checks that every ratio and every size of the settings can be parsed.
pub(crate) fn validate_families(options: &Options) -> Result<(), Error> {
    let (ratios, sizes) = (&options.ratios, &options.sizes);
    for value in ratios.all_values().flatten() {
        if parse_ratio(value).is_none() {
            return Err(ratios.invalid_value(value, "expected a ratio such as 16:9"));
        }
    }
    for value in sizes.all_values().flatten() {
        if parse_pixels(value).is_none() {
            return Err(sizes.invalid_value(value, "expected a size such as 512, 0.5K or 2K"));
        }
    }
    Ok(())
}

/// The shape of the model's family that is nearest to the requested size.
pub(super) fn nearest_shape(requested: Size, model: &str, options: &Options) -> ImageShape {
    let ratios = options.ratios.values(Some(model)).unwrap_or_default();
    let ratios: Vec<Size> = ratios
        .iter()
        .filter_map(|value| parse_ratio(value))
        .collect();
    let sizes = options.sizes.values(Some(model)).unwrap_or_default();
    ImageShape {
        aspect_ratio: requested
            .nearest(&ratios)
            .map(|ratio| format!("{}:{}", ratio.width, ratio.height)),
        image_size: nearest_size(requested, sizes),
    }
}

/// `16:9` as the smallest size with this ratio.
fn parse_ratio(value: &str) -> Option<Size> {
    let (width, height) = value.split_once(':')?;
    let parse_side = |side: &str| side.parse::<u16>().ok().filter(|side| *side > 0);
    Some(Size::new(
        parse_side(width)?.into(),
        parse_side(height)?.into(),
    ))
}

/// The largest of the sizes that is not larger than the requested tier, or else the smallest.
fn nearest_size(requested: Size, sizes: &[String]) -> Option<String> {
    let long_side = f64::from(requested.width.max(requested.height));
    let [.., largest_tier] = TIERS;
    let tier = TIERS
        .into_iter()
        .find(|tier| long_side <= tier * TIER_REACH)
        .unwrap_or(largest_tier);
    sizes
        .iter()
        .filter_map(|value| Some((parse_pixels(value)?, value)))
        .reduce(|best, candidate| {
            let is_better = if best.0 > tier {
                candidate.0 < best.0
            } else {
                candidate.0 > best.0 && candidate.0 <= tier
            };
            if is_better { candidate } else { best }
        })
        .map(|(_, value)| value.clone())
}

fn parse_pixels(value: &str) -> Option<f64> {
    let pixels = match value.strip_suffix('K') {
        Some(thousands) => thousands.parse::<f64>().ok()? * PIXELS_PER_K,
        None => value.parse().ok()?,
    };
    (pixels.is_finite() && pixels > 0.0).then_some(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::settings_with;

    const FLASH: &str = "gemini-3.1-flash-image";
    const OLDER: &str = "gemini-2.5-flash-image";

    fn default_shape(requested: Size, model: &str) -> ImageShape {
        let options = Options::from_settings(&settings_with(&[])).unwrap();
        nearest_shape(requested, model, &options)
    }

    fn check_ratio(model: &str, width: u32, height: u32, expected: &str) {
        let ratio = default_shape(Size::new(width, height), model).aspect_ratio;
        assert_eq!(ratio.as_deref(), Some(expected), "{width}x{height}");
    }

    #[test]
    fn nearest_shape_chooses_nearest_ratio_of_family() {
        check_ratio(OLDER, 1024, 1024, "1:1");
        check_ratio(OLDER, 1920, 1080, "16:9");
        check_ratio(OLDER, 1280, 960, "4:3");
        check_ratio(OLDER, 1536, 1024, "3:2");
        check_ratio(OLDER, 1000, 1250, "4:5");
        check_ratio(OLDER, 832, 1216, "2:3");
        check_ratio(OLDER, 2560, 1080, "21:9");
        check_ratio(OLDER, 1080, 1920, "9:16");
        check_ratio(OLDER, 1024, 768, "4:3");
        check_ratio(OLDER, 1792, 1024, "16:9");
        check_ratio(OLDER, 800, 600, "4:3");
        check_ratio(OLDER, 512, 2048, "9:16");
        check_ratio(FLASH, 512, 2048, "1:4");
        check_ratio(FLASH, u32::MAX, 1, "8:1");
        check_ratio("imagen-4.0-generate-001", 1536, 1024, "4:3");
        check_ratio("a-gateways-own-name", 1536, 1024, "3:2");
    }

    fn check_size(model: &str, side: u32, expected: Option<&str>) {
        let size = default_shape(Size::new(side, 16), model).image_size;
        assert_eq!(size.as_deref(), expected, "{model} {side}");
    }

    #[test]
    fn nearest_shape_chooses_size_by_longer_side() {
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
    fn nearest_shape_uses_families_of_settings() {
        let settings = settings_with(&[
            ("aspect-ratios", "".into()),
            ("image-sizes", "* = 2K 0.5K 1K".into()),
        ]);
        let options = Options::from_settings(&settings).unwrap();
        let shape = |width, height| nearest_shape(Size::new(width, height), "x", &options);
        let only_size = |size: &str| ImageShape {
            aspect_ratio: None,
            image_size: Some(size.into()),
        };
        assert_eq!(shape(512, 512), only_size("0.5K"));
        assert_eq!(shape(1024, 512), only_size("1K"));
        assert_eq!(shape(4096, 512), only_size("2K"));
    }

    #[test]
    fn validate_families_names_setting_of_invalid_value() {
        for (setting, families) in [
            ("aspect-ratios", "* = 16x9"),
            ("aspect-ratios", "* = 16:0"),
            ("aspect-ratios", "* = 1:1\nx = 70000:1"),
            ("image-sizes", "* = big"),
            ("image-sizes", "* = 0"),
            ("image-sizes", "* = infK"),
        ] {
            let error =
                Options::from_settings(&settings_with(&[(setting, families.into())])).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(setting), "{families}");
        }
    }
}
