//! Images that violate a limit or are invalid, byte by byte.

use std::io::Write;

use anyhow::Result;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Bit depth and color type of a PNG: eight bits of gray.
pub(super) const GRAY: [u8; 2] = [8, 0];
/// Sixteen bits each of red, green, blue and alpha.
pub(super) const RGBA16: [u8; 2] = [16, 6];

/// What a PNG declares.
#[derive(Clone, Copy)]
pub(super) struct PngHeader {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bit depth and color type.
    pub(super) color: [u8; 2],
}

impl PngHeader {
    pub(super) const fn square(side: u32, color: [u8; 2]) -> Self {
        Self {
            width: side,
            height: side,
            color,
        }
    }
}

/// A chunk of a PNG.
pub(super) fn chunk(name: &[u8; 4], content: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(content.len())?.to_be_bytes();
    let mut checksum = Crc::new();
    checksum.update(name);
    checksum.update(content);
    let checksum = checksum.sum().to_be_bytes();
    Ok([&length, name.as_slice(), content, &checksum].concat())
}

/// A PNG with this header, these chunks, and these bytes as its pixels.
pub(super) fn png(header: PngHeader, chunks: &[Vec<u8>], pixels: &[u8]) -> Result<Vec<u8>> {
    let size = [header.width.to_be_bytes(), header.height.to_be_bytes()].concat();
    let ihdr = chunk(b"IHDR", &[&size[..], &header.color, &[0; 3]].concat())?;
    let (idat, iend) = (chunk(b"IDAT", pixels)?, chunk(b"IEND", b"")?);
    Ok([SIGNATURE, &ihdr, &chunks.concat(), &idat, &iend].concat())
}

/// A valid PNG that takes a moment to decode.
pub(crate) fn large_png() -> Result<Vec<u8>> {
    const SIDE: u32 = 4000;
    let row_bytes = 1 + SIDE as usize;
    let pixels = compressed_zeros(SIDE as usize * row_bytes)?;
    png(PngHeader::square(SIDE, GRAY), &[], &pixels)
}

/// A valid PNG of one pixel, with these chunks.
pub(crate) fn small_png(chunks: &[Vec<u8>]) -> Result<Vec<u8>> {
    png(PngHeader::square(1, GRAY), chunks, &compressed_zeros(2)?)
}

/// A PNG of one pixel with these bytes as its pixels. They need not be valid, and have no checksum.
pub(crate) fn small_png_with_pixels(pixels: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    const END: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";
    let length = u32::try_from(pixels.len()).unwrap_or_default();
    [HEAD, &length.to_be_bytes(), b"IDAT", pixels, &[0; 4], END].concat()
}

/// Zeros of this length, compressed.
pub(super) fn compressed_zeros(length: usize) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    let mut remaining = length;
    while remaining > 0 {
        let part = zeros.get(..remaining).unwrap_or(&zeros);
        encoder.write_all(part)?;
        remaining -= part.len();
    }
    Ok(encoder.finish()?)
}

/// A text, compressed.
pub(super) fn compressed_text(text: &str) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// A square GIF with this number of equal frames.
pub(super) fn gif(side: u16, frames: usize) -> Vec<u8> {
    let size = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let frame = [b",\0\0\0\0", &size[..], b"\0\x02\x02D\x01\0"].concat();
    [b"GIF89a", &size[..], b"\0\0\0", &frame.repeat(frames), b";"].concat()
}

/// A square JPEG with this number of scans.
pub(super) fn jpeg(side: u16, scans: usize) -> Vec<u8> {
    let size = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\xaa".repeat(scans);
    let header = [b"\xff\xc2\0\x0b\x08", &size[..], b"\x01\x01\x11\0"].concat();
    [b"\xff\xd8", &header[..], &scan, b"\xff\xd9"].concat()
}

/// A WebP of one frame with invalid pixels.
pub(super) fn webp() -> Vec<u8> {
    b"RIFF\x18\0\0\0WEBPVP8L\x0b\0\0\0\x2f\x07\xc0\x01\0\xff\xff\xff\xff\xff\xff\0".to_vec()
}
