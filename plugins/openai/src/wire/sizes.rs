//! Image sizes: fits the requested size to the sizes that the model's family supports.

use pinhole_sdk::{Error, Families, Size};

use crate::settings::SIZES;

/// Marks a family that supports every size within the limits below.
const ANY: &str = "any";
/// Both sides are multiples of it, in pixels.
const STEP: u32 = 16;
/// In pixels.
const MAX_SIDE: u32 = 3840;
/// Width times height.
const MIN_PIXELS: u32 = 655_360;
/// Width times height.
const MAX_PIXELS: u32 = 8_294_400;
/// Longer side divided by shorter side.
const MAX_RATIO: u32 = 3;
/// A product that differs less than this from a whole number is that number.
const ROUNDING_TOLERANCE: f64 = 1e-9;

/// Parses the setting `sizes`. Each family has sizes or only [`ANY`].
pub(crate) fn parse_families(text: &str) -> Result<Families, Error> {
    let families = Families::parse(SIZES, text)?;
    for values in families.all_values() {
        if values.is_empty() {
            return Err(families.invalid_value("…", "a family has no sizes"));
        }
        if values != [ANY] {
            parse_sizes(values, &families)?;
        }
    }
    Ok(families)
}

/// The size to send for a requested size. It stays the same if no family matches the model.
///
/// Fails with field `size` if the family has no similar size.
pub(super) fn fit(
    requested: Size,
    families: &Families,
    model: Option<&str>,
) -> Result<Size, Error> {
    match families.values(model) {
        None => Ok(requested),
        Some(values) if values == [ANY] => fit_to_limits(requested),
        Some(values) => {
            let sizes = parse_sizes(values, families)?;
            Ok(requested.nearest(&sizes).unwrap_or(requested))
        }
    }
}

fn parse_sizes(values: &[String], families: &Families) -> Result<Vec<Size>, Error> {
    values
        .iter()
        .map(|value| {
            value
                .parse()
                .map_err(|reason| families.invalid_value(value, reason))
        })
        .collect()
}

/// Rounds the size to the step, then scales it until it is within the limits.
fn fit_to_limits(requested: Size) -> Result<Size, Error> {
    let rounded = Size {
        width: round_to_step(requested.width),
        height: round_to_step(requested.height),
    };
    let long = rounded.width.max(rounded.height);
    let short = rounded.width.min(rounded.height);
    if long > short.saturating_mul(MAX_RATIO) {
        let message = format!(
            "size {requested} is too long: the longer side can be at most {MAX_RATIO} times the \
             shorter"
        );
        return Err(Error::invalid("size", message));
    }
    let pixels = f64::from(rounded.width) * f64::from(rounded.height);
    let growth = (f64::from(MIN_PIXELS) / pixels).sqrt();
    let shrinkage = (f64::from(MAX_PIXELS) / pixels)
        .sqrt()
        .min(f64::from(MAX_SIDE) / f64::from(long))
        .min(1.0);
    let scale = |side: u32| {
        let steps = f64::from(side / STEP);
        let scaled = if growth > 1.0 {
            (steps * growth - ROUNDING_TOLERANCE).ceil()
        } else {
            (steps * shrinkage + ROUNDING_TOLERANCE).floor()
        };
        (scaled.max(1.0) as u32).saturating_mul(STEP)
    };
    Ok(Size {
        width: scale(rounded.width),
        height: scale(rounded.height),
    })
}

/// The nearest multiple of the step, at least one step.
fn round_to_step(side: u32) -> u32 {
    let steps = side.saturating_add(STEP / 2) / STEP;
    steps.max(1) * STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::settings_with;

    fn fit_default(model: &str, requested: &str) -> Result<String, Error> {
        let families = parse_families(&settings_with(&[]).text(SIZES).unwrap()).unwrap();
        let size = fit(requested.parse().unwrap(), &families, Some(model))?;
        Ok(size.to_string())
    }

    fn check(model: &str, requested: &str, expected: &str) {
        let size = fit_default(model, requested).unwrap();
        assert_eq!(size, expected, "{requested}");
    }

    #[test]
    fn fit_chooses_nearest_shape_of_listed_sizes() {
        let model = "gpt-image-1.5";
        check(model, "512x512", "1024x1024");
        check(model, "1280x720", "1536x1024");
        check(model, "800x1200", "1024x1536");
        check(model, "1000x900", "1024x1024");
        check(model, "1250x1000", "1536x1024");
        check(model, "1224x1000", "1024x1024");
        check(model, "1225x1000", "1536x1024");
        check("dall-e-3", "1920x1080", "1792x1024");
        check("dall-e-2", "300x300", "1024x1024");
        check("dall-e-2", "256x256", "256x256");
        check("flux", "513x77", "513x77");
    }

    #[test]
    fn fit_rounds_any_size_to_steps_within_limits() {
        let model = "gpt-image-2.5-flare";
        check(model, "1536x864", "1536x864");
        check(model, "1000x1000", "1008x1008");
        check(model, "1033x1031", "1040x1024");
        check(model, "512x512", "816x816");
        check(model, "7680x4320", "3840x2160");
        check(model, "4096x4096", "2880x2880");
        check(model, "6000x2000", "3840x1280");
        check(model, "48x16", "1408x480");
        assert!(fit_default(model, "3000x900").is_err());
        assert!(fit_default(model, "4294967295x1").is_err());
        assert!(fit_default(model, "4294967295x4294967295").is_ok());
    }

    #[test]
    fn fit_to_limits_respects_every_limit() {
        for width in (1..9000).step_by(173) {
            for height in (1..9000).step_by(191) {
                let Ok(Size { width, height }) = fit_to_limits(Size { width, height }) else {
                    continue;
                };
                let (long, short) = (width.max(height), width.min(height));
                assert!(
                    long <= MAX_SIDE && long <= short * MAX_RATIO,
                    "{width}x{height}"
                );
                assert!((MIN_PIXELS..=MAX_PIXELS).contains(&(width * height)));
                assert_eq!((width % STEP, height % STEP), (0, 0));
            }
        }
    }

    #[test]
    fn parse_families_names_setting_in_error() {
        for families in ["x", "x =", "x = 8", "x = 8x0", "x = 8xy", "y = any 8x8"] {
            let error = parse_families(families).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("sizes"), "{families}");
        }
    }
}
