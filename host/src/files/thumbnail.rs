//! Thumbnails.

use std::io::Cursor;

use anyhow::{Context, Result};
use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageResult};
use pinhole_ground::fair_queue::QueueFull;
use pinhole_ground::guard::Refusal;
use pinhole_ground::memory::MemoryFull;
use pinhole_images::{DecodeError, DecodeFor, Image};

use super::{Files, UPLOAD_LIMITS, thumbnail_name};
use crate::store::FileRow;

/// Lengths of the longer side in pixels.
pub const THUMBNAIL_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// Length of a stored thumbnail in bytes: more than its pixels without compression.
const MAX_THUMBNAIL_BYTES: u64 = 8 << 20;
/// From 1 to 100.
const JPEG_QUALITY: u8 = 80;

/// The result of a request for a thumbnail.
#[derive(Debug)]
pub enum Thumbnail {
    Image(Image),
    /// The bytes of the original are missing.
    FileMissing,
    /// The original does not fit into memory.
    MemoryFull(MemoryFull),
    /// The original has no thumbnail. Contains the reason for the user.
    Impossible(String),
    /// Too many images wait to be decoded.
    QueueFull(QueueFull),
}

impl Thumbnail {
    fn from_bytes(bytes: Bytes) -> Self {
        match Image::from_bytes(bytes, UPLOAD_LIMITS) {
            Ok(image) => Self::Image(image),
            Err(refusal) => Self::Impossible(refusal.reason),
        }
    }
}

impl Files {
    /// The thumbnail of a file, in one of [`THUMBNAIL_SIZES`], for a user. It is created once and stored.
    pub async fn thumbnail(&self, file: &FileRow, size: u32, user_id: &str) -> Result<Thumbnail> {
        let name = thumbnail_name(&file.id, size);
        if let Some(bytes) = self.stored_thumbnail(&name).await? {
            return Ok(Thumbnail::from_bytes(bytes));
        }
        let permit = match self.decoder.acquire(DecodeFor::User(Some(user_id))).await {
            Ok(permit) => permit,
            Err(full) => return Ok(Thumbnail::QueueFull(full)),
        };
        // Another request may have created it meanwhile.
        if let Some(bytes) = self.stored_thumbnail(&name).await? {
            return Ok(Thumbnail::from_bytes(bytes));
        }
        let length = usize::try_from(file.length()).unwrap_or(usize::MAX);
        let share = self.decoder.memory().of(Some(user_id));
        let lease = match share.lease(length).await {
            Ok(lease) => lease,
            Err(full) => return Ok(Thumbnail::MemoryFull(full)),
        };
        let spooled = self.spool.find(&file.id).and_then(|file| file.bytes);
        let original = match spooled {
            Some(bytes) => Some(bytes),
            None => {
                let stored = self.objects.get(&file.id, file.length()).await;
                stored.with_context(|| format!("cannot create thumbnail {name}"))?
            }
        };
        let Some(original) = original else {
            return Ok(Thumbnail::FileMissing);
        };
        let original = match parse(lease.attach(original)) {
            Ok(image) => image,
            Err(refusal) => return Ok(Thumbnail::Impossible(refusal.reason)),
        };
        let decoding_bytes = original.decoding_bytes();
        let created = permit
            .run(decoding_bytes, move || create(&original, size))
            .await;
        let bytes = match created {
            Ok(bytes) => bytes,
            Err(DecodeError::Refused(refusal)) => {
                return Ok(Thumbnail::Impossible(refusal.reason));
            }
            Err(DecodeError::MemoryFull(full)) => return Ok(Thumbnail::MemoryFull(full)),
        };
        if let Err(error) = self.objects.put(&name, bytes.clone()).await {
            tracing::warn!("cannot store thumbnail {name}: {error}");
        }
        Ok(Thumbnail::from_bytes(bytes))
    }

    async fn stored_thumbnail(&self, name: &str) -> Result<Option<Bytes>> {
        let stored = self.objects.get(name, MAX_THUMBNAIL_BYTES).await;
        stored.with_context(|| format!("cannot read thumbnail {name}"))
    }
}

/// The original of a thumbnail.
fn parse(bytes: Bytes) -> Result<Image, Refusal> {
    Image::from_upload(bytes, UPLOAD_LIMITS).map_err(name_failure)
}

fn name_failure(refusal: Refusal) -> Refusal {
    refusal.map_reason(|why| format!("cannot create a thumbnail of this image: {why}"))
}

/// Creates a thumbnail whose longer side has at most `size` pixels: a PNG if the image has an alpha
/// channel, else a JPEG. Uses the first frame of an animation and applies the orientation.
///
/// Decodes the pixels, so call it within [`DecodePermit::run`](pinhole_images::DecodePermit::run). The error is for
/// the user.
fn create(image: &Image, size: u32) -> Result<Bytes, Refusal> {
    let pixels = image.to_thumbnail(size).map_err(name_failure)?;
    let encoded = if pixels.color().has_alpha() {
        to_png(pixels)
    } else {
        to_jpeg(pixels)
    };
    encoded.map_err(|error| name_failure(error.to_string().into()))
}

fn to_png(pixels: DynamicImage) -> ImageResult<Bytes> {
    let mut output = Cursor::new(Vec::new());
    DynamicImage::from(pixels.into_rgba8()).write_to(&mut output, ImageFormat::Png)?;
    Ok(output.into_inner().into())
}

/// A JPEG of a small image, in the quality of thumbnails. Transparency is lost.
pub(crate) fn to_jpeg(pixels: DynamicImage) -> ImageResult<Bytes> {
    let mut output = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut output, JPEG_QUALITY);
    pixels.into_rgb8().write_with_encoder(encoder)?;
    Ok(output.into_inner().into())
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
        let image = parse(encoded(pixels, format).into()).unwrap();
        let thumbnail = create(&image, 128).unwrap();
        let decoded = image::load_from_memory(&thumbnail).unwrap();
        let actual_format = image::guess_format(&thumbnail).unwrap();
        assert_eq!((actual_format, decoded.width(), decoded.height()), expected);
    }

    #[test]
    fn create_fits_the_longer_side_and_never_enlarges() {
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
    fn create_reports_undecodable_images() {
        let whole = encoded(DynamicImage::new_rgb8(300, 300), ImageFormat::Png);
        let (head, _) = whole.split_at(60);
        for bytes in [head, b"no image", b""] {
            let original = parse(Bytes::copy_from_slice(bytes));
            let error = original.and_then(|it| create(&it, 128)).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("cannot create a thumbnail of this image"),
                "{error}"
            );
        }
    }

    #[test]
    fn create_refuses_images_beyond_the_pixel_limit() {
        // 25 million pixels of eight bytes each, nearly all equal.
        let deep = DynamicImage::new_rgba16(5200, 5200);
        let image = parse(encoded(deep, ImageFormat::Png).into()).unwrap();
        let error = create(&image, 128).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("more than the 201326592 allowed"),
            "{error}"
        );
    }
}
