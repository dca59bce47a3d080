//! A picture is refused, or within its limits, and has the same pixels without its metadata.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageReader};

use crate::images::{Image, ImageLimits, Metadata};

const LIMITS: ImageLimits = ImageLimits {
    max_bytes: 1 << 20,
    max_pixels: 1 << 18,
};
/// What decoding one may take, in bytes.
const MAX_DECODING_BYTES: u64 = 64 << 20;
/// As if it were a secret, to be kept out of what stays of the metadata.
const SECRET: &[u8] = b"a secret";

/// What shall be a picture.
///
/// One that is accepted has a type and a size within the limits, and so has what is left without
/// metadata: that is no longer, is a picture by itself, loses nothing when it is stripped again, and
/// decodes to the same pixels.
pub fn pictures(bytes: &[u8]) {
    let Ok(picture) = Image::from_bytes(Bytes::copy_from_slice(bytes), LIMITS) else {
        return;
    };
    check_limits(&picture);
    let pixels = decoded(&picture);
    for metadata in [Metadata::Keep, Metadata::Essential, Metadata::Strip] {
        let strip = |picture: &Image| picture.with_metadata(metadata, holds_secret);
        let stripped = strip(&picture);
        assert_eq!(
            (stripped.size(), stripped.media_type()),
            (picture.size(), picture.media_type())
        );
        assert!(
            stripped.bytes().len() <= picture.bytes().len(),
            "{metadata:?} made it longer"
        );
        assert_eq!(
            strip(&stripped).bytes(),
            stripped.bytes(),
            "{metadata:?} twice"
        );
        let read = Image::from_bytes(stripped.bytes().clone(), LIMITS);
        let read = read.unwrap_or_else(|why| panic!("{metadata:?} broke it: {why}"));
        assert_eq!(
            strip(&read).bytes(),
            stripped.bytes(),
            "{metadata:?} and read again"
        );
        if pixels.is_some() && scans(&stripped) == scans(&picture) {
            assert!(decoded(&stripped) == pixels, "{metadata:?} changed pixels");
        }
    }
    let _ = picture.has_alpha();
    for made in [picture.upright(LIMITS), picture.white_mask(LIMITS)]
        .into_iter()
        .flatten()
    {
        check_limits(&made);
    }
}

fn check_limits(picture: &Image) {
    let (width, height) = picture.size();
    let pixels = u64::from(width) * u64::from(height);
    assert!(
        (1..=LIMITS.max_pixels).contains(&pixels),
        "{width} x {height}"
    );
    assert!(picture.bytes().len() <= LIMITS.max_bytes);
    let known = [
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/gif",
        "image/avif",
    ];
    assert!(
        known.contains(&picture.media_type()),
        "{}",
        picture.media_type()
    );
}

/// What follows where the first scan of a JPEG begins. A decoder that mends damaged scans looks for
/// their ends in whatever stands between them, so then pixels may differ.
fn scans(picture: &Image) -> Option<&[u8]> {
    const START: &[u8] = b"\xff\xda";
    let mut places = picture.bytes().windows(START.len());
    let start = places.position(|place| place == START);
    start
        .filter(|_| picture.media_type() == "image/jpeg")
        .and_then(|start| picture.bytes().get(start..))
}

/// Its pixels, where it can be decoded at all, by another way than the host's own.
fn decoded(picture: &Image) -> Option<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(picture.bytes()));
    let mut reader = reader.with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODING_BYTES);
    reader.limits(limits);
    reader.decode().ok()
}

fn holds_secret(held: &[u8]) -> bool {
    held.windows(SECRET.len()).any(|place| place == SECRET)
}
