//! What stays of a picture's metadata. The pixels are never encoded again.

use std::cell::Cell;
use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::structure::{Kind, Part};
use super::{Image, webp};
use pinhole_ground::guard::Guard;

/// A colour profile, as it is and unpacked, in bytes. A longer one is left out.
const MAX_PROFILE_BYTES: usize = 4 << 20;
/// What the compressed metadata of one picture may unpack to, in bytes. What is longer is left out.
const MAX_UNPACKED_BYTES: usize = 16 << 20;
/// What zlib can make of one byte at most, in bytes.
const MAX_RATIO: usize = 1032;

/// EXIF that says how a picture is turned, and nothing else.
const NOTE_BYTES: usize = 26;

/// What stays of a picture's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// All of it, unless a secret is found in it.
    Keep,
    /// Colour profile and orientation.
    #[default]
    Essential,
    /// Nothing.
    Strip,
}

impl Metadata {
    /// By the word that a setting has for it.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "keep" => Some(Self::Keep),
            "essential" => Some(Self::Essential),
            "strip" => Some(Self::Strip),
            _ => None,
        }
    }
}

impl Image {
    /// The same picture with no more metadata than this; where it has none, the very same bytes.
    ///
    /// Whatever `is_secret` finds something in is left out too, unpacked where it is compressed.
    #[must_use]
    pub fn with_metadata(&self, metadata: Metadata, is_secret: impl Fn(&[u8]) -> bool) -> Self {
        if self.parts.is_empty() || !Guard::Metadata.holds() {
            return self.clone();
        }
        let packed = Packed::default();
        let suspect = |part: &Part| {
            let held = self.bytes.get(part.held.clone()).unwrap_or_default();
            let is_secret = |held: &[u8]| Guard::MetadataSecret.holds() && is_secret(held);
            match part.packed {
                // What cannot be looked at is as bad.
                true => packed.open(held).is_none_or(|held| is_secret(&held)),
                false => is_secret(held),
            }
        };
        // What belongs together may lie in several parts.
        let metadata = match metadata {
            Metadata::Keep if self.parts.iter().any(suspect) => Metadata::Essential,
            other => other,
        };
        let keeps_profile = metadata != Metadata::Strip && !self.has_long_profile(&packed);
        let keeps_turn = metadata != Metadata::Strip;
        let mut turned = false;
        let mut fate = |part: &Part| match part.kind {
            _ if metadata == Metadata::Keep => Fate::Stays,
            _ if part.fixed && self.is_empty(part) => Fate::Stays,
            Kind::Profile if keeps_profile && !suspect(part) => Fate::Stays,
            Kind::Exif if keeps_turn && !turned => match self.note(part) {
                None => Fate::Goes,
                Some(note) => {
                    turned = true;
                    match self.bytes.get(part.range.clone()) == Some(&note) {
                        true => Fate::Stays,
                        false => Fate::Becomes(note),
                    }
                }
            },
            _ => Fate::Goes,
        };
        let fates: Vec<Fate> = self.parts.iter().map(&mut fate).collect();
        match fates.iter().all(|fate| matches!(fate, Fate::Stays)) {
            true => self.clone(),
            false => self.rebuilt(&fates),
        }
    }

    /// Was it overwritten before?
    fn is_empty(&self, part: &Part) -> bool {
        let bytes = self.bytes.get(part.range.clone()).unwrap_or_default();
        bytes.iter().all(|byte| *byte == 0)
    }

    /// Are its profiles, unpacked, longer than any is?
    fn has_long_profile(&self, packed: &Packed) -> bool {
        let profiles = self.parts.iter().filter(|part| part.kind == Kind::Profile);
        let lengths = profiles.map(|part| match part.packed {
            // Most are too short to be worth a look.
            true if part.held.len() * MAX_RATIO > MAX_PROFILE_BYTES => {
                let held = self.bytes.get(part.held.clone()).unwrap_or_default();
                packed.open(held).map_or(usize::MAX, |held| held.len())
            }
            _ => part.held.len(),
        });
        let length = lengths.fold(0, usize::saturating_add);
        length > Guard::UnpackedLength.limit(MAX_PROFILE_BYTES)
    }

