//! An image file in memory: identified, scanned to its end and within limits.

use std::sync::Arc;

use bytes::Bytes;
use image::ImageFormat;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::memory::MemoryLease;

use crate::metadata_part::MetadataPart;
use crate::structure::Structure;

/// The media types of an [`Image`]. A browser renders none of them as a document.
pub const MEDIA_TYPES: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/avif",
];

/// The limits of an image.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Length of the encoded image.
    pub max_bytes: usize,
    /// Width times height of the image, and of each frame.
    pub max_pixels: u64,
}

/// An encoded image. Type and size are those of the bytes themselves.
///
/// Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// In the order of the file.
    pub(crate) parts: Arc<[MetadataPart]>,
    pub(crate) file_id: Option<Arc<str>>,
}

impl Image {
    /// Accepts bytes that are one PNG, JPEG, WebP, GIF or AVIF image within the limits.
    ///
    /// Scans the file to its end, without decoding pixels. Zeros after the end are cut off.
    pub fn from_bytes(bytes: Bytes, limits: ImageLimits) -> Result<Self, Refusal> {
        let image = Self::from_upload(bytes.clone(), limits)?;
        let rest = bytes.get(image.bytes.len()..).unwrap_or_default();
        let has_rest = rest.iter().any(|byte| *byte != 0);
        Guard::PictureEnd.refuse_if(has_rest, || {
            format!(
                "the {} image has {} bytes after its end",
                image.media_type,
                rest.len()
            )
        })?;
        Ok(image)
    }

    /// Like [`Self::from_bytes`], for an image that a user uploads: cuts off everything after its end,
    /// such as the video or second image that a camera appends.
    pub fn from_upload(bytes: Bytes, limits: ImageLimits) -> Result<Self, Refusal> {
        let length = bytes.len();
        Guard::PictureLength.refuse_if(length > limits.max_bytes, || {
            format!(
                "the image has {length} bytes, more than the {} allowed",
                limits.max_bytes
            )
        })?;
        let media_type = identify(&bytes).ok_or(if bytes.is_empty() {
            "the image is empty"
        } else {
            "the bytes are not a PNG, JPEG, WebP, GIF or AVIF image"
        })?;
        let structure = Structure::scan(media_type, &bytes, limits.max_pixels)?;
        let end = if Guard::PictureEnd.applies(structure.end < length) {
            structure.end
        } else {
            length
        };
        let (width, height) = structure.size;
        Ok(Self {
            bytes: bytes.slice(..end),
            media_type,
            width,
            height,
            parts: structure.parts.into(),
            file_id: None,
        })
    }

    /// The encoded image.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same image, whose bytes hold this lease.
    #[must_use]
    pub fn with_lease(self, lease: MemoryLease) -> Self {
        let bytes = lease.attach(self.bytes);
        Self { bytes, ..self }
    }

    /// The same image, which was read from the stored file with this id.
    #[must_use]
    pub fn with_file_id(self, id: &str) -> Self {
        Self {
            file_id: Some(id.into()),
            ..self
        }
    }

    /// The id of the stored file that the image was read from.
    #[must_use]
    pub fn file_id(&self) -> Option<&str> {
        self.file_id.as_deref()
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
}

/// The media type by the first bytes.
fn identify(bytes: &[u8]) -> Option<&'static str> {
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
    use std::io::Cursor;

    use image::DynamicImage;

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

    #[test]
    fn image_identifies_format_and_size_by_the_bytes() {
        for (format, media_type) in [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::WebP, "image/webp"),
            (ImageFormat::Gif, "image/gif"),
        ] {
            let image = Image::from_bytes(encode(format, 7, 5), LIMITS).unwrap();
            assert_eq!((image.media_type(), image.size()), (media_type, (7, 5)));
        }
    }

    #[test]
    fn image_refuses_bytes_that_are_no_image_within_the_limits() {
        let png = encode(ImageFormat::Png, 7, 5);
        let followed = Bytes::from([&png[..], b"more"].concat());
        for (bytes, reason, guard) in [
            (Bytes::new(), "the image is empty", None),
            (Bytes::from_static(b"<svg xmlns='x'/>"), "not a PNG", None),
            (
                encode(ImageFormat::Png, 101, 100),
                "101 x 100",
                Some(Guard::PictureSize),
            ),
            (
                Bytes::from(vec![0; 100_001]),
                "100001 bytes",
                Some(Guard::PictureLength),
            ),
            (png.slice(..12), "truncated", Some(Guard::PictureWhole)),
            (followed, "after its end", Some(Guard::PictureEnd)),
        ] {
            let refusal = Image::from_bytes(bytes, LIMITS).unwrap_err();
            assert!(refusal.reason.contains(reason), "{refusal}");
            assert_eq!(refusal.guard, guard, "{refusal}");
        }
    }
}
