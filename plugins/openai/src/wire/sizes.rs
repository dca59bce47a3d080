//! Sizes: the one a job asks for, and the one that the model's family has.

use pinhole_sdk::{Error, Size};

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
/// Two shapes nearer than this are the same.
const SAME: f64 = 1e-9;

/// What a family takes.
enum Family {
    Any,
    /// Never empty.
    These(Vec<Size>),
}

/// The size to send for the one asked for; the same where no family fits the model.
///
/// Fails with field `size` where the family has nothing like it, and with the setting as its field
/// where that cannot be read.
pub(super) fn fit(asked: Size, families: &str, model: Option<&str>) -> Result<Size, Error> {
    match family(families, model)? {
        None => Ok(asked),
        Some(Family::Any) => within_limits(asked),
        Some(Family::These(sizes)) => Ok(nearest(asked, &sizes)),
    }
}

/// `WIDTHxHEIGHT`
pub(super) fn written(size: Size) -> String {
    format!("{}x{}", size.width, size.height)
}

/// The family of the longest beginning that fits the model.
fn family(families: &str, model: Option<&str>) -> Result<Option<Family>, Error> {
    let mut best: Option<(usize, &str)> = None;
    for line in families
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (beginning, sizes) = line
            .split_once('=')
            .ok_or_else(|| unreadable(line, "it has no ="))?;
        let length = match beginning.trim() {
            "*" => 0,
            beginning if model.is_some_and(|model| model.starts_with(beginning)) => beginning.len(),
            _ => continue,
        };
        if best.is_none_or(|(longest, _)| length >= longest) {
            best = Some((length, sizes.trim()));
        }
    }
    match best {
        None => Ok(None),
        Some((_, ANY)) => Ok(Some(Family::Any)),
        Some((_, "")) => Err(unreadable("…", "a family has no sizes")),
        Some((_, sizes)) => sizes
            .split_whitespace()
            .map(size)
            .collect::<Result<_, _>>()
            .map(|sizes| Some(Family::These(sizes))),
    }
}

fn size(text: &str) -> Result<Size, Error> {
    let side = |side: &str| side.parse().ok().filter(|pixels| *pixels > 0);
    let sides = text.split_once('x');
    sides
        .and_then(|(width, height)| {
            Some(Size {
                width: side(width)?,
                height: side(height)?,
            })
        })
        .ok_or_else(|| unreadable(text, "a size is written 1024x1024"))
}

fn unreadable(what: &str, why: &str) -> Error {
    Error::invalid(
        SIZES,
        format!("setting {SIZES} cannot be read at {what:?}: {why}"),
    )
}

/// The size of the list whose shape is nearest, the larger of two alike. One in the list stays.
fn nearest(asked: Size, sizes: &[Size]) -> Size {
    let same = |size: &&Size| size.width == asked.width && size.height == asked.height;
    if let Some(size) = sizes.iter().find(same) {
        return *size;
    }
    let distance = |size: &Size| (shape(*size) - shape(asked)).abs();
    let pixels = |size: &Size| u64::from(size.width) * u64::from(size.height);
    let nearer = |best: Size, size: Size| {
        let gain = distance(&best) - distance(&size);
        let larger = gain.abs() <= SAME && pixels(&size) > pixels(&best);
        if gain > SAME || larger { size } else { best }
    };
    sizes.iter().copied().reduce(nearer).unwrap_or(asked)
}

/// Shapes are compared by the logarithm of the ratio: 2:1 is as far from 1:1 as 1:2 is.
fn shape(size: Size) -> f64 {
    (f64::from(size.width) / f64::from(size.height)).ln()
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
        let message = format!(
            "{} is too long: the longer side may be {MAX_RATIO} times the shorter",
            written(asked)
        );
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
        let families = settings::with(&[]).text(SIZES).unwrap();
        fit(Size { width, height }, &families, Some(model)).map(written)
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
        check(model, (1000, 1224), "1024x1024");
        check(model, (1000, 1225), "1024x1536");
        check("dall-e-3", (1920, 1080), "1792x1024");
        check("gpt-image-1-mini", (u32::MAX, 1), "1536x1024");
    }

    #[test]
    fn of_sizes_alike_the_larger_is_taken_unless_one_is_asked_for() {
        check("dall-e-2", (300, 300), "1024x1024");
        check("dall-e-2", (256, 256), "256x256");
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
    fn a_model_without_a_line_gets_what_was_asked_for() {
        check("flux", (513, 77), "513x77");
        assert_eq!(
            written(
                fit(
                    Size {
                        width: 5,
                        height: 7
                    },
                    "",
                    None
                )
                .unwrap()
            ),
            "5x7"
        );
    }

    #[test]
    fn the_longest_beginning_wins_and_a_star_fits_all() {
        let families = "* = 8x8\nflux-2 = 16x16\n\nflux = 32x32";
        let fitted = |model| {
            let asked = Size {
                width: 100,
                height: 100,
            };
            written(fit(asked, families, model).unwrap())
        };
        assert_eq!(fitted(Some("flux-2-dev")), "16x16");
        assert_eq!(fitted(Some("flux-1")), "32x32");
        assert_eq!(fitted(Some("sdxl")), "8x8");
        assert_eq!(fitted(None), "8x8");
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named() {
        let asked = Size {
            width: 1,
            height: 1,
        };
        for families in ["x", "x =", "x = 8", "x = 8x0", "x = 8xy", "x = any 8x8"] {
            let error = fit(asked, families, Some("x")).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("sizes"), "{families}");
        }
    }
}
