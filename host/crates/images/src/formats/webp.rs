//! The chunks of a WebP.
//!
//! Source: RFC 9649.

use std::ops::Range;

use crate::metadata_part::{MetadataPart, PartKind};
use crate::scanner::{ScanError, Scanner, invalid};

/// The file's length in its header.
const LENGTH: Range<usize> = 4..8;
/// Index of the flags in an extended file.
const FLAGS: usize = 20;
/// Length of a chunk's name and length in bytes.
const CHUNK_HEADER_BYTES: usize = 8;

struct Chunk<'a> {
    name: [u8; 4],
    /// From the name to the padding.
    range: Range<usize>,
    payload: &'a [u8],
}

pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    scanner.take_bytes(4)?;
    let length = u32::from_le_bytes(scanner.take_array()?) as usize;
    scanner.set_end(length.saturating_add(8))?;
    scanner.take_bytes(4)?;
    let first = take_chunk(scanner)?;
    match &first.name {
        b"VP8X" => {
            let Some([_, _, _, _, size @ ..]) = first.payload.first_chunk::<10>() else {
                return Err(invalid("has a header that is too short"));
            };
            let (width, height) = decode_size(*size);
            scanner.set_size(width, height)?;
        }
        b"VP8 " | b"VP8L" => {
            let (width, height) = bitstream_size(&first)?;
            scanner.set_size(width, height)?;
            scanner.add_frame(width, height)?;
        }
        _ => return Err(invalid("does not begin with its header")),
    }
    while scanner.remaining() > 0 {
        let chunk = take_chunk(scanner)?;
        scan_chunk(scanner, &chunk)?;
    }
    if scanner.frame_count() == 0 {
        return Err(invalid("has no frame"));
    }
    Ok(())
}

fn take_chunk<'a>(scanner: &mut Scanner<'a>) -> Result<Chunk<'a>, ScanError> {
    let start = scanner.position;
    let name = scanner.take_array()?;
    let length = u32::from_le_bytes(scanner.take_array()?) as usize;
    let payload = scanner.take_bytes(length)?;
    // Some encoders omit the padding of the last chunk.
    scanner.take_bytes((length % 2).min(scanner.remaining()))?;
    Ok(Chunk {
        name,
        range: start..scanner.position,
        payload,
    })
}

fn scan_chunk(scanner: &mut Scanner<'_>, chunk: &Chunk<'_>) -> Result<(), ScanError> {
    let to_part = |kind, header_length: usize| {
        let payload_start = chunk.range.start + CHUNK_HEADER_BYTES;
        let content = payload_start + header_length..payload_start + chunk.payload.len();
        MetadataPart::new(kind, chunk.range.clone(), content)
    };
    match &chunk.name {
        b"VP8 " | b"VP8L" => {
            let (width, height) = bitstream_size(chunk)?;
            if scanner.size() != Some((width, height)) || scanner.frame_count() > 0 {
                return Err(invalid(
                    "has a frame of another size than its header declares",
                ));
            }
            scanner.add_frame(width, height)
        }
        b"ANMF" => scan_animation_frame(scanner, chunk),
        b"ALPH" => Ok(()),
        b"ANIM" if chunk.payload.len() == 6 => Ok(()),
        b"VP8X" => Err(invalid("has two headers")),
        b"ICCP" => scanner.add_part(to_part(PartKind::ColorProfile, 0)),
        b"EXIF" if chunk.payload.starts_with(b"Exif\0\0") => {
            scanner.add_part(to_part(PartKind::Exif, 6))
        }
        b"EXIF" => scanner.add_part(to_part(PartKind::Exif, 0)),
        _ => scanner.add_part(to_part(PartKind::Other, 0)),
    }
}

/// Scans a frame of an animation, which contains chunks.
fn scan_animation_frame(scanner: &mut Scanner<'_>, frame: &Chunk<'_>) -> Result<(), ScanError> {
    const HEADER_BYTES: usize = 16;
    let Some([_, _, _, _, _, _, size @ ..]) = frame.payload.first_chunk::<12>() else {
        return Err(invalid("has a frame that is too short"));
    };
    let declared = decode_size(*size);
    scanner.add_frame(declared.0, declared.1)?;
    let mut at = HEADER_BYTES;
    let mut has_pixels = false;
    while at < frame.payload.len() {
        let inner = read_inner_chunk(frame, at)?;
        let length = inner.payload.len();
        match &inner.name {
            b"ALPH" => {}
            b"VP8 " | b"VP8L" if bitstream_size(&inner)? == declared => has_pixels = true,
            b"VP8 " | b"VP8L" => {
                return Err(invalid("has a frame of another size than it declares"));
            }
            _ => scanner.add_part(MetadataPart::fixed(PartKind::Other, inner.range))?,
        }
        at += CHUNK_HEADER_BYTES + length + length % 2;
    }
    if !has_pixels {
        return Err(invalid("has a frame without pixels"));
    }
    Ok(())
}

/// The chunk at this index of an animation frame's payload. Its range is that of its payload.
fn read_inner_chunk<'a>(frame: &Chunk<'a>, at: usize) -> Result<Chunk<'a>, ScanError> {
    let truncated = || invalid("has a truncated frame");
    let rest = frame.payload.get(at..).unwrap_or_default();
    let (header, rest) = rest
        .split_first_chunk::<CHUNK_HEADER_BYTES>()
        .ok_or_else(truncated)?;
    let [a, b, c, d, length @ ..] = *header;
    let length = u32::from_le_bytes(length) as usize;
    let payload = rest.get(..length).ok_or_else(truncated)?;
    let start = frame.range.start + CHUNK_HEADER_BYTES + at + CHUNK_HEADER_BYTES;
    Ok(Chunk {
        name: [a, b, c, d],
        range: start..start + length,
        payload,
    })
}

/// The size in the header of a frame's bitstream.
fn bitstream_size(chunk: &Chunk<'_>) -> Result<(u32, u32), ScanError> {
    match (&chunk.name, chunk.payload) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) => {
            let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
            Ok((side([*a, *b]), side([*c, *d])))
        }
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]);
            Ok(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        _ => Err(invalid("has a frame with an unreadable header")),
    }
}

/// Width and height, each stored as three bytes and reduced by one.
fn decode_size([a, b, c, d, e, f]: [u8; 6]) -> (u32, u32) {
    let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
    (side(a, b, c), side(d, e, f))
}

/// Updates length and flags in the header after metadata was cut out.
pub(crate) fn update_header(bytes: &mut [u8], remaining_parts: &[MetadataPart]) {
    let length = u32::try_from(bytes.len().saturating_sub(8)).unwrap_or(u32::MAX);
    if let Some(field) = bytes.get_mut(LENGTH) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    if bytes.get(12..16) != Some(b"VP8X") {
        return;
    }
    let mut removed_flags = 0;
    for (name, flag) in [(b"ICCP", 0x20), (b"EXIF", 0x08), (b"XMP ", 0x04)] {
        let remains = remaining_parts
            .iter()
            .filter_map(|part| bytes.get(part.range.clone()))
            .any(|part| part.starts_with(name));
        if !remains {
            removed_flags |= flag;
        }
    }
    if let Some(flags) = bytes.get_mut(FLAGS) {
        *flags &= !removed_flags;
    }
}
