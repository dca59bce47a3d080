//! Sizes and shapes: the one asked for, and the nearest that an upstream has.

use std::fmt;
use std::str::FromStr;

use crate::Size;

/// Two shapes nearer than this are the same.
const SAME: f64 = 1e-9;

impl Size {
    /// From both sides in pixels.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Width times height.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// How far two shapes are apart: the difference of the logarithms of their ratios, so that 2:1
    /// is as far from 1:1 as 1:2 is.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        let shape = |size: Self| (f64::from(size.width) / f64::from(size.height)).ln();
        (shape(self) - shape(other)).abs()
    }

    /// The size of the list whose shape is nearest, the larger of two alike; itself where it is in
    /// the list. `None` only of an empty list.
    #[must_use]
    pub fn nearest(self, sizes: &[Self]) -> Option<Self> {
        if sizes.contains(&self) {
            return Some(self);
        }
        let nearer = |best: Self, size: Self| {
            let gain = self.distance(best) - self.distance(size);
            let larger = gain.abs() <= SAME && size.pixels() > best.pixels();
            if gain > SAME || larger { size } else { best }
        };
        sizes.iter().copied().reduce(nearer)
    }

    /// Both sides made smaller to a multiple of `step`, but not 0.
    #[must_use]
    pub fn rounded_down(self, step: u32) -> Self {
        let step = step.max(1);
        let side = |side: u32| (side / step).max(1).saturating_mul(step);
        Self::new(side(self.width), side(self.height))
    }
}

impl PartialEq for Size {
    fn eq(&self, other: &Self) -> bool {
        (self.width, self.height) == (other.width, other.height)
    }
}

impl Eq for Size {}

/// `WIDTHxHEIGHT`
impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.width, self.height)
    }
}

/// `WIDTHxHEIGHT`, both at least 1.
impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let side = |side: &str| side.parse().ok().filter(|pixels| *pixels > 0);
        let sides = text.split_once('x');
        sides
            .and_then(|(width, height)| Some(Self::new(side(width)?, side(height)?)))
            .ok_or("a size is written 1024x1024")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &str, sizes: &[&str], expected: &str) {
        let sizes: Vec<Size> = sizes.iter().map(|size| size.parse().unwrap()).collect();
        let nearest = asked.parse::<Size>().unwrap().nearest(&sizes).unwrap();
        assert_eq!(nearest.to_string(), expected, "of {asked}");
    }

    #[test]
    fn the_nearest_shape_is_taken() {
        let three = ["1024x1024", "1536x1024", "1024x1536"];
        check("512x512", &three, "1024x1024");
        check("1280x720", &three, "1536x1024");
        check("800x1200", &three, "1024x1536");
        check("1000x900", &three, "1024x1024");
        check("1250x1000", &three, "1536x1024");
        check("64x64", &["256x256", "1024x1024", "512x512"], "1024x1024");
        check("512x512", &["256x256", "1024x1024", "512x512"], "512x512");
        assert_eq!(Size::new(1, 1).nearest(&[]), None);
    }

    #[test]
    fn sides_are_rounded_down_but_not_to_nothing() {
        assert_eq!(Size::new(70, 50).rounded_down(8), Size::new(64, 48));
        assert_eq!(Size::new(5, 8).rounded_down(8), Size::new(8, 8));
        assert_eq!(Size::new(5, 7).rounded_down(0), Size::new(5, 7));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "x", "0x1", "1x0", "1x", "-1x1", "1x2x3"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
