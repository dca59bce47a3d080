//! Sizes of images by aspect ratio and resolution, as other APIs request them.

use serde_json::Value;

use crate::web::error::ApiError;

/// Pixels of an image with the resolution `1K`.
const PIXELS: f64 = 1024.0 * 1024.0;
/// Sides are multiples of this, times the ratio's numbers.
const STEP: f64 = 8.0;
/// Numbers of a ratio.
const MAX_TERM: u32 = 64;

/// The size, such as `1280x720` for 16:9, with exactly this ratio and at most the pixels of the resolution. By
/// default, the ratio is 1:1 and the resolution 1K.
///
/// `ratio_field` and the resolution's first element are the names of the fields in an error.
pub(super) fn parse_size(
    ratio_field: &str,
    ratio: Option<&Value>,
    resolution: Option<(&str, &Value)>,
) -> Result<String, ApiError> {
    let (width, height) = match ratio {
        None => (1, 1),
        Some(value) => value.as_str().and_then(parse_ratio).ok_or_else(|| {
            let message =
                format!("{ratio_field} must be a ratio of numbers up to {MAX_TERM}, such as 16:9");
            ApiError::invalid(ratio_field, message)
        })?,
    };
    let scale = match resolution {
        None => 1.0,
        Some((field, value)) => value.as_str().and_then(parse_resolution).ok_or_else(|| {
            ApiError::invalid(field, format!("{field} must be 0.5K, 1K, 2K or 4K"))
        })?,
    };
    let unit = (PIXELS / f64::from(width * height)).sqrt() * scale;
    let unit = ((unit / STEP).floor().max(1.0) * STEP) as u32;
    Ok(format!("{}x{}", width * unit, height * unit))
}

/// The lowest terms of `W:H`.
fn parse_ratio(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(':')?;
    let term = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = digits.parse().ok()?;
        (is_number && (1..=MAX_TERM).contains(&number)).then_some(number)
    };
    let (width, height) = (term(width)?, term(height)?);
    let (mut divisor, mut rest) = (width, height);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    Some((width / divisor, height / divisor))
}

fn parse_resolution(text: &str) -> Option<f64> {
    match text {
        "0.5K" | "512" => Some(0.5),
        "1K" => Some(1.0),
        "2K" => Some(2.0),
        "4K" => Some(4.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn size(ratio: &Value, resolution: &Value) -> Option<String> {
        let some = |value: &Value| !value.is_null();
        let resolution = Some(("image_size", resolution)).filter(|(_, value)| some(value));
        parse_size(
            "aspect_ratio",
            Some(ratio).filter(|it| some(it)),
            resolution,
        )
        .ok()
    }

    #[test]
    fn size_has_exactly_the_ratio_and_at_most_the_pixels() {
        for (ratio, resolution, expected) in [
            (json!("1:1"), json!(null), "1024x1024"),
            (json!("2:3"), json!("1K"), "832x1248"),
            (json!("16:9"), json!("1K"), "1280x720"),
            (json!("32:18"), json!("1K"), "1280x720"),
            (json!("9:16"), json!("2K"), "1512x2688"),
            (json!("21:9"), json!(null), "1512x648"),
            (json!(null), json!("0.5K"), "512x512"),
            (json!(null), json!("4K"), "4096x4096"),
        ] {
            let actual = size(&ratio, &resolution);
            assert_eq!(actual.as_deref(), Some(expected), "{ratio} {resolution}");
        }
    }

    #[test]
    fn other_ratios_and_resolutions_are_refused() {
        for ratio in [
            "", "1", "1:", "0:1", "65:1", "1:+1", "1:1:1", "wide", "1.5:1",
        ] {
            assert_eq!(size(&json!(ratio), &json!(null)), None, "{ratio}");
        }
        for resolution in [json!("8K"), json!("1k"), json!(1), json!("1024x1024")] {
            assert_eq!(size(&json!("1:1"), &resolution), None, "{resolution}");
        }
    }
}
