//! Images in memory: sniffed, measured and bounded before anything else sees them.
//!
//! An [`Image`] was read from end to end, by the walk of its format, without decoding a pixel: so it
//! is whole, nothing follows it, and what it has besides pixels is known. [`Metadata`] says what stays
//! of that, and `decode` is where pixels are made of it.

mod avif;
mod decode;
mod gif;
mod jpeg;
mod metadata;
mod png;
mod structure;
mod webp;

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat};

use pinhole_ground::guard::Guard;
use structure::{Flaw, Part};

pub use decode::{DecodeFor, Decoder};
pub use metadata::Metadata;

/// What an image may be. None of them is a document to a browser.
pub const MEDIA_TYPES: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/avif",
];
/// Of a JPEG that had to be turned, from 1 to 100.
const TURNED_QUALITY: u8 = 95;

/// What an image may be.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Length of the encoded image.
    pub max_bytes: usize,
    /// Width times height, from the header.
    pub max_pixels: u64,
}

/// An image's bytes, whose type and size were read from the bytes themselves.
///
/// Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Bytes,
    media_type: &'static str,
    width: u32,
    height: u32,
    /// What is not the picture itself, in the order of the bytes.
    parts: Arc<[Part]>,
}

impl Image {
    /// Takes bytes that are a PNG, JPEG, WebP, GIF or AVIF image within the limits, and nothing else.
    ///
    /// They are read to their end, but no pixel is decoded. Zeros behind the end are cut off. The error
    /// says for a person what is wrong.
    pub fn from_bytes(bytes: Bytes, limits: ImageLimits) -> Result<Self, String> {
        let image = Self::from_upload(bytes.clone(), limits)?;
        let rest = bytes.get(image.bytes.len()..).unwrap_or_default();
        match rest.iter().any(|byte| *byte != 0) && Guard::PictureEnd.holds() {
            true => Err(format!(
                "the {} image has {} bytes behind its end",
                image.media_type,
                rest.len()
            )),
            false => Ok(image),
        }
    }

    /// The same of a picture that a person brings along: whatever follows its end is cut off, as
    /// cameras append films, further pictures and notes of their own.
    pub fn from_upload(bytes: Bytes, limits: ImageLimits) -> Result<Self, String> {
        if bytes.len() > Guard::PictureLength.limit(limits.max_bytes) {
            return Err(format!(
                "the image has {} bytes, more than the {} allowed",
                bytes.len(),
                limits.max_bytes
            ));
        }
        let media_type = sniff(&bytes).ok_or_else(|| match bytes.len() {
            0 => "the image is empty".to_owned(),
            _ => "the bytes are not a PNG, JPEG, WebP, GIF or AVIF image".to_owned(),
        })?;
        let read = structure::read(media_type, &bytes, limits);
        let structure = read.map_err(|flaw| match flaw {
            Flaw::CutOff => format!("the {media_type} image is cut off"),
            Flaw::Wrong(what) => format!("the {media_type} image {what}"),
        })?;
        let (width, height) = structure.size;
        Ok(Self {
            bytes: match Guard::PictureEnd.holds() {
                true => bytes.slice(..structure.end.min(bytes.len())),
                false => bytes,
            },
            media_type,
            width,
            height,
            parts: structure.parts.into(),
        })
    }

    /// The encoded image.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One of [`MEDIA_TYPES`].
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// The usual file extension of the type, without the dot.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match self.media_type {
            "image/jpeg" => "jpg",
            other => other.strip_prefix("image/").unwrap_or("bin"),
        }
    }

    /// Width and height in pixels, from the header.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Does its header speak of transparency?
    #[must_use]
    pub fn has_alpha(&self) -> bool {
        decode::has_alpha(self)
    }

    /// Must it be turned to be seen as its camera meant?
    #[must_use]
    pub fn is_turned(&self) -> bool {
        decode::is_turned(self)
    }

    /// The same picture as it is seen: turned by its pixels and no longer by a note beside them,
    /// which only some programs heed. A JPEG stays one. Decodes the pixels of one that
    /// [is turned](Self::is_turned), so call it within `decoding`.
    pub fn upright(&self, limits: ImageLimits) -> Result<Self, String> {
        if !self.is_turned() {
            return Ok(self.clone());
        }
        let cannot = |error: String| format!("the picture cannot be turned: {error}");
        let pixels = decode::pixels(self).map_err(cannot)?;
        let mut bytes = Cursor::new(Vec::new());
        let written = match self.media_type {
            "image/jpeg" => {
                pixels.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, TURNED_QUALITY))
            }
            _ => pixels.write_to(&mut bytes, ImageFormat::Png),
        };
        written.map_err(|error| cannot(error.to_string()))?;
        Self::from_bytes(bytes.into_inner().into(), limits)
    }

    /// Of a mask, transparent where the image may change: an opaque PNG, white there and black
    /// elsewhere. Decodes the pixels, so call it within `decoding`.
    pub fn white_mask(&self, limits: ImageLimits) -> Result<Self, String> {
        let pixels = decode::pixels(self);
        let pixels = pixels.map_err(|error| format!("the mask cannot be decoded: {error}"))?;
        let pixels = pixels.into_rgba8();
        let mask = image::GrayImage::from_fn(self.width, self.height, |x, y| {
            let [_, _, _, alpha] = pixels
                .get_pixel_checked(x, y)
                .map_or([0; 4], |pixel| pixel.0);
            image::Luma([255 - alpha])
        });
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageLuma8(mask)
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|error| format!("the mask cannot be written: {error}"))?;
        Self::from_bytes(bytes.into_inner().into(), limits)
    }

    /// A small picture of it as it is seen, whose longer side has at most `size` pixels; of an
    /// animation, its first frame. Decodes the pixels, so call it within [`decoding`].
    pub fn thumbnail(&self, size: u32) -> Result<DynamicImage, String> {
        decode::thumbnail(self, size)
    }
}

