//! A small picture of a picture.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

/// Longer sides a thumbnail may have, in pixels.
pub const THUMBNAIL_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// What a picture may take in memory while its thumbnail is made, in bytes of pixels.
const MAX_DECODED_BYTES: u64 = 128 << 20;
/// Of a thumbnail without transparency, from 1 to 100.
const JPEG_QUALITY: u8 = 80;

/// Makes a picture as it is seen, whose longer side has at most `size` pixels: a PNG where it is
/// transparent, else a JPEG. Of an animation, its first frame. Decodes the pixels, so call it
/// where blocking is allowed.
///
/// The error says for a person why that cannot be.
pub(super) fn shrink(bytes: &[u8], size: u32) -> Result<Bytes, String> {
    let cannot = |error: ImageError| format!("no thumbnail can be made of this picture: {error}");
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|error| cannot(error.into()))?;
    let mut decoder = reader.into_decoder().map_err(cannot)?;
    let length = decoder.total_bytes();
    if length > MAX_DECODED_BYTES {
        return Err(format!(
            "no thumbnail can be made of this picture: its pixels have {length} bytes, more than the {MAX_DECODED_BYTES} allowed"
        ));
    }
    let mut decoding = image::Limits::default();
    decoding.max_alloc = Some(MAX_DECODED_BYTES);
    decoder.set_limits(decoding).map_err(cannot)?;
    let orientation = decoder.orientation().map_err(cannot)?;
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(cannot)?;
    if pixels.width().max(pixels.height()) > size {
        pixels = pixels.thumbnail(size, size);
    }
    pixels.apply_orientation(orientation);
    let mut written = Cursor::new(Vec::new());
    match pixels.color().has_alpha() {
        true => DynamicImage::from(pixels.into_rgba8()).write_to(&mut written, ImageFormat::Png),
        false => DynamicImage::from(pixels.into_rgb8())
            .write_with_encoder(JpegEncoder::new_with_quality(&mut written, JPEG_QUALITY)),
    }
    .map_err(cannot)?;
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
        let small = shrink(&encoded(pixels, format), 128).unwrap();
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
            let error = shrink(bytes, 128).unwrap_err();
            assert!(error.starts_with("no thumbnail can be made"), "{error}");
        }
    }

    #[test]
    fn pixels_beyond_the_limit_are_never_decoded() {
        // Only the header says how large it is.
        let mut bytes = encoded(DynamicImage::new_rgb8(1, 1), ImageFormat::Gif);
        bytes[6..10].copy_from_slice(&[0xff, 0x7f, 0xff, 0x7f]);
        let error = shrink(&bytes, 128).unwrap_err();
        assert!(error.contains("more than the 134217728 allowed"), "{error}");
    }
}
