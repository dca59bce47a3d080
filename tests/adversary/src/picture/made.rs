//! Pictures as an attacker makes them, byte by byte.

use std::io::Write;

use anyhow::Result;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Eight bits of grey.
pub(super) const GREY: [u8; 2] = [8, 0];
/// Sixteen bits of red, green, blue and alpha each.
pub(super) const DEEP: [u8; 2] = [16, 6];

/// A chunk of a PNG.
pub(super) fn chunk(name: &[u8; 4], held: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(held.len())?.to_be_bytes();
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(held);
    Ok([&length, name.as_slice(), held, &sum.sum().to_be_bytes()].concat())
}

/// A PNG that claims this size, with these chunks in front of these bytes of pixels.
pub(super) fn png(
    (width, height): (u32, u32),
    colours: [u8; 2],
    chunks: &[Vec<u8>],
    pixels: &[u8],
) -> Result<Vec<u8>> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = chunk(b"IHDR", &[&sides[..], &colours, &[0; 3]].concat())?;
    let (pixels, end) = (chunk(b"IDAT", pixels)?, chunk(b"IEND", b"")?);
    Ok([SIGNATURE, &header, &chunks.concat(), &pixels, &end].concat())
}

/// The least PNG there is, with these chunks.
pub(super) fn small(chunks: &[Vec<u8>]) -> Result<Vec<u8>> {
    png((1, 1), GREY, chunks, &zeros(2)?)
}

/// So many zeros, compressed.
pub(super) fn zeros(length: usize) -> Result<Vec<u8>> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    let some = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let part = some.get(..left).unwrap_or(&some);
        packed.write_all(part)?;
        left -= part.len();
    }
    Ok(packed.finish()?)
}

/// A text, compressed.
pub(super) fn packed(text: &str) -> Result<Vec<u8>> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes())?;
    Ok(packed.finish()?)
}

/// A GIF of this side with so many frames of the same.
pub(super) fn gif(side: u16, frames: usize) -> Vec<u8> {
    let sides = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let frame = [b",\0\0\0\0", &sides[..], b"\0\x02\x02D\x01\0"].concat();
    [
        b"GIF89a",
        &sides[..],
        b"\0\0\0",
        &frame.repeat(frames),
        b";",
    ]
    .concat()
}

/// A JPEG of this side with so many scans.
pub(super) fn jpeg(side: u16, scans: usize) -> Vec<u8> {
    let sides = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\xaa".repeat(scans);
    let header = [b"\xff\xc2\0\x0b\x08", &sides[..], b"\x01\x01\x11\0"].concat();
    [b"\xff\xd8", &header[..], &scan, b"\xff\xd9"].concat()
}

/// A WebP of one frame, whose pixels are none.
pub(super) fn webp() -> Vec<u8> {
    b"RIFF\x18\0\0\0WEBPVP8L\x0b\0\0\0\x2f\x07\xc0\x01\0\xff\xff\xff\xff\xff\xff\0".to_vec()
}