impl Image {
    /// A PNG that says that it is so wide, of this length or the least that there can be.
    pub fn sample(width: u8, length: usize) -> Self {
        let filler = vec![0; length.saturating_sub(57).max(8)];
        let bytes = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0".as_slice(),
            &[width],
            b"\0\0\0\x01\x01\0\0\0\0\0\0\0\0",
            &(filler.len() as u32).to_be_bytes(),
            b"IDAT",
            &filler,
            b"\0\0\0\0\0\0\0\0IEND\xaeB`\x82",
        ]
        .concat();
        let limits = ImageLimits {
            max_bytes: usize::MAX,
            max_pixels: 1000,
        };
        Self::from_bytes(bytes.into(), limits).unwrap()
    }
}

/// The media type that the bytes themselves show.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match image::guess_format(bytes).ok()? {
        ImageFormat::Png => Some("image/png"),
        ImageFormat::Jpeg => Some("image/jpeg"),
        ImageFormat::WebP => Some("image/webp"),
        ImageFormat::Gif => Some("image/gif"),
        ImageFormat::Avif => Some("image/avif"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ImageLimits = ImageLimits {
        max_bytes: 100_000,
        max_pixels: 10_000,
    };

    fn encoded(format: ImageFormat, width: u32, height: u32) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut bytes, format)
            .unwrap();
        bytes.into_inner().into()
    }

    #[test]
    fn type_and_size_come_from_the_bytes() {
        for (format, media_type) in [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::WebP, "image/webp"),
            (ImageFormat::Gif, "image/gif"),
        ] {
            let image = Image::from_bytes(encoded(format, 7, 5), LIMITS).unwrap();
            assert_eq!((image.media_type(), image.size()), (media_type, (7, 5)));
        }
    }

    #[test]
    fn what_is_no_image_within_the_limits_is_refused() {
        let refused = |bytes: Bytes| Image::from_bytes(bytes, LIMITS).unwrap_err();
        assert_eq!(refused(Bytes::new()), "the image is empty");
        assert!(refused(Bytes::from_static(b"<svg xmlns='x'/>")).contains("not a PNG"));
        assert!(refused(encoded(ImageFormat::Png, 101, 100)).contains("101 x 100"));
        assert!(refused(Bytes::from(vec![0; 100_001])).contains("100001 bytes"));
        assert!(refused(encoded(ImageFormat::Png, 7, 5).slice(..12)).contains("cut off"));
    }

    /// A JPEG, left half black and right half white, with a note that it is seen turned.
    fn turned() -> Image {
        let pixels = image::RgbImage::from_fn(32, 16, |x, _| {
            let grey = if x < 16 { 0 } else { 255 };
            image::Rgb([grey; 3])
        });
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        // A TIFF header and one entry: orientation (0x0112), a short, 6: turn it clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif.to_vec()).unwrap();
        DynamicImage::from(pixels)
            .write_with_encoder(encoder)
            .unwrap();
        Image::from_bytes(bytes.into_inner().into(), LIMITS).unwrap()
    }

    #[test]
    fn a_picture_is_turned_as_it_is_seen() {
        let turned = turned();
        assert!(turned.is_turned());
        assert_eq!(turned.size(), (32, 16));
        let upright = turned.upright(LIMITS).unwrap();
        assert!(!upright.is_turned());
        assert_eq!(
            (upright.media_type(), upright.size()),
            ("image/jpeg", (16, 32))
        );
        let pixels = image::load_from_memory(upright.bytes())
            .unwrap()
            .into_luma8();
        assert!(pixels.get_pixel(8, 2).0 < [30] && pixels.get_pixel(8, 29).0 > [220]);

        let plain = Image::from_bytes(encoded(ImageFormat::Png, 3, 2), LIMITS).unwrap();
        assert!(!plain.is_turned());
        assert_eq!(plain.upright(LIMITS).unwrap().bytes(), plain.bytes());
    }

    #[test]
    fn a_mask_is_white_where_it_was_transparent() {
        let mut pixels = image::RgbaImage::from_pixel(2, 1, image::Rgba([9, 9, 9, 255]));
        pixels.put_pixel(1, 0, image::Rgba([0, 0, 0, 0]));
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let mask = Image::from_bytes(bytes.into_inner().into(), LIMITS).unwrap();
        let white = mask.white_mask(LIMITS).unwrap();
        let pixels = image::load_from_memory(white.bytes()).unwrap().into_luma8();
        assert_eq!(pixels.into_raw(), [0, 255]);
    }
}