    /// A part that says how the picture is turned as this EXIF does, and nothing else. `None` where it
    /// is not turned.
    fn note(&self, part: &Part) -> Option<Vec<u8>> {
        let turned = Orientation::from_exif_chunk(self.bytes.get(part.held.clone())?)?;
        if turned == Orientation::NoTransforms {
            return None;
        }
        // A TIFF header and one entry: tag 0x0112, one short.
        let mut note: [u8; NOTE_BYTES] =
            *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
        note[18] = turned.to_exif();
        let length = NOTE_BYTES as u8;
        let note = match self.media_type {
            "image/png" => {
                let named = [b"eXIf".as_slice(), &note].concat();
                let mut crc = Crc::new();
                crc.update(&named);
                [
                    &[0, 0, 0, length],
                    named.as_slice(),
                    &crc.sum().to_be_bytes(),
                ]
                .concat()
            }
            "image/jpeg" => [&[0xff, 0xe1, 0, length + 8], b"Exif\0\0".as_slice(), &note].concat(),
            "image/webp" => [b"EXIF".as_slice(), &[length, 0, 0, 0], &note].concat(),
            _ => return None,
        };
        // Nothing becomes longer: whoever counted the bytes counted enough.
        Some(note).filter(|note| note.len() <= part.range.len())
    }

    /// The same picture with its parts as they are to be.
    fn rebuilt(&self, fates: &[Fate]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let (mut parts, mut at) = (Vec::new(), 0);
        let copy = |bytes: &mut Vec<u8>, range: Range<usize>| {
            bytes.extend_from_slice(self.bytes.get(range).unwrap_or_default());
        };
        for (part, fate) in self.parts.iter().zip(fates) {
            copy(&mut bytes, at..part.range.start);
            at = part.range.end;
            let start = bytes.len();
            match fate {
                Fate::Stays => copy(&mut bytes, part.range.clone()),
                Fate::Becomes(note) => bytes.extend_from_slice(note),
                Fate::Goes if part.fixed => bytes.resize(start + part.range.len(), 0),
                Fate::Goes => continue,
            }
            if !matches!(fate, Fate::Goes) {
                let (head, length) = match (fate, self.media_type) {
                    (Fate::Becomes(_), "image/jpeg") => (10, NOTE_BYTES),
                    (Fate::Becomes(_), _) => (8, NOTE_BYTES),
                    _ => (part.held.start - part.range.start, part.held.len()),
                };
                let held = start + head..start + head + length;
                parts.push(Part {
                    range: start..bytes.len(),
                    held,
                    ..part.clone()
                });
            }
        }
        copy(&mut bytes, at..self.bytes.len());
        if self.media_type == "image/webp" {
            webp::mend(&mut bytes, &parts);
        }
        Self {
            bytes: Bytes::from(bytes),
            parts: parts.into(),
            ..self.clone()
        }
    }
}

/// What becomes of a part.
enum Fate {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

/// Unpacks what is compressed in one picture.
struct Packed {
    /// Bytes that may still come of it.
    left: Cell<usize>,
}

impl Default for Packed {
    fn default() -> Self {
        let max = Guard::UnpackedLength.limit(MAX_UNPACKED_BYTES);
        Self {
            left: Cell::new(max),
        }
    }
}

impl Packed {
    /// A zlib stream's content. `None` where it is no stream, or too long after those before it.
    fn open(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let left = self.left.get();
        let mut reader = ZlibDecoder::new(stream).take((left as u64).saturating_add(1));
        let read = reader.read_to_end(&mut content);
        let less = left.checked_sub(content.len());
        self.left.set(less.unwrap_or_default());
        read.ok().and(less).map(|_| content)
    }
}
