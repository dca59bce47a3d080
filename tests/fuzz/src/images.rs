//! An image is refused, or it is within its limits and has the same pixels without its metadata.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageReader};
use pinhole_images::{Image, ImageLimits, MEDIA_TYPES, MetadataPolicy};

const LIMITS: ImageLimits = ImageLimits {
    max_bytes: 1 << 20,
    max_pixels: 1 << 18,
};
/// Memory for decoding an image in bytes.
const MAX_DECODING_BYTES: u64 = 64 << 20;
/// Stands for a secret that must not remain in metadata.
const SECRET: &[u8] = b"a secret";

/// Input: an image.
///
/// An accepted image has a known type and a size within the limits. So has the image without metadata: it
/// is not longer, is accepted again, does not change when it is stripped again, and decodes to the same
/// pixels.
pub fn images(bytes: &[u8]) {
    let Ok(image) = Image::from_bytes(Bytes::copy_from_slice(bytes), LIMITS) else {
        return;
    };
    check_limits(&image);
    let pixels = decode(&image);
    for policy in [
        MetadataPolicy::Keep,
        MetadataPolicy::Essential,
        MetadataPolicy::Strip,
    ] {
        let strip = |original: &Image| original.with_metadata(policy, contains_secret);
        let stripped = strip(&image);
        assert_eq!(
            (stripped.size(), stripped.media_type()),
            (image.size(), image.media_type())
        );
        assert!(
            stripped.bytes().len() <= image.bytes().len(),
            "{policy:?} made the image longer"
        );
        assert_eq!(
            strip(&stripped).bytes(),
            stripped.bytes(),
            "{policy:?} twice"
        );
        let parsed = Image::from_bytes(stripped.bytes().clone(), LIMITS)
            .unwrap_or_else(|refusal| panic!("{policy:?} broke the image: {refusal}"));
        assert_eq!(
            strip(&parsed).bytes(),
            stripped.bytes(),
            "{policy:?} and parsed again"
        );
        if pixels.is_some() && jpeg_scans(&stripped) == jpeg_scans(&image) {
            assert!(decode(&stripped) == pixels, "{policy:?} changed pixels");
        }
    }
    let _ = image.has_alpha();
    for converted in [image.to_upright(LIMITS), image.to_white_mask(LIMITS)]
        .into_iter()
        .flatten()
    {
        check_limits(&converted);
    }
}

fn check_limits(image: &Image) {
    let (width, height) = image.size();
    let pixels = u64::from(width) * u64::from(height);
    assert!(
        (1..=LIMITS.max_pixels).contains(&pixels),
        "{width} x {height}"
    );
    assert!(image.bytes().len() <= LIMITS.max_bytes);
    let media_type = image.media_type();
    assert!(MEDIA_TYPES.contains(&media_type), "{media_type}");
}

/// The file from the first scan of a JPEG on; `None` for other formats. A decoder that repairs damaged
/// scans searches for their ends in the bytes between them, so pixels may differ if these bytes differ.
fn jpeg_scans(image: &Image) -> Option<&[u8]> {
    const START_OF_SCAN: &[u8] = b"\xff\xda";
    if image.media_type() != "image/jpeg" {
        return None;
    }
    let start = image
        .bytes()
        .windows(START_OF_SCAN.len())
        .position(|window| window == START_OF_SCAN)?;
    image.bytes().get(start..)
}

/// The pixels, decoded without the host's own functions; `None` if that is impossible.
fn decode(image: &Image) -> Option<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(image.bytes()));
    let mut reader = reader.with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODING_BYTES);
    reader.limits(limits);
    reader.decode().ok()
}

fn contains_secret(content: &[u8]) -> bool {
    content.windows(SECRET.len()).any(|window| window == SECRET)
}
