//! Removal of metadata. Pixels are never encoded again.

use std::cell::Cell;
use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;
use pinhole_ground::guard::Guard;

use crate::formats::webp;
use crate::image_file::Image;
use crate::metadata_part::{MetadataPart, PartKind};

/// Length of a color profile in bytes, compressed and decompressed. A longer one is removed.
const MAX_PROFILE_BYTES: usize = 4 << 20;
/// Length of all compressed metadata of an image in bytes, decompressed. Metadata beyond it is removed.
const MAX_UNPACKED_BYTES: usize = 16 << 20;
/// Bytes that zlib can produce from one byte.
const MAX_ZLIB_RATIO: usize = 1032;
/// Length of an EXIF structure that contains the orientation and nothing else.
const ORIENTATION_BYTES: u8 = 26;

/// Which metadata of an image is retained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataPolicy {
    /// Retains all metadata, unless it contains a secret.
    Keep,
    /// Retains color profile and orientation.
    #[default]
    Essential,
    /// Removes all metadata.
    Strip,
}

impl MetadataPolicy {
    /// The policy with this name in a setting.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "keep" => Some(Self::Keep),
            "essential" => Some(Self::Essential),
            "strip" => Some(Self::Strip),
            _ => None,
        }
    }
}

/// What happens to a metadata part.
enum PartChange {
    Retain,
    Remove,
    /// With a part that contains the orientation and nothing else.
    Replace(Vec<u8>),
}

impl Image {
    /// The image with the metadata that the policy retains. If nothing changes, it shares the bytes.
    ///
    /// Also removes parts in which `is_secret` finds a secret. Compressed parts are decompressed for it.
    #[must_use]
    pub fn with_metadata(&self, policy: MetadataPolicy, is_secret: impl Fn(&[u8]) -> bool) -> Self {
        if !Guard::Metadata.applies(!self.parts.is_empty()) {
            return self.clone();
        }
        let inflater = Inflater::default();
        let is_suspect = |part: &MetadataPart| {
            let is_secret = |content: &[u8]| Guard::MetadataSecret.applies(is_secret(content));
            let content = self.get(&part.content);
            if part.is_compressed {
                // Content that cannot be decompressed cannot be checked.
                let inflated = inflater.inflate(content);
                return inflated.is_none_or(|inflated| is_secret(&inflated));
            }
            is_secret(content)
        };
        // A secret in one part can continue in another, so one suspect part is enough.
        let policy = match policy {
            MetadataPolicy::Keep if self.parts.iter().any(is_suspect) => MetadataPolicy::Essential,
            other => other,
        };
        if policy == MetadataPolicy::Keep {
            return self.clone();
        }
        let retains_essential = policy == MetadataPolicy::Essential;
        let retains_profile = retains_essential && !self.has_long_profile(&inflater);
        let mut has_orientation = false;
        let mut change_of = |part: &MetadataPart| match part.kind {
            _ if part.is_fixed && self.is_zeroed(part) => PartChange::Retain,
            PartKind::ColorProfile if retains_profile && !is_suspect(part) => PartChange::Retain,
            PartKind::Exif if retains_essential && !has_orientation => {
                let change = self.reduce_exif(part);
                has_orientation = !matches!(change, PartChange::Remove);
                change
            }
            _ => PartChange::Remove,
        };
        let changes: Vec<PartChange> = self.parts.iter().map(&mut change_of).collect();
        if changes
            .iter()
            .all(|change| matches!(change, PartChange::Retain))
        {
            return self.clone();
        }
        self.rebuild(&changes)
    }

    /// Is the part overwritten with zeros already?
    fn is_zeroed(&self, part: &MetadataPart) -> bool {
        self.get(&part.range).iter().all(|byte| *byte == 0)
    }

    /// Are the color profiles, decompressed, longer than the limit?
    fn has_long_profile(&self, inflater: &Inflater) -> bool {
        let length = self
            .parts
            .iter()
            .filter(|part| part.kind == PartKind::ColorProfile)
            .map(|part| {
                let length = part.content.len();
                // Most profiles are so short that they need not be decompressed.
                if !part.is_compressed || length * MAX_ZLIB_RATIO <= MAX_PROFILE_BYTES {
                    return length;
                }
                let inflated = inflater.inflate(self.get(&part.content));
                inflated.map_or(usize::MAX, |content| content.len())
            })
            .fold(0, usize::saturating_add);
        length > Guard::UnpackedLength.limit(MAX_PROFILE_BYTES)
    }

