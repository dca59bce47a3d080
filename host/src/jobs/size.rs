//! The size of an image as text: `WxH` or `auto`.

use pinhole_ground::text::plain;
use pinhole_sandbox::contract::Size;

/// Width and height in pixels.
pub const MAX_SIDE: u32 = 8192;
/// Width times height.
pub const MAX_PIXELS: u64 = 4096 * 4096;

/// Parses `WxH`. Returns `None` for `auto` and for an empty text.
pub(super) fn parse_size(text: &str) -> Result<Option<Size>, String> {
    if text.is_empty() || text == "auto" {
        return Ok(None);
    }
    let Some(Size { width, height }) = parse_sides(text) else {
        return Err(format!(
            "{:?} is neither WxH, such as 1024x1024, nor auto",
            plain(text, 40)
        ));
    };
    let has_sides = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    if !has_sides || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "{width}x{height} is not allowed: each side must be from 1 to {MAX_SIDE}, and their product at most {MAX_PIXELS}"
        ));
    }
    Ok(Some(Size { width, height }))
}

fn parse_sides(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    Some(Size {
        width: parse_side(width)?,
        height: parse_side(height)?,
    })
}

fn parse_side(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Option<(u32, u32)>>) {
        let size = parse_size(text)
            .ok()
            .map(|size| size.map(|size| (size.width, size.height)));
        assert_eq!(size, expected, "{text:?}");
    }

    #[test]
    fn parse_size_accepts_two_numbers_within_limits() {
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
