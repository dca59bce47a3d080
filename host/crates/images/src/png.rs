//! The chunks of a PNG.
//!
//! Source: the PNG specification, third edition, with its animations.

use super::structure::{Flaw, Kind, Part, Walk};
use pinhole_ground::guard::Guard;

/// What deflate can make of one byte at most, in bytes.
const MAX_RATIO: u64 = 1032;
/// Chunks besides the pixels that a picture needs to be seen as it is meant, and how long each can
/// be, in bytes. A longer one is none of them.
const NEEDED: [(&[u8; 4], usize); 11] = [
    (b"tRNS", 256),
    (b"gAMA", 4),
    (b"cHRM", 32),
    (b"sRGB", 1),
    (b"cICP", 4),
    (b"mDCV", 24),
    (b"cLLI", 8),
    (b"sBIT", 4),
    (b"bKGD", 6),
    (b"pHYs", 9),
    (b"acTL", 8),
];

pub(super) fn walk(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    walk.take(8)?;
    let mut pixels = Pixels::header(walk)?;
    loop {
        let start = walk.at;
        let length = u32::from_be_bytes(walk.array()?) as usize;
        let name: [u8; 4] = walk.array()?;
        let held = walk.at..walk.at.saturating_add(length);
        let payload = walk.take(length)?;
        // The check sum.
        walk.take(4)?;
        let part = |kind| Part::new(kind, start..held.end + 4, held.clone());
        let packed = |kind, stream: Option<usize>| match stream {
            Some(from) => {
                Part::new(kind, start..held.end + 4, held.start + from..held.end).packed()
            }
            None => part(kind),
        };
        match &name {
            b"IDAT" => pixels.packed = pixels.packed.saturating_add(length as u64),
            b"fdAT" => {}
            b"PLTE" if length <= 768 => {}
            b"IEND" if length == 0 => break,
            b"fcTL" if length == 26 => {
                let mut sides = payload.get(4..12).unwrap_or_default().chunks_exact(4);
                let mut side = || sides.next().and_then(|side| side.try_into().ok());
                let [width, height] = [side(), side()].map(Option::unwrap_or_default);
                walk.frame(u32::from_be_bytes(width), u32::from_be_bytes(height))?;
            }
            name if is_needed(name, length) => {}
            b"iCCP" => walk.part(packed(Kind::Profile, after_text(payload, 1, 1)))?,
            b"eXIf" => walk.part(part(Kind::Exif))?,
            b"zTXt" => walk.part(packed(Kind::Other, after_text(payload, 1, 1)))?,
            b"iTXt" => walk.part(packed(Kind::Other, international(payload)))?,
            [b'a'..=b'z', ..] => walk.part(part(Kind::Other))?,
            _ => return Flaw::wrong("has a chunk that no PNG has"),
        }
    }
    if pixels.packed.saturating_mul(MAX_RATIO) < pixels.least && Guard::PictureRatio.holds() {
        return Flaw::wrong(format!(
            "has {} bytes of pixels, which can never be as many as its header says",
            pixels.packed
        ));
    }
    match walk.frames() {
        0 => walk.frame(pixels.width, pixels.height),
        _ => Ok(()),
    }
}

/// What the header says of the pixels, and what is there of them.
struct Pixels {
    width: u32,
    height: u32,
    /// Length of the decoded pixels at the least, in bytes.
    least: u64,
    /// Length of the encoded ones, in bytes.
    packed: u64,
}

impl Pixels {
    fn header(walk: &mut Walk<'_>) -> Result<Self, Flaw> {
        if walk.array()? != *b"\0\0\0\x0dIHDR" {
            return Flaw::wrong("does not begin with its header");
        }
        let (width, height) = (walk.array()?, walk.array()?);
        let (width, height) = (u32::from_be_bytes(width), u32::from_be_bytes(height));
        walk.sized(width, height)?;
        let [depth, colour, ..]: [u8; 5] = walk.array()?;
        walk.take(4)?;
        let channels: u64 = match colour {
            0 | 3 => 1,
            2 => 3,
            4 => 2,
            6 => 4,
            _ => return Flaw::wrong("has colours that no PNG has"),
        };
        let bits = u64::from(width) * u64::from(height) * channels * u64::from(depth.min(16));
        Ok(Self {
            width,
            height,
            least: bits / 8,
            packed: 0,
        })
    }
}

fn is_needed(name: &[u8; 4], length: usize) -> bool {
    let mut needed = NEEDED.iter();
    needed.any(|(needed, max)| *needed == name && length <= *max)
}

/// Where a chunk goes on after its first `texts` texts, each with a zero at its end, and `more` bytes.
fn after_text(payload: &[u8], texts: usize, more: usize) -> Option<usize> {
    let ends = payload.iter().enumerate().filter(|(_, byte)| **byte == 0);
    let (end, _) = ends.take(texts).nth(texts.checked_sub(1)?)?;
    Some(end + 1 + more).filter(|from| *from <= payload.len())
}

/// Where the compressed text of an `iTXt` chunk begins, where it has one: after keyword, flag,
/// method, language and keyword in that language.
fn international(payload: &[u8]) -> Option<usize> {
    let flag = after_text(payload, 1, 0)?;
    if payload.get(flag) != Some(&1) {
        return None;
    }
    let rest = flag + 2;
    let more = after_text(payload.get(rest..)?, 2, 0)?;
    Some(rest + more)
}
