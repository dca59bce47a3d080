//! The chunks of a WebP.
//!
//! Source: RFC 9649.

use std::ops::Range;

use super::structure::{Flaw, Kind, Part, Walk};

/// Where the length of all chunks stands.
const LENGTH: Range<usize> = 4..8;
/// Where an extended file says what it holds.
const FLAGS: usize = 20;

/// One chunk, with its padding.
struct Chunk<'a> {
    name: [u8; 4],
    range: Range<usize>,
    payload: &'a [u8],
}

pub(super) fn walk(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    walk.take(4)?;
    let length = u32::from_le_bytes(walk.array()?) as usize;
    walk.end_at(length.saturating_add(8))?;
    walk.take(4)?;
    let first = chunk(walk)?;
    match &first.name {
        b"VP8X" => {
            let Some([_, _, _, _, size @ ..]) = first.payload.first_chunk::<10>() else {
                return Flaw::wrong("has a header that is too short");
            };
            let (width, height) = sides(*size);
            walk.sized(width, height)?;
        }
        b"VP8 " | b"VP8L" => {
            let (width, height) = frame_size(&first)?;
            walk.sized(width, height)?;
            walk.frame(width, height)?;
        }
        _ => return Flaw::wrong("does not begin with its header"),
    }
    while walk.left() > 0 {
        let chunk = chunk(walk)?;
        let held = chunk.range.start + 8..chunk.range.start + 8 + chunk.payload.len();
        let part = |kind, skip| Part::new(kind, chunk.range.clone(), held.start + skip..held.end);
        match &chunk.name {
            b"VP8 " | b"VP8L" => {
                let size = frame_size(&chunk)?;
                if walk.size() != Some(size) || walk.frames() > 0 {
                    return Flaw::wrong("has a frame of another size than its header says");
                }
                walk.frame(size.0, size.1)?;
            }
            b"ANMF" => frame(walk, &chunk)?,
            b"ALPH" => {}
            b"ANIM" if chunk.payload.len() == 6 => {}
            b"VP8X" => return Flaw::wrong("has two headers"),
            b"ICCP" => walk.part(part(Kind::Profile, 0))?,
            b"EXIF" if chunk.payload.starts_with(b"Exif\0\0") => walk.part(part(Kind::Exif, 6))?,
            b"EXIF" => walk.part(part(Kind::Exif, 0))?,
            _ => walk.part(part(Kind::Other, 0))?,
        }
    }
    match walk.frames() {
        0 => Flaw::wrong("has no frame"),
        _ => Ok(()),
    }
}

fn chunk<'a>(walk: &mut Walk<'a>) -> Result<Chunk<'a>, Flaw> {
    let start = walk.at;
    let name = walk.array()?;
    let length = u32::from_le_bytes(walk.array()?) as usize;
    let payload = walk.take(length)?;
    // Some writers leave the padding of the last one out.
    walk.take((length % 2).min(walk.left()))?;
    Ok(Chunk {
        name,
        range: start..walk.at,
        payload,
    })
}

/// A frame of an animation, which has chunks of its own.
fn frame(walk: &mut Walk<'_>, outer: &Chunk<'_>) -> Result<(), Flaw> {
    const HEADER: usize = 16;
    let Some([_, _, _, _, _, _, size @ ..]) = outer.payload.first_chunk::<12>() else {
        return Flaw::wrong("has a frame that is too short");
    };
    let said = sides(*size);
    walk.frame(said.0, said.1)?;
    let mut at = HEADER;
    let mut shown = false;
    while at < outer.payload.len() {
        let rest = outer.payload.get(at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<8>() else {
            return Flaw::wrong("has a frame that breaks off");
        };
        let [a, b, c, d, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        let Some(payload) = rest.get(..length) else {
            return Flaw::wrong("has a frame that breaks off");
        };
        let start = outer.range.start + 8 + at + 8;
        let inner = Chunk {
            name: [a, b, c, d],
            range: start..start + length,
            payload,
        };
        match &inner.name {
            b"ALPH" => {}
            b"VP8 " | b"VP8L" if frame_size(&inner)? == said => shown = true,
            b"VP8 " | b"VP8L" => return Flaw::wrong("has a frame of another size than it says"),
            _ => walk.part(Part::fixed(Kind::Other, inner.range))?,
        }
        at += 8 + length + length % 2;
    }
    match shown {
        true => Ok(()),
        false => Flaw::wrong("has a frame without pixels"),
    }
}

/// The size that a frame's own bytes say.
fn frame_size(chunk: &Chunk<'_>) -> Result<(u32, u32), Flaw> {
    let size = match (&chunk.name, chunk.payload) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) => {
            let side = |side| u32::from(u16::from_le_bytes(side) & 0x3fff);
            Some((side([*a, *b]), side([*c, *d])))
        }
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        _ => None,
    };
    size.ok_or_else(|| Flaw::Wrong("has a frame whose header cannot be read".to_owned()))
}

/// Width and height as three bytes each, one less than they are.
fn sides([a, b, c, d, e, f]: [u8; 6]) -> (u32, u32) {
    let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
    (side(a, b, c), side(d, e, f))
}

/// Says in the header what is there after metadata was cut out.
pub(super) fn mend(bytes: &mut [u8], left: &[Part]) {
    let length = u32::try_from(bytes.len().saturating_sub(8)).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    if bytes.get(12..16) != Some(b"VP8X") {
        return;
    }
    let there = |name: &[u8; 4]| {
        let mut names = left.iter().filter_map(|part| bytes.get(part.range.clone()));
        names.any(|part| part.starts_with(name))
    };
    let flag = |name: &[u8; 4], flag: u8| if there(name) { 0 } else { flag };
    let gone = flag(b"ICCP", 0x20) | flag(b"EXIF", 0x08) | flag(b"XMP ", 0x04);
    if let Some(flags) = bytes.get_mut(FLAGS) {
        *flags &= !gone;
    }
}
