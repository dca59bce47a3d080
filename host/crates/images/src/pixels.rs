//! The functions that decode pixels, all with bounded memory.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Luma};
use pinhole_ground::guard::{Guard, Refusal};

use crate::image_file::{Image, ImageLimits};
use crate::metadata::MetadataPolicy;
use crate::metadata_part::PartKind;

/// Memory for the pixels of an image in bytes. A decoder may use as much again.
const MAX_DECODED_BYTES: u64 = 192 << 20;
/// Quality of a JPEG that is rotated, from 1 to 100.
const ROTATED_QUALITY: u8 = 95;

impl Image {
    /// Memory that decoding the pixels needs, in bytes.
    #[must_use]
    pub fn decoding_bytes(&self) -> usize {
        let pixels = new_decoder(self).map_or(0, |decoder| decoder.total_bytes());
        // Larger images are not decoded. A decoder may use as much again.
        let bytes = pixels.min(MAX_DECODED_BYTES).saturating_mul(2);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Does the header declare an alpha channel?
    #[must_use]
    pub fn has_alpha(&self) -> bool {
        new_decoder(self).is_ok_and(|decoder| decoder.color_type().has_alpha())
    }

    /// Does the metadata request that viewers rotate or mirror the image?
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        let orientation = new_decoder(self).map(|mut decoder| decoder.orientation());
        matches!(orientation, Ok(Ok(orientation)) if orientation != Orientation::NoTransforms)
    }

    /// Width and height in pixels, as viewers show the image: with the orientation of its metadata.
    #[must_use]
    pub fn upright_size(&self) -> (u32, u32) {
        let (width, height) = self.size();
        if !self.parts.iter().any(|part| part.kind == PartKind::Exif) {
            return (width, height);
        }
        let orientation = new_decoder(self).map(|mut decoder| decoder.orientation());
        match orientation {
            Ok(Ok(
                Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH,
            )) => (height, width),
            _ => (width, height),
        }
    }

    /// The image with its orientation applied to the pixels, for programs that ignore the metadata. A JPEG
    /// remains a JPEG; other formats become PNG.
    ///
    /// Decodes the pixels if the image [is rotated](Self::is_rotated), so call it in
    /// [`DecodePermit::run`](crate::DecodePermit::run).
    pub fn to_upright(&self, limits: ImageLimits) -> Result<Self, Refusal> {
        if !self.is_rotated() {
            return Ok(self.clone());
        }
        let in_context = |reason: String| format!("the image cannot be rotated: {reason}");
        let pixels = decode_upright(self).map_err(|refusal| refusal.map_reason(in_context))?;
        let mut bytes = Cursor::new(Vec::new());
        let encoded = match self.media_type() {
            "image/jpeg" => pixels
                .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, ROTATED_QUALITY)),
            _ => pixels.write_to(&mut bytes, ImageFormat::Png),
        };
        encoded.map_err(|error| in_context(error.to_string()))?;
        let upright = Self::from_bytes(bytes.into_inner().into(), limits)?;
        Ok(Self {
            file_id: self.file_id.clone(),
            ..upright
        })
    }

    /// Converts a mask that is transparent in the areas to edit into an opaque PNG that is white in these
    /// areas and black elsewhere.
    ///
    /// Decodes the pixels, so call it in [`DecodePermit::run`](crate::DecodePermit::run).
    pub fn to_white_mask(&self, limits: ImageLimits) -> Result<Self, Refusal> {
        let pixels = decode_upright(self)
            .map_err(|refusal| {
                refusal.map_reason(|reason| format!("the mask cannot be decoded: {reason}"))
            })?
            .into_rgba8();
        let (width, height) = self.size();
        let mask = GrayImage::from_fn(width, height, |x, y| {
            let [_, _, _, alpha] = pixels
                .get_pixel_checked(x, y)
                .map_or([0; 4], |pixel| pixel.0);
            Luma([255 - alpha])
        });
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageLuma8(mask)
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|error| format!("the mask cannot be encoded: {error}"))?;
        Self::from_bytes(bytes.into_inner().into(), limits)
    }

    /// Pixels of the upright image, reduced so that the longer side has at most `max_side` pixels. Of an
    /// animation, the first frame.
    ///
    /// Decodes the pixels, so call it in [`DecodePermit::run`](crate::DecodePermit::run).
    pub fn to_thumbnail(&self, max_side: u32) -> Result<DynamicImage, Refusal> {
        let (mut pixels, orientation) = decode(self)?;
        // Reduced before it is rotated, which needs less memory.
        if pixels.width().max(pixels.height()) > max_side {
            pixels = pixels.thumbnail(max_side, max_side);
        }
        pixels.apply_orientation(orientation);
        Ok(pixels)
    }
}

