//! Specifications of test images in place of real ones.

use std::collections::BTreeMap;
use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, ImageReader};

/// Maximum width and height of a test image.
const MAX_SIDE: u32 = 4096;

/// The images of a recording, and the specification of each.
#[derive(Default)]
pub(super) struct ImageSpecs {
    known: Vec<(Bytes, String)>,
    /// How many have this format and size.
    counts: BTreeMap<String, u32>,
}

impl ImageSpecs {
    /// The specification of an image, such as `png 64x48 2` for the second of this size. `None` if there is no test
    /// image like it.
    pub(super) fn add(&mut self, bytes: &Bytes) -> Option<String> {
        if let Some(spec) = self.known(bytes) {
            return Some(spec.to_owned());
        }
        let base = describe(bytes)?;
        let count = self.counts.entry(base.clone()).or_default();
        *count += 1;
        let spec = match *count {
            1 => base,
            number => format!("{base} {number}"),
        };
        self.known.push((bytes.clone(), spec.clone()));
        Some(spec)
    }

    /// The specification of an image that was added.
    pub(super) fn known(&self, bytes: &Bytes) -> Option<&str> {
        let known = self.known.iter().find(|(image, _)| image == bytes);
        known.map(|(_, spec)| spec.as_str())
    }
}

/// Format and size.
fn describe(bytes: &Bytes) -> Option<String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.ok()?;
    let format = match reader.format()? {
        ImageFormat::Png => "png",
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::WebP => "webp",
        ImageFormat::Gif => "gif",
        _ => return None,
    };
    let (width, height) = reader.into_dimensions().ok()?;
    let is_small = width.max(height) <= MAX_SIDE;
    is_small.then(|| format!("{format} {width}x{height}"))
}
