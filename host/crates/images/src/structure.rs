//! The structure of an image file: size, metadata parts and end.

use pinhole_ground::guard::{Guard, Refusal};

use crate::formats;
use crate::metadata_part::MetadataPart;
use crate::scanner::{ScanError, Scanner, invalid};

#[derive(Debug)]
pub(crate) struct Structure {
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// In the order of the file, without overlaps.
    pub(crate) parts: Vec<MetadataPart>,
    /// Index of the first byte after the image.
    pub(crate) end: usize,
}

impl Structure {
    /// Scans a file of this media type from start to end, without decoding pixels.
    pub(crate) fn scan(media_type: &str, bytes: &[u8], max_pixels: u64) -> Result<Self, Refusal> {
        Self::scan_format(media_type, bytes, max_pixels).map_err(|error| {
            Refusal::from(error).map_reason(|reason| format!("the {media_type} image {reason}"))
        })
    }

    fn scan_format(media_type: &str, bytes: &[u8], max_pixels: u64) -> Result<Self, ScanError> {
        let mut scanner = Scanner::new(bytes, max_pixels);
        match formats::scan(media_type, &mut scanner) {
            Err(error @ ScanError::Truncated) => {
                Guard::PictureWhole.refuse_if(true, || Refusal::from(error).reason)?;
                scanner.position = bytes.len();
            }
            scanned => scanned?,
        }
        let size = scanner
            .size()
            .ok_or_else(|| invalid("has no header with a size"))?;
        let end = scanner.position;
        let parts = scanner.into_parts();
        let ends = parts.iter().map(|part| part.range.end);
        let next_starts = parts.iter().skip(1).map(|part| part.range.start);
        if ends
            .zip(next_starts)
            .any(|(part_end, next_start)| part_end > next_start)
        {
            return Err(invalid("has overlapping metadata"));
        }
        Ok(Self { size, parts, end })
    }
}
