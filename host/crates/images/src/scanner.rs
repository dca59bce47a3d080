//! The position in an image file, and the limits on what a file contains.

use pinhole_ground::guard::{Guard, Refusal};

use crate::metadata_part::MetadataPart;

/// Frames of an animation, or tiles of a tiled image.
const MAX_FRAMES: usize = 2_000;
/// Pixels of all frames together; in a JPEG, of all scans.
const MAX_FRAME_PIXELS: u64 = 1 << 30;
/// Scans of a JPEG. Decoding one takes as long as decoding a whole image.
const MAX_SCANS: usize = 100;
/// Length of all metadata of an image in bytes.
const MAX_METADATA_BYTES: usize = 8 << 20;
/// Metadata parts of an image.
const MAX_METADATA_PARTS: usize = 1_000;

/// Why bytes are not an image.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The file ends before the image does.
    Truncated,
    /// The reason continues the text "the image/… image".
    Invalid(Refusal),
}

impl From<Refusal> for ScanError {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid(refusal)
    }
}

impl From<ScanError> for Refusal {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Truncated => "is truncated".into(),
            ScanError::Invalid(refusal) => refusal,
        }
    }
}

/// A file that violates its format. `problem` continues the text "the image/… image".
pub(crate) fn invalid(problem: impl Into<String>) -> ScanError {
    ScanError::Invalid(problem.into().into())
}

/// Reads a file from start to end and records what it contains.
pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) position: usize,
    /// Nothing is read at or after this index.
    end: usize,
    size: Option<(u32, u32)>,
    parts: Vec<MetadataPart>,
    metadata_bytes: usize,
    frame_count: usize,
    frame_pixels: u64,
    scan_count: usize,
    max_pixels: u64,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8], max_pixels: u64) -> Self {
        Self {
            bytes,
            position: 0,
            end: bytes.len(),
            size: None,
            parts: Vec::new(),
            metadata_bytes: 0,
            frame_count: 0,
            frame_pixels: 0,
            scan_count: 0,
            max_pixels,
        }
    }

    /// The next `length` bytes.
    pub(crate) fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], ScanError> {
        let end = self
            .position
            .checked_add(length)
            .filter(|end| *end <= self.end)
            .ok_or(ScanError::Truncated)?;
        let taken = self.bytes.get(self.position..end);
        self.position = end;
        taken.ok_or(ScanError::Truncated)
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let taken = self.take_bytes(N)?.first_chunk();
        taken.copied().ok_or(ScanError::Truncated)
    }

    pub(crate) fn take_byte(&mut self) -> Result<u8, ScanError> {
        self.take_array().map(|[byte]| byte)
    }

    /// Moves the end of the file to where the image's own header places it.
    pub(crate) fn set_end(&mut self, end: usize) -> Result<(), ScanError> {
        if end > self.end {
            return Err(ScanError::Truncated);
        }
        self.end = end;
        Ok(())
    }

    /// Bytes between the position and the end.
    pub(crate) fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// Records the image's size from its header.
    pub(crate) fn set_size(&mut self, width: u32, height: u32) -> Result<(), ScanError> {
        self.check_size(width, height)?;
        self.size = Some((width, height));
        Ok(())
    }

    /// `None` before [`Self::set_size`].
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Records a frame of an animation, or the one frame of another image.
    pub(crate) fn add_frame(&mut self, width: u32, height: u32) -> Result<(), ScanError> {
        let pixels = self.check_size(width, height)?;
        self.frame_count += 1;
        Guard::PictureFrames.refuse_if(self.frame_count > MAX_FRAMES, || {
            format!("has more than the {MAX_FRAMES} frames allowed")
        })?;
        self.add_frame_pixels(pixels)
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.frame_count
    }

    /// Records a scan over the whole image.
    pub(crate) fn add_scan(&mut self) -> Result<(), ScanError> {
        let Some((width, height)) = self.size else {
            return Err(invalid("has pixels before its header"));
        };
        self.scan_count += 1;
        Guard::PictureScans.refuse_if(self.scan_count > MAX_SCANS, || {
            format!("has more than the {MAX_SCANS} scans allowed")
        })?;
        self.add_frame_pixels(u64::from(width) * u64::from(height))
    }

    pub(crate) fn scan_count(&self) -> usize {
        self.scan_count
    }

    /// Records a part that is not pixels.
    pub(crate) fn add_part(&mut self, part: MetadataPart) -> Result<(), ScanError> {
        self.metadata_bytes = self.metadata_bytes.saturating_add(part.range.len());
        self.parts.push(part);
        let is_too_long =
            self.metadata_bytes > MAX_METADATA_BYTES || self.parts.len() > MAX_METADATA_PARTS;
        Guard::MetadataLength.refuse_if(is_too_long, || {
            format!(
                "has more metadata than the {MAX_METADATA_BYTES} bytes in {MAX_METADATA_PARTS} parts \
                 allowed"
            )
        })?;
        Ok(())
    }

    /// The recorded parts in the order of the file.
    pub(crate) fn into_parts(self) -> Vec<MetadataPart> {
        let mut parts = self.parts;
        parts.sort_by_key(|part| part.range.start);
        parts
    }

    /// The number of pixels of an image or frame, if it is within the limit.
    fn check_size(&self, width: u32, height: u32) -> Result<u64, ScanError> {
        let pixels = u64::from(width) * u64::from(height);
        let max = self.max_pixels;
        let reason = || format!("is {width} x {height}, which is not between 1 and {max} pixels");
        if pixels == 0 {
            return Err(invalid(reason()));
        }
        Guard::PictureSize.refuse_if(pixels > max, reason)?;
        Ok(pixels)
    }

    fn add_frame_pixels(&mut self, pixels: u64) -> Result<(), ScanError> {
        self.frame_pixels = self.frame_pixels.saturating_add(pixels);
        Guard::PictureFramePixels.refuse_if(self.frame_pixels > MAX_FRAME_PIXELS, || {
            format!(
                "has more than the {MAX_FRAME_PIXELS} pixels allowed in all its frames or scans"
            )
        })?;
        Ok(())
    }
}
