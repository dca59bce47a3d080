//! What a picture's file is made of, read from end to end before anything is decoded.

use std::ops::Range;

use super::{ImageLimits, avif, gif, jpeg, png, webp};
use pinhole_ground::guard::Guard;

/// Frames of an animation, or tiles of a picture that is made of some.
const MAX_FRAMES: usize = 2_000;
/// Pixels of all frames together; of a JPEG, of all its scans.
const MAX_FRAME_PIXELS: u64 = 1 << 30;
/// Scans of one JPEG: each is as much work as the whole picture.
const MAX_SCANS: usize = 100;
/// Metadata of one picture, in bytes.
const MAX_METADATA_BYTES: usize = 8 << 20;
/// Pieces of metadata in one picture.
const MAX_METADATA_PARTS: usize = 1_000;

/// Why bytes are no picture.
#[derive(Debug)]
pub(super) enum Flaw {
    /// They end before the picture does.
    CutOff,
    /// What is wrong: the text goes on from "the image/… image".
    Wrong(String),
}

impl Flaw {
    pub(super) fn wrong<T>(what: impl Into<String>) -> Result<T, Self> {
        Err(Self::Wrong(what.into()))
    }
}

/// A part of a file that is not the picture itself.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// All of it, as the format frames it.
    pub(super) range: Range<usize>,
    /// What it holds: of EXIF, the TIFF structure in it; of what is compressed, the zlib stream.
    pub(super) held: Range<usize>,
    pub(super) kind: Kind,
    /// It is overwritten with zeros and never cut out: other parts name their places in the file.
    pub(super) fixed: bool,
    /// `held` is compressed.
    pub(super) packed: bool,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ICC colour profile, or a piece of one.
    Profile,
    /// EXIF, which may say how the picture is turned.
    Exif,
    /// Anything else.
    Other,
}

impl Part {
    pub(super) fn new(kind: Kind, range: Range<usize>, held: Range<usize>) -> Self {
        Self {
            range,
            held,
            kind,
            fixed: false,
            packed: false,
        }
    }

    pub(super) fn fixed(kind: Kind, range: Range<usize>) -> Self {
        Self {
            fixed: true,
            ..Self::new(kind, range.clone(), range)
        }
    }

