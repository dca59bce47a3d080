//! The chunks of a PNG.
//!
//! Source: the PNG specification, third edition, which includes animations.

use std::ops::Range;

use pinhole_ground::guard::Guard;

use crate::metadata_part::{MetadataPart, PartKind};
use crate::scanner::{ScanError, Scanner, invalid};

/// Bytes that deflate can produce from one byte.
const MAX_DEFLATE_RATIO: u64 = 1032;
/// Ancillary chunks that change how an image looks, and the maximum length of each in bytes. A longer one
/// is metadata.
const RENDERING_CHUNKS: [(&[u8; 4], usize); 11] = [
    (b"tRNS", 256),
    (b"gAMA", 4),
    (b"cHRM", 32),
    (b"sRGB", 1),
    (b"cICP", 4),
    (b"mDCV", 24),
    (b"cLLI", 8),
    (b"sBIT", 4),
    (b"bKGD", 6),
    (b"pHYs", 9),
    (b"acTL", 8),
];

struct Chunk<'a> {
    name: [u8; 4],
    /// From the length to the checksum.
    range: Range<usize>,
    payload: &'a [u8],
}

pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    // Signature.
    scanner.take_bytes(8)?;
    let header = Header::take(scanner)?;
    let mut encoded_bytes: u64 = 0;
    loop {
        let chunk = take_chunk(scanner)?;
        match (&chunk.name, chunk.payload.len()) {
            (b"IEND", 0) => break,
            (b"IDAT", length) => encoded_bytes = encoded_bytes.saturating_add(length as u64),
            _ => scan_chunk(scanner, &chunk)?,
        }
    }
    let max_pixel_bytes = encoded_bytes.saturating_mul(MAX_DEFLATE_RATIO);
    Guard::PictureRatio.refuse_if(max_pixel_bytes < header.min_pixel_bytes, || {
        format!(
            "has {encoded_bytes} bytes of pixels, which can never be as many as its header declares"
        )
    })?;
    if scanner.frame_count() == 0 {
        scanner.add_frame(header.width, header.height)?;
    }
    Ok(())
}

fn take_chunk<'a>(scanner: &mut Scanner<'a>) -> Result<Chunk<'a>, ScanError> {
    let start = scanner.position;
    let length = u32::from_be_bytes(scanner.take_array()?) as usize;
    let name = scanner.take_array()?;
    let payload = scanner.take_bytes(length)?;
    // Checksum.
    scanner.take_bytes(4)?;
    Ok(Chunk {
        name,
        range: start..scanner.position,
        payload,
    })
}

fn scan_chunk(scanner: &mut Scanner<'_>, chunk: &Chunk<'_>) -> Result<(), ScanError> {
    let payload = chunk.payload;
    let part = match &chunk.name {
        b"fdAT" => return Ok(()),
        b"PLTE" if payload.len() <= 768 => return Ok(()),
        b"fcTL" if payload.len() == 26 => return scan_frame_control(scanner, payload),
        name if is_rendering_chunk(name, payload.len()) => return Ok(()),
        b"iCCP" => chunk.to_part(PartKind::ColorProfile, text_end(payload, 1, 1)),
        b"eXIf" => chunk.to_part(PartKind::Exif, None),
        b"zTXt" => chunk.to_part(PartKind::Other, text_end(payload, 1, 1)),
        b"iTXt" => chunk.to_part(PartKind::Other, compressed_itxt_start(payload)),
        // Lower case: not critical for rendering.
        [b'a'..=b'z', ..] => chunk.to_part(PartKind::Other, None),
        _ => return Err(invalid("has an unknown critical chunk")),
    };
    scanner.add_part(part)
}

fn scan_frame_control(scanner: &mut Scanner<'_>, payload: &[u8]) -> Result<(), ScanError> {
    let mut sides = payload.get(4..12).unwrap_or_default().chunks_exact(4);
    let mut next_side = || sides.next().and_then(|side| side.try_into().ok());
    let [width, height] = [next_side(), next_side()].map(Option::unwrap_or_default);
    scanner.add_frame(u32::from_be_bytes(width), u32::from_be_bytes(height))
}

impl Chunk<'_> {
    /// The chunk as a part. Compressed content starts at `stream_start` in the payload.
    fn to_part(&self, kind: PartKind, stream_start: Option<usize>) -> MetadataPart {
        let payload_start = self.range.start + 8;
        let payload_end = payload_start + self.payload.len();
        match stream_start {
            Some(start) => MetadataPart::compressed(
                kind,
                self.range.clone(),
                payload_start + start..payload_end,
            ),
            None => MetadataPart::new(kind, self.range.clone(), payload_start..payload_end),
        }
    }
}

struct Header {
    width: u32,
    height: u32,
    /// Lower bound for the length of the decoded pixels in bytes.
    min_pixel_bytes: u64,
}

impl Header {
    fn take(scanner: &mut Scanner<'_>) -> Result<Self, ScanError> {
        if scanner.take_array()? != *b"\0\0\0\x0dIHDR" {
            return Err(invalid("does not begin with its header"));
        }
        let width = u32::from_be_bytes(scanner.take_array()?);
        let height = u32::from_be_bytes(scanner.take_array()?);
        scanner.set_size(width, height)?;
        let [depth, color_type, ..]: [u8; 5] = scanner.take_array()?;
        // Checksum.
        scanner.take_bytes(4)?;
        let channels: u64 = match color_type {
            0 | 3 => 1,
            2 => 3,
            4 => 2,
            6 => 4,
            _ => return Err(invalid("has an unknown color type")),
        };
        let bits = u64::from(width) * u64::from(height) * channels * u64::from(depth.min(16));
        Ok(Self {
            width,
            height,
            min_pixel_bytes: bits / 8,
        })
    }
}

fn is_rendering_chunk(name: &[u8; 4], length: usize) -> bool {
    RENDERING_CHUNKS
        .iter()
        .any(|(known, max_length)| *known == name && length <= *max_length)
}

/// The index after the first `count` zero-terminated texts of a payload and `extra` bytes.
fn text_end(payload: &[u8], count: usize, extra: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    let terminator = memchr::memchr_iter(0, payload).nth(last)?;
    let end = terminator + 1 + extra;
    (end <= payload.len()).then_some(end)
}

/// The index of the zlib stream in an `iTXt` chunk, after keyword, flag, method, language and translated
/// keyword; `None` if it is not compressed.
fn compressed_itxt_start(payload: &[u8]) -> Option<usize> {
    let flag = text_end(payload, 1, 0)?;
    if payload.get(flag) != Some(&1) {
        return None;
    }
    let language = flag + 2;
    let length = text_end(payload.get(language..)?, 2, 0)?;
    Some(language + length)
}
