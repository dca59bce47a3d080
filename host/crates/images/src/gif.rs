//! The blocks of a GIF.
//!
//! Source: GIF89a, and Netscape's extension for how often an animation is shown.

use super::structure::{Flaw, Kind, Part, Walk};

pub(super) fn walk(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    walk.take(6)?;
    let (width, height) = (side(walk)?, side(walk)?);
    walk.sized(width, height)?;
    let [flags, _, _] = walk.array()?;
    pass_colours(walk, flags)?;
    loop {
        let start = walk.at;
        match walk.byte()? {
            // An extension.
            0x21 => {
                let label = walk.byte()?;
                let held = walk.at;
                let kind = match label {
                    // How long the next frame is shown, and what is transparent in it.
                    0xf9 => None,
                    0xff => application(walk)?,
                    _ => Some(Kind::Other),
                };
                pass_blocks(walk)?;
                if let Some(kind) = kind {
                    walk.part(Part::new(kind, start..walk.at, held..walk.at))?;
                }
            }
            // A frame.
            0x2c => {
                walk.take(4)?;
                let (width, height) = (side(walk)?, side(walk)?);
                walk.frame(width, height)?;
                let flags = walk.byte()?;
                pass_colours(walk, flags)?;
                // The least length of a code.
                walk.take(1)?;
                pass_blocks(walk)?;
            }
            // The end.
            0x3b => break,
            _ => return Flaw::wrong("has bytes between its blocks"),
        }
    }
    match walk.frames() {
        0 => Flaw::wrong("has no frame"),
        _ => Ok(()),
    }
}

fn side(walk: &mut Walk<'_>) -> Result<u32, Flaw> {
    walk.array().map(|side| u16::from_le_bytes(side).into())
}

fn pass_colours(walk: &mut Walk<'_>, flags: u8) -> Result<(), Flaw> {
    match flags & 0x80 {
        0 => Ok(()),
        _ => walk.take(3 << ((flags & 7) + 1)).map(|_| ()),
    }
}

fn pass_blocks(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    loop {
        match walk.byte()? {
            0 => return Ok(()),
            length => walk.take(length.into())?,
        };
    }
}

/// What an application's extension is: nothing but the number of turns is part of the picture.
fn application(walk: &Walk<'_>) -> Result<Option<Kind>, Flaw> {
    let rest = walk.bytes.get(walk.at..).unwrap_or_default();
    Ok(match rest {
        [11, rest @ ..] => match rest.split_first_chunk::<11>() {
            Some((b"NETSCAPE2.0" | b"ANIMEXTS1.0", [3, 1, _, _, 0, ..])) => None,
            Some((b"ICCRGBG1012", _)) => Some(Kind::Profile),
            _ => Some(Kind::Other),
        },
        _ => Some(Kind::Other),
    })
}