    /// Reduces EXIF to the orientation. Removes it if it has no orientation.
    fn reduce_exif(&self, part: &MetadataPart) -> PartChange {
        match self.orientation_part(part) {
            None => PartChange::Remove,
            Some(reduced) if self.get(&part.range) == reduced => PartChange::Retain,
            Some(reduced) => PartChange::Replace(reduced),
        }
    }

    /// A part with the orientation of this EXIF and nothing else; `None` if the image is not rotated.
    fn orientation_part(&self, part: &MetadataPart) -> Option<Vec<u8>> {
        let orientation = Orientation::from_exif_chunk(self.bytes.get(part.content.clone())?)?;
        if orientation == Orientation::NoTransforms {
            return None;
        }
        // A TIFF header and one entry: tag 0x0112, one short.
        let mut exif: [u8; ORIENTATION_BYTES as usize] =
            *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
        exif[18] = orientation.to_exif();
        let length = ORIENTATION_BYTES;
        let framed = match self.media_type {
            "image/png" => {
                let named = [b"eXIf".as_slice(), &exif].concat();
                let mut crc = Crc::new();
                crc.update(&named);
                let checksum = crc.sum().to_be_bytes();
                [&[0, 0, 0, length], named.as_slice(), &checksum].concat()
            }
            "image/jpeg" => [&[0xff, 0xe1, 0, length + 8], b"Exif\0\0".as_slice(), &exif].concat(),
            "image/webp" => [b"EXIF".as_slice(), &[length, 0, 0, 0], &exif].concat(),
            _ => return None,
        };
        // The image never becomes longer than it was when its length was checked.
        (framed.len() <= part.range.len()).then_some(framed)
    }

    /// The image with its parts changed, one change for each part.
    fn rebuild(&self, changes: &[PartChange]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let (mut parts, mut at) = (Vec::new(), 0);
        for (part, change) in self.parts.iter().zip(changes) {
            bytes.extend_from_slice(self.get(&(at..part.range.start)));
            at = part.range.end;
            let start = bytes.len();
            let content = match change {
                PartChange::Retain => {
                    bytes.extend_from_slice(self.get(&part.range));
                    let header_length = part.content.start - part.range.start;
                    start + header_length..start + header_length + part.content.len()
                }
                PartChange::Replace(replacement) => {
                    bytes.extend_from_slice(replacement);
                    let header_length = if self.media_type == "image/jpeg" {
                        10
                    } else {
                        8
                    };
                    let content_start = start + header_length;
                    content_start..content_start + usize::from(ORIENTATION_BYTES)
                }
                PartChange::Remove if part.is_fixed => {
                    bytes.resize(start + part.range.len(), 0);
                    continue;
                }
                PartChange::Remove => continue,
            };
            parts.push(MetadataPart {
                range: start..bytes.len(),
                content,
                ..part.clone()
            });
        }
        bytes.extend_from_slice(self.get(&(at..self.bytes.len())));
        if self.media_type == "image/webp" {
            webp::update_header(&mut bytes, &parts);
        }
        Self {
            bytes: Bytes::from(bytes),
            parts: parts.into(),
            ..self.clone()
        }
    }

    fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Decompresses the metadata of one image, up to a total length.
struct Inflater {
    bytes_left: Cell<usize>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            bytes_left: Cell::new(Guard::UnpackedLength.limit(MAX_UNPACKED_BYTES)),
        }
    }
}

impl Inflater {
    /// The content of a zlib stream; `None` if it is invalid or exceeds the total length.
    fn inflate(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let max = self.bytes_left.get();
        let mut reader = ZlibDecoder::new(stream).take((max as u64).saturating_add(1));
        let outcome = reader.read_to_end(&mut content);
        let left = max.checked_sub(content.len());
        self.bytes_left.set(left.unwrap_or_default());
        outcome.ok().and(left).map(|_| content)
    }
}
