//! Image sizes, and the nearest size that an upstream supports.
//!
//! ```
//! use pinhole_sdk::Size;
//!
//! let size: Size = "1280x720".parse().unwrap();
//! assert_eq!(size.round_down(64), Size::new(1280, 704));
//! ```

use std::fmt;
use std::str::FromStr;

use crate::Size;

/// Aspect ratios whose distance is below this are equal.
const EPSILON: f64 = 1e-9;

impl Size {
    /// Width and height in pixels.
    ///
    /// ```
    /// use pinhole_sdk::Size;
    ///
    /// assert_eq!(Size::new(1024, 768).to_string(), "1024x768");
    /// ```
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Width times height.
    ///
    /// ```
    /// use pinhole_sdk::Size;
    ///
    /// assert_eq!(Size::new(100, 50).pixels(), 5000);
    /// ```
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Distance of two aspect ratios: the difference of their logarithms, so that 2:1 and 1:2 are
    /// equally far from 1:1.
    ///
    /// ```
    /// use pinhole_sdk::Size;
    ///
    /// let square = Size::new(1, 1);
    /// let [wide, tall] = [Size::new(2, 1), Size::new(1, 2)];
    /// assert_eq!(square.aspect_distance(wide), square.aspect_distance(tall));
    /// ```
    #[must_use]
    pub fn aspect_distance(self, other: Self) -> f64 {
        let log_aspect = |size: Self| (f64::from(size.width) / f64::from(size.height)).ln();
        (log_aspect(self) - log_aspect(other)).abs()
    }

    /// The listed size with the nearest aspect ratio; the larger of two with the same ratio. Returns
    /// the size itself if it is listed, and `None` only for an empty list.
    ///
    /// ```
    /// use pinhole_sdk::Size;
    ///
    /// let sizes = [Size::new(1024, 1024), Size::new(1536, 1024)];
    /// assert_eq!(Size::new(1280, 720).nearest(&sizes), Some(Size::new(1536, 1024)));
    /// ```
    #[must_use]
    pub fn nearest(self, sizes: &[Self]) -> Option<Self> {
        if sizes.contains(&self) {
            return Some(self);
        }
        let nearer = |best: Self, size: Self| {
            let gain = self.aspect_distance(best) - self.aspect_distance(size);
            let larger = gain.abs() <= EPSILON && size.pixels() > best.pixels();
            if gain > EPSILON || larger { size } else { best }
        };
        sizes.iter().copied().reduce(nearer)
    }

    /// Rounds both sides down to a multiple of `step`, at least one `step`.
    ///
    /// ```
    /// use pinhole_sdk::Size;
    ///
    /// assert_eq!(Size::new(1000, 3).round_down(8), Size::new(1000, 8));
    /// ```
    #[must_use]
    pub fn round_down(self, step: u32) -> Self {
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
        let side = |digits: &str| digits.parse().ok().filter(|pixels| *pixels > 0);
        let sides = text.split_once('x');
        sides
            .and_then(|(width, height)| Some(Self::new(side(width)?, side(height)?)))
            .ok_or("a size is written 1024x1024")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requested: &str, sizes: &[&str], expected: &str) {
        let sizes: Vec<Size> = sizes.iter().map(|size| size.parse().unwrap()).collect();
        let nearest = requested.parse::<Size>().unwrap().nearest(&sizes).unwrap();
        assert_eq!(nearest.to_string(), expected, "nearest to {requested}");
    }

    #[test]
    fn nearest_prefers_aspect_ratio_then_larger_size() {
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
    fn round_down_returns_at_least_one_step() {
        assert_eq!(Size::new(70, 50).round_down(8), Size::new(64, 48));
        assert_eq!(Size::new(5, 8).round_down(8), Size::new(8, 8));
        assert_eq!(Size::new(5, 7).round_down(0), Size::new(5, 7));
    }

    #[test]
    fn size_refuses_malformed_text() {
        for text in ["", "x", "0x1", "1x0", "1x", "-1x1", "1x2x3"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
