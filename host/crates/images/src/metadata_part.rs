//! Parts of an image file that are not pixels.

use std::ops::Range;

/// A part of an image file that is not pixels.
#[derive(Clone, Debug)]
pub(crate) struct MetadataPart {
    /// The part with its framing in the format, such as a chunk's length and checksum.
    pub(crate) range: Range<usize>,
    /// The part without its framing. For EXIF, the TIFF structure; if compressed, the zlib stream.
    pub(crate) content: Range<usize>,
    pub(crate) kind: PartKind,
    /// The part is overwritten with zeros and never cut out: other parts refer to file offsets.
    pub(crate) is_fixed: bool,
    /// `content` is a zlib stream.
    pub(crate) is_compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// An ICC color profile, or a segment of one.
    ColorProfile,
    /// EXIF, which may contain the orientation.
    Exif,
    Other,
}

impl MetadataPart {
    pub(crate) fn new(kind: PartKind, range: Range<usize>, content: Range<usize>) -> Self {
        Self {
            range,
            content,
            kind,
            is_fixed: false,
            is_compressed: false,
        }
    }

    pub(crate) fn fixed(kind: PartKind, range: Range<usize>) -> Self {
        Self {
            is_fixed: true,
            ..Self::new(kind, range.clone(), range)
        }
    }

    pub(crate) fn compressed(kind: PartKind, range: Range<usize>, content: Range<usize>) -> Self {
        Self {
            is_compressed: true,
            ..Self::new(kind, range, content)
        }
    }
}
