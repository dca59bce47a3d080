//! The segments of a JPEG.
//!
//! Source: ITU T.81, and for what applications put in: JFIF 1.02, EXIF 2.32, ICC.1 annex B.4.

use super::structure::{Flaw, Kind, Part, Walk};

pub(super) fn walk(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    walk.take(2)?;
    loop {
        let start = walk.at;
        if walk.byte()? != 0xff {
            return Flaw::wrong("has bytes between its segments");
        }
        let code = loop {
            match walk.byte()? {
                0xff => {}
                code => break code,
            }
        };
        match code {
            // The end.
            0xd9 => break,
            // Markers without a segment: none of them says anything here.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(walk.array()?));
        let Some(length) = length.checked_sub(2) else {
            return Flaw::wrong("has a segment without a length");
        };
        let held = walk.at..walk.at + length;
        let payload = walk.take(length)?;
        let part =
            |kind, from: usize| Part::new(kind, start..held.end, held.start + from..held.end);
        match code {
            // Frame headers of all processes but the hierarchical ones.
            0xc0..=0xc3 | 0xc9..=0xcb => header(walk, payload)?,
            // Huffman and arithmetic tables, quantisation, restart interval, number of lines.
            0xc4 | 0xcc | 0xdb..=0xdd => {}
            0xda => {
                walk.scan()?;
                pass_scan(walk)?;
            }
            // JFIF without a small picture in it, and Adobe's word on the colours.
            0xe0 if payload.starts_with(b"JFIF\0") && length == 14 => {}
            0xee if payload.starts_with(b"Adobe") && length == 12 => {}
            0xe1 if payload.starts_with(b"Exif\0") => walk.part(part(Kind::Exif, 6.min(length)))?,
            0xe2 if payload.starts_with(b"ICC_PROFILE\0") => walk.part(part(Kind::Profile, 0))?,
            0xe0..=0xef | 0xfe => walk.part(part(Kind::Other, 0))?,
            _ => return Flaw::wrong("has a segment that no picture has"),
        }
    }
    match walk.scans() {
        0 => Flaw::wrong("has no pixels"),
        _ => Ok(()),
    }
}

fn header(walk: &mut Walk<'_>, payload: &[u8]) -> Result<(), Flaw> {
    if walk.size().is_some() {
        return Flaw::wrong("has two headers");
    }
    let Some([_, high, low, wide, narrow, _]) = payload.first_chunk() else {
        return Flaw::wrong("has a header that is too short");
    };
    let width = u16::from_be_bytes([*wide, *narrow]);
    let height = u16::from_be_bytes([*high, *low]);
    walk.sized(width.into(), height.into())
}

/// Goes to the marker that ends a scan's pixels.
fn pass_scan(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    loop {
        let rest = walk.bytes.get(walk.at..).unwrap_or_default();
        let marker = memchr::memchr(0xff, rest).ok_or(Flaw::CutOff)?;
        match rest.get(marker + 1) {
            // A byte of pixels, and a restart.
            Some(0 | 0xd0..=0xd7) => walk.at += marker + 2,
            Some(0xff) => walk.at += marker + 1,
            Some(_) => {
                walk.at += marker;
                return Ok(());
            }
            None => return Err(Flaw::CutOff),
        }
    }
}
