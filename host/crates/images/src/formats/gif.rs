//! The blocks of a GIF.
//!
//! Source: GIF89a, and Netscape's extension for the repetitions of an animation.

use crate::metadata_part::{MetadataPart, PartKind};
use crate::scanner::{ScanError, Scanner, invalid};

const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2c;
const TRAILER: u8 = 0x3b;

pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    // Signature and version.
    scanner.take_bytes(6)?;
    let (width, height) = (take_u16(scanner)?, take_u16(scanner)?);
    scanner.set_size(width, height)?;
    let [flags, _, _] = scanner.take_array()?;
    skip_color_table(scanner, flags)?;
    loop {
        let start = scanner.position;
        match scanner.take_byte()? {
            EXTENSION => scan_extension(scanner, start)?,
            FRAME => scan_frame(scanner)?,
            TRAILER => break,
            _ => return Err(invalid("has bytes between its blocks")),
        }
    }
    if scanner.frame_count() == 0 {
        return Err(invalid("has no frame"));
    }
    Ok(())
}

fn scan_extension(scanner: &mut Scanner<'_>, start: usize) -> Result<(), ScanError> {
    let label = scanner.take_byte()?;
    let content_start = scanner.position;
    let kind = match label {
        // Graphic control: duration and transparency of the next frame.
        0xf9 => None,
        0xff => application_kind(scanner),
        _ => Some(PartKind::Other),
    };
    skip_sub_blocks(scanner)?;
    if let Some(kind) = kind {
        let end = scanner.position;
        scanner.add_part(MetadataPart::new(kind, start..end, content_start..end))?;
    }
    Ok(())
}

fn scan_frame(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    // Offset in the image.
    scanner.take_bytes(4)?;
    let (width, height) = (take_u16(scanner)?, take_u16(scanner)?);
    scanner.add_frame(width, height)?;
    let flags = scanner.take_byte()?;
    skip_color_table(scanner, flags)?;
    // Minimum code size.
    scanner.take_bytes(1)?;
    skip_sub_blocks(scanner)
}

fn take_u16(scanner: &mut Scanner<'_>) -> Result<u32, ScanError> {
    scanner
        .take_array()
        .map(|bytes| u16::from_le_bytes(bytes).into())
}

fn skip_color_table(scanner: &mut Scanner<'_>, flags: u8) -> Result<(), ScanError> {
    if flags & 0x80 != 0 {
        scanner.take_bytes(3 << ((flags & 7) + 1))?;
    }
    Ok(())
}

fn skip_sub_blocks(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    loop {
        let length = scanner.take_byte()?;
        if length == 0 {
            return Ok(());
        }
        scanner.take_bytes(length.into())?;
    }
}

/// The kind of an application extension; `None` if it contains the number of repetitions and nothing
/// else, which belongs to the image.
fn application_kind(scanner: &Scanner<'_>) -> Option<PartKind> {
    let rest = scanner.bytes.get(scanner.position..).unwrap_or_default();
    let [11, rest @ ..] = rest else {
        return Some(PartKind::Other);
    };
    match rest.split_first_chunk::<11>() {
        Some((b"NETSCAPE2.0" | b"ANIMEXTS1.0", [3, 1, _, _, 0, ..])) => None,
        Some((b"ICCRGBG1012", _)) => Some(PartKind::ColorProfile),
        _ => Some(PartKind::Other),
    }
}
