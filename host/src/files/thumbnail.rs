//! A small picture of a picture.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat};

use super::UPLOAD_LIMITS;
use pinhole_images::Image;

/// Longer sides a thumbnail may have, in pixels.
pub const THUMBNAIL_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// Of a thumbnail without transparency, from 1 to 100.
const JPEG_QUALITY: u8 = 80;

/// Makes a picture as it is seen, whose longer side has at most `size` pixels: a PNG where it is
/// transparent, else a JPEG. Of an animation, its first frame. Decodes the pixels, so call it
/// within [`decoding`](pinhole_images::decoding).
///
/// The error says for a person why that cannot be.
pub(super) fn shrink(bytes: Bytes, size: u32) -> Result<Bytes, String> {
    let cannot = |why: String| format!("no thumbnail can be made of this picture: {why}");
    let image = Image::from_upload(bytes, UPLOAD_LIMITS).map_err(cannot)?;
    let pixels = image.thumbnail(size).map_err(cannot)?;
    let mut written = Cursor::new(Vec::new());
    match pixels.color().has_alpha() {
        true => DynamicImage::from(pixels.into_rgba8()).write_to(&mut written, ImageFormat::Png),
        false => DynamicImage::from(pixels.into_rgb8())
            .write_with_encoder(JpegEncoder::new_with_quality(&mut written, JPEG_QUALITY)),
    }
    .map_err(|error| cannot(error.to_string()))?;
    Ok(written.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(pixels: DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn check(pixels: DynamicImage, format: ImageFormat, expected: (ImageFormat, u32, u32)) {
        let small = shrink(encoded(pixels, format).into(), 128).unwrap();
        let seen = image::load_from_memory(&small).unwrap();
        let format = image::guess_format(&small).unwrap();
        assert_eq!((format, seen.width(), seen.height()), expected);
    }

    #[test]
    fn the_longer_side_fits_and_nothing_grows() {
        let (rgb, rgba) = (DynamicImage::new_rgb8, DynamicImage::new_rgba8);
        check(
            rgb(600, 300),
            ImageFormat::Png,
            (ImageFormat::Jpeg, 128, 64),
        );
        check(
            rgb(300, 600),
            ImageFormat::Jpeg,
            (ImageFormat::Jpeg, 64, 128),
        );
        check(
            rgba(600, 300),
            ImageFormat::WebP,
            (ImageFormat::Png, 128, 64),
        );
        check(
            rgba(256, 256),
            ImageFormat::Gif,
            (ImageFormat::Png, 128, 128),
        );
        check(rgb(9, 7), ImageFormat::Png, (ImageFormat::Jpeg, 9, 7));
        check(rgb(1, 5000), ImageFormat::Png, (ImageFormat::Jpeg, 1, 128));
        let deep = DynamicImage::new_rgb16(300, 300);
        check(deep, ImageFormat::Png, (ImageFormat::Jpeg, 128, 128));
    }

    #[test]
    fn what_cannot_be_decoded_is_said() {
        let whole = encoded(DynamicImage::new_rgb8(300, 300), ImageFormat::Png);
        let (head, _) = whole.split_at(60);
        for bytes in [head, b"no picture", b""] {
            let error = shrink(Bytes::copy_from_slice(bytes), 128).unwrap_err();
            assert!(error.starts_with("no thumbnail can be made"), "{error}");
        }
    }

    #[test]
    fn pixels_beyond_the_limit_are_never_decoded() {
        // Eight bytes for each of 25 million pixels, and nearly all of them the same.
        let deep = DynamicImage::new_rgba16(5200, 5200);
        let error = shrink(encoded(deep, ImageFormat::Png).into(), 128).unwrap_err();
        assert!(error.contains("more than the 201326592 allowed"), "{error}");
    }
}