    pub(super) fn packed(self) -> Self {
        Self {
            packed: true,
            ..self
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Structure {
    /// Width and height.
    pub(super) size: (u32, u32),
    /// In the order of the file, none over another.
    pub(super) parts: Vec<Part>,
    /// Where the picture ends.
    pub(super) end: usize,
}

/// Reads a file of this type from end to end.
pub(super) fn read(media_type: &str, bytes: &[u8], limits: ImageLimits) -> Result<Structure, Flaw> {
    let mut walk = Walk {
        bytes,
        at: 0,
        end: bytes.len(),
        size: None,
        parts: Vec::new(),
        metadata_bytes: 0,
        frames: 0,
        frame_pixels: 0,
        scans: 0,
        max_pixels: limits.max_pixels,
    };
    let walked = match media_type {
        "image/png" => png::walk(&mut walk),
        "image/jpeg" => jpeg::walk(&mut walk),
        "image/webp" => webp::walk(&mut walk),
        "image/gif" => gif::walk(&mut walk),
        _ => avif::walk(&mut walk),
    };
    match walked {
        Err(Flaw::CutOff) if !Guard::PictureWhole.holds() => walk.at = bytes.len(),
        walked => walked?,
    }
    let Some(size) = walk.size else {
        return Flaw::wrong("has no header with a size");
    };
    walk.parts.sort_by_key(|part| part.range.start);
    let starts = walk.parts.iter().skip(1).map(|part| part.range.start);
    let ends = walk.parts.iter().map(|part| part.range.end);
    if ends.zip(starts).any(|(end, start)| end > start) {
        return Flaw::wrong("has metadata that lies over other metadata");
    }
    Ok(Structure {
        size,
        parts: walk.parts,
        end: walk.at,
    })
}

/// A way through a file. Nothing is read beyond `end`.
pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    end: usize,
    size: Option<(u32, u32)>,
    parts: Vec<Part>,
    metadata_bytes: usize,
    frames: usize,
    frame_pixels: u64,
    scans: usize,
    max_pixels: u64,
}

impl<'a> Walk<'a> {
    /// The next bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Flaw::CutOff)?;
        self.at += length;
        Ok(taken)
    }

    /// The next bytes, as many as a number or a name has.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let taken = self.take(N)?.first_chunk();
        taken.copied().ok_or(Flaw::CutOff)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Flaw> {
        self.array().map(|[byte]| byte)
    }

    /// Ends the file here, where the picture itself says that it does.
    pub(super) fn end_at(&mut self, end: usize) -> Result<(), Flaw> {
        match end > self.end {
            true => Err(Flaw::CutOff),
            false => {
                self.end = end;
                Ok(())
            }
        }
    }

    /// Bytes up to the end.
    pub(super) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// What the picture's header says.
    pub(super) fn sized(&mut self, width: u32, height: u32) -> Result<(), Flaw> {
        self.pixels(width, height)?;
        self.size = Some((width, height));
        Ok(())
    }

    /// The size, where the header has been.
    pub(super) fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// A frame of this size is there.
    pub(super) fn frame(&mut self, width: u32, height: u32) -> Result<(), Flaw> {
        let pixels = self.pixels(width, height)?;
        self.frames += 1;
        if self.frames > Guard::PictureFrames.limit(MAX_FRAMES) {
            return Flaw::wrong(format!("has more than the {MAX_FRAMES} frames allowed"));
        }
        self.work(pixels)
    }

    /// How many frames have been there.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// A scan of the whole picture is there.
    pub(super) fn scan(&mut self) -> Result<(), Flaw> {
        let Some((width, height)) = self.size else {
            return Flaw::wrong("has pixels before its header");
        };
        self.scans += 1;
        if self.scans > Guard::PictureScans.limit(MAX_SCANS) {
            return Flaw::wrong(format!("has more than the {MAX_SCANS} scans allowed"));
        }
        self.work(u64::from(width) * u64::from(height))
    }

    /// How many scans have been there.
    pub(super) fn scans(&self) -> usize {
        self.scans
    }

    fn pixels(&self, width: u32, height: u32) -> Result<u64, Flaw> {
        let pixels = u64::from(width) * u64::from(height);
        let max = self.max_pixels;
        if pixels == 0 || (pixels > max && Guard::PictureSize.holds()) {
            return Flaw::wrong(format!(
                "is {width} x {height}, which is not between 1 and {max} pixels"
            ));
        }
        Ok(pixels)
    }

    fn work(&mut self, pixels: u64) -> Result<(), Flaw> {
        self.frame_pixels = self.frame_pixels.saturating_add(pixels);
        match self.frame_pixels > MAX_FRAME_PIXELS && Guard::PictureFramePixels.holds() {
            true => Flaw::wrong(format!(
                "has more than the {MAX_FRAME_PIXELS} pixels allowed in all its frames or scans"
            )),
            false => Ok(()),
        }
    }

    /// A part that is not the picture itself is there.
    pub(super) fn part(&mut self, part: Part) -> Result<(), Flaw> {
        self.metadata_bytes = self.metadata_bytes.saturating_add(part.range.len());
        self.parts.push(part);
        let too_much =
            self.metadata_bytes > MAX_METADATA_BYTES || self.parts.len() > MAX_METADATA_PARTS;
        match too_much && Guard::MetadataLength.holds() {
            true => Flaw::wrong(format!(
                "has more metadata than the {MAX_METADATA_BYTES} bytes in {MAX_METADATA_PARTS} \
                 parts allowed"
            )),
            false => Ok(()),
        }
    }
}
