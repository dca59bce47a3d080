//! Sizes: the one a job asks for, and the one that the model's family has.

use pinhole_sdk::{Error, Families, Size};

use crate::settings::SIZES;

/// The word for a family that takes every size within the limits below.
const ANY: &str = "any";
/// Both sides are multiples of it, in pixels.
const STEP: u32 = 16;
/// In pixels.
const MAX_SIDE: u32 = 3840;
/// Width times height.
const MIN_PIXELS: u32 = 655_360;
/// Width times height.
const MAX_PIXELS: u32 = 8_294_400;
/// The longer side against the shorter.
const MAX_RATIO: u32 = 3;
/// A product nearer to a whole number than this is that number.
const SAME: f64 = 1e-9;

/// The families of the setting, each with sizes or the one word for all.
pub(crate) fn parse(text: &str) -> Result<Families, Error> {
    let families = Families::parse(SIZES, text)?;
    for words in families.all() {
        if words.is_empty() {
            return Err(families.unreadable("…", "a family has no sizes"));
        }
        if words != [ANY] {
            listed(words, &families)?;
        }
    }
    Ok(families)
}

/// The size to send for the one asked for; the same where no family fits the model.
///
/// Fails with field `size` where the family has nothing like it.
pub(super) fn fit(asked: Size, families: &Families, model: Option<&str>) -> Result<Size, Error> {
    match families.words(model) {
        None => Ok(asked),
        Some(words) if words == [ANY] => within_limits(asked),
        Some(words) => {
            let sizes = listed(words, families)?;
            Ok(asked.nearest(&sizes).unwrap_or(asked))
        }
    }
}

fn listed(words: &[String], families: &Families) -> Result<Vec<Size>, Error> {
    let size = |word: &String| word.parse().map_err(|why| families.unreadable(word, why));
    words.iter().map(size).collect()
}

/// The size rounded to the step, then made larger or smaller until it is within the limits.
fn within_limits(asked: Size) -> Result<Size, Error> {
    let rounded = Size {
        width: to_step(asked.width),
        height: to_step(asked.height),
    };
    let long = rounded.width.max(rounded.height);
    let short = rounded.width.min(rounded.height);
    if long > short.saturating_mul(MAX_RATIO) {
        let message =
            format!("{asked} is too long: the longer side may be {MAX_RATIO} times the shorter");
        return Err(Error::invalid("size", message));
    }
    let pixels = f64::from(rounded.width) * f64::from(rounded.height);
    let grow = (f64::from(MIN_PIXELS) / pixels).sqrt();
    let shrink = (f64::from(MAX_PIXELS) / pixels).sqrt();
    let shrink = shrink.min(f64::from(MAX_SIDE) / f64::from(long));
    let scaled = |side: u32| {
        let steps = f64::from(side / STEP);
        // The nudge keeps a whole number whole where the product falls beside it.
        let steps = if grow > 1.0 {
            (steps * grow - SAME).ceil()
        } else {
            (steps * shrink.min(1.0) + SAME).floor()
        };
        (steps.max(1.0) as u32).saturating_mul(STEP)
    };
    Ok(Size {
        width: scaled(rounded.width),
        height: scaled(rounded.height),
    })
}

/// The nearest multiple of the step that is not 0.
fn to_step(side: u32) -> u32 {
    let steps = side.saturating_add(STEP / 2) / STEP;
    steps.max(1) * STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn fitted(model: &str, width: u32, height: u32) -> Result<String, Error> {
        let families = parse(&settings::with(&[]).text(SIZES).unwrap()).unwrap();
        fit(Size::new(width, height), &families, Some(model)).map(|size| size.to_string())
    }

    fn check(model: &str, (width, height): (u32, u32), expected: &str) {
        assert_eq!(fitted(model, width, height).unwrap(), expected);
    }

    #[test]
    fn a_listed_family_gets_its_nearest_shape() {
        let model = "gpt-image-1.5";
        check(model, (512, 512), "1024x1024");
        check(model, (1280, 720), "1536x1024");
        check(model, (800, 1200), "1024x1536");
        check(model, (1000, 900), "1024x1024");
        check(model, (1250, 1000), "1536x1024");
        check(model, (1224, 1000), "1024x1024");
        check(model, (1225, 1000), "1536x1024");
        check("dall-e-3", (1920, 1080), "1792x1024");
        check("dall-e-2", (300, 300), "1024x1024");
        check("dall-e-2", (256, 256), "256x256");
        check("flux", (513, 77), "513x77");
    }

    #[test]
    fn a_free_family_gets_multiples_of_16_within_its_limits() {
        let model = "gpt-image-2.5-flare";
        check(model, (1536, 864), "1536x864");
        check(model, (1000, 1000), "1008x1008");
        check(model, (1033, 1031), "1040x1024");
        check(model, (512, 512), "816x816");
        check(model, (7680, 4320), "3840x2160");
        check(model, (4096, 4096), "2880x2880");
        check(model, (6000, 2000), "3840x1280");
        check(model, (48, 16), "1408x480");
        assert!(fitted(model, 3000, 900).is_err());
        assert!(fitted(model, u32::MAX, 1).is_err());
        assert!(fitted(model, u32::MAX, u32::MAX).is_ok());
    }

    #[test]
    fn every_free_size_keeps_the_limits() {
        for width in (1..9000).step_by(173) {
            for height in (1..9000).step_by(191) {
                let Ok(Size { width, height }) = within_limits(Size { width, height }) else {
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
    fn a_setting_that_cannot_be_read_is_named() {
        for families in ["x", "x =", "x = 8", "x = 8x0", "x = 8xy", "y = any 8x8"] {
            let error = parse(families).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("sizes"), "{families}");
        }
    }
}
