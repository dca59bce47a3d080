//! Sample images for tests.

use crate::image_file::{Image, ImageLimits};

impl Image {
    /// A PNG whose header declares this width and a height of one pixel. It is `length` bytes long, or as
    /// short as such a PNG can be. Its pixels cannot be decoded.
    #[must_use]
    pub fn sample(width: u8, length: usize) -> Self {
        const FRAMING_BYTES: usize = 57;
        let pixels = vec![0; length.saturating_sub(FRAMING_BYTES).max(8)];
        let pixel_length = u32::try_from(pixels.len()).unwrap_or(u32::MAX);
        let bytes = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0".as_slice(),
            &[width],
            b"\0\0\0\x01\x01\0\0\0\0\0\0\0\0",
            &pixel_length.to_be_bytes(),
            b"IDAT",
            &pixels,
            b"\0\0\0\0\0\0\0\0IEND\xaeB`\x82",
        ]
        .concat();
        let limits = ImageLimits {
            max_bytes: usize::MAX,
            max_pixels: 1000,
        };
        Self::from_bytes(bytes.into(), limits).expect("a sample is a valid PNG")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_sample_has_the_requested_width_and_length() {
        assert_eq!(Image::sample(7, 0).size(), (7, 1));
        assert_eq!(Image::sample(7, 1000).bytes().len(), 1000);
    }
}
