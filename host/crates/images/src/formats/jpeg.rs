//! The segments of a JPEG.
//!
//! Source: ITU T.81; for application segments: JFIF 1.02, EXIF 2.32, ICC.1 annex B.4.

use std::ops::Range;

use crate::metadata_part::{MetadataPart, PartKind};
use crate::scanner::{ScanError, Scanner, invalid};

struct Segment<'a> {
    code: u8,
    /// From the marker to the end of the payload.
    range: Range<usize>,
    payload: &'a [u8],
}

pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    // Start of image.
    scanner.take_bytes(2)?;
    while let Some(segment) = take_segment(scanner)? {
        scan_segment(scanner, &segment)?;
    }
    if scanner.scan_count() == 0 {
        return Err(invalid("has no pixels"));
    }
    Ok(())
}

/// The next segment; `None` at the end of the image.
fn take_segment<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Segment<'a>>, ScanError> {
    loop {
        let start = scanner.position;
        if scanner.take_byte()? != 0xff {
            return Err(invalid("has bytes between its segments"));
        }
        let code = loop {
            match scanner.take_byte()? {
                0xff => {}
                code => break code,
            }
        };
        match code {
            // End of image.
            0xd9 => return Ok(None),
            // Markers without a segment, which have no meaning here.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let declared = usize::from(u16::from_be_bytes(scanner.take_array()?));
        let Some(length) = declared.checked_sub(2) else {
            return Err(invalid("has a segment without a length"));
        };
        let payload = scanner.take_bytes(length)?;
        return Ok(Some(Segment {
            code,
            range: start..scanner.position,
            payload,
        }));
    }
}

fn scan_segment(scanner: &mut Scanner<'_>, segment: &Segment<'_>) -> Result<(), ScanError> {
    let payload = segment.payload;
    let content_start = segment.range.end - payload.len();
    let to_part = |kind, header_length: usize| {
        let content = content_start + header_length..segment.range.end;
        MetadataPart::new(kind, segment.range.clone(), content)
    };
    match segment.code {
        // Frame headers of all but the hierarchical processes.
        0xc0..=0xc3 | 0xc9..=0xcb => scan_header(scanner, payload),
        // Huffman and arithmetic tables, quantization tables, number of lines, restart interval.
        0xc4 | 0xcc | 0xdb..=0xdd => Ok(()),
        0xda => {
            scanner.add_scan()?;
            skip_scan_data(scanner)
        }
        // JFIF without a thumbnail, and Adobe's color transform.
        0xe0 if payload.starts_with(b"JFIF\0") && payload.len() == 14 => Ok(()),
        0xee if payload.starts_with(b"Adobe") && payload.len() == 12 => Ok(()),
        0xe1 if payload.starts_with(b"Exif\0") => {
            scanner.add_part(to_part(PartKind::Exif, 6.min(payload.len())))
        }
        0xe2 if payload.starts_with(b"ICC_PROFILE\0") => {
            scanner.add_part(to_part(PartKind::ColorProfile, 0))
        }
        0xe0..=0xef | 0xfe => scanner.add_part(to_part(PartKind::Other, 0)),
        _ => Err(invalid("has an unknown segment")),
    }
}

fn scan_header(scanner: &mut Scanner<'_>, payload: &[u8]) -> Result<(), ScanError> {
    if scanner.size().is_some() {
        return Err(invalid("has two headers"));
    }
    let Some([_precision, h1, h0, w1, w0, _components]) = payload.first_chunk() else {
        return Err(invalid("has a header that is too short"));
    };
    let width = u16::from_be_bytes([*w1, *w0]);
    let height = u16::from_be_bytes([*h1, *h0]);
    scanner.set_size(width.into(), height.into())
}

/// Moves to the marker after a scan's data.
fn skip_scan_data(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    loop {
        let rest = scanner.bytes.get(scanner.position..).unwrap_or_default();
        let marker = memchr::memchr(0xff, rest).ok_or(ScanError::Truncated)?;
        match rest.get(marker + 1) {
            // A stuffed byte, and a restart marker.
            Some(0 | 0xd0..=0xd7) => scanner.position += marker + 2,
            Some(0xff) => scanner.position += marker + 1,
            Some(_) => {
                scanner.position += marker;
                return Ok(());
            }
            None => return Err(ScanError::Truncated),
        }
    }
}