fn decode_upright(image: &Image) -> Result<DynamicImage, Refusal> {
    let (mut pixels, orientation) = decode(image)?;
    pixels.apply_orientation(orientation);
    Ok(pixels)
}

fn decode(image: &Image) -> Result<(DynamicImage, Orientation), Refusal> {
    // A decoder does not need other metadata, and metadata that it never reads cannot exploit it.
    let essential = image.with_metadata(MetadataPolicy::Essential, |_| false);
    let mut decoder = new_decoder(&essential).map_err(|error| error.to_string())?;
    let length = decoder.total_bytes();
    Guard::DecodedBytes.refuse_if(length > MAX_DECODED_BYTES, || {
        format!("its pixels have {length} bytes, more than the {MAX_DECODED_BYTES} allowed")
    })?;
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let pixels = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((pixels, orientation))
}

/// A decoder that has read the header. It decodes at most the image's own size.
fn new_decoder(image: &Image) -> image::ImageResult<impl ImageDecoder> {
    let mut reader = ImageReader::new(Cursor::new(image.bytes())).with_guessed_format()?;
    let (width, height) = image.size();
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(width);
    limits.max_image_height = Some(height);
    if Guard::DecodedBytes.applies(true) {
        limits.max_alloc = Some(MAX_DECODED_BYTES);
    }
    reader.limits(limits);
    reader.into_decoder()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LIMITS: ImageLimits = ImageLimits {
        max_bytes: 100_000,
        max_pixels: 10_000,
    };

    fn encode(format: ImageFormat, width: u32, height: u32) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut bytes, format)
            .unwrap();
        bytes.into_inner().into()
    }

    /// A JPEG whose left half is black and right half is white, and whose EXIF rotates it.
    fn rotated_jpeg() -> Image {
        let pixels = image::RgbImage::from_fn(32, 16, |x, _| {
            let grey = if x < 16 { 0 } else { 255 };
            image::Rgb([grey; 3])
        });
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        // A TIFF header and one entry: orientation (0x0112), a short, 6: rotate clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif.to_vec()).unwrap();
        DynamicImage::from(pixels)
            .write_with_encoder(encoder)
            .unwrap();
        Image::from_bytes(bytes.into_inner().into(), LIMITS).unwrap()
    }

    #[test]
    fn image_to_upright_applies_the_orientation() {
        let rotated = rotated_jpeg();
        assert!(rotated.is_rotated());
        assert_eq!(rotated.size(), (32, 16));
        assert_eq!(rotated.upright_size(), (16, 32));
        let upright = rotated.to_upright(LIMITS).unwrap();
        assert!(!upright.is_rotated());
        assert_eq!(
            (upright.media_type(), upright.size()),
            ("image/jpeg", (16, 32))
        );
        let pixels = image::load_from_memory(upright.bytes())
            .unwrap()
            .into_luma8();
        assert!(pixels.get_pixel(8, 2).0 < [30] && pixels.get_pixel(8, 29).0 > [220]);

        let plain = Image::from_bytes(encode(ImageFormat::Png, 3, 2), LIMITS).unwrap();
        assert!(!plain.is_rotated());
        assert_eq!(plain.upright_size(), (3, 2));
        assert_eq!(plain.to_upright(LIMITS).unwrap().bytes(), plain.bytes());
    }

    #[test]
    fn image_to_white_mask_is_white_in_transparent_areas() {
        let mut pixels = image::RgbaImage::from_pixel(2, 1, image::Rgba([9, 9, 9, 255]));
        pixels.put_pixel(1, 0, image::Rgba([0, 0, 0, 0]));
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let mask = Image::from_bytes(bytes.into_inner().into(), LIMITS).unwrap();
        let white = mask.to_white_mask(LIMITS).unwrap();
        let white_pixels = image::load_from_memory(white.bytes()).unwrap().into_luma8();
        assert_eq!(white_pixels.into_raw(), [0, 255]);
    }
}
