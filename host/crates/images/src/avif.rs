//! The boxes and items of an AVIF still picture.
//!
//! Source: ISO/IEC 14496-12 and 23008-12, AV1 Image File Format 1.1.

use std::ops::Range;

use super::structure::{Flaw, Kind, Part, Walk};

/// Boxes, items and places of items in one picture.
const MAX_BOXES: usize = 10_000;
/// Boxes of a picture's properties that are kept: sizes, colours, how it is turned and cut.
const PROPERTIES: [&[u8; 4]; 16] = [
    b"ispe", b"pixi", b"av1C", b"pasp", b"clap", b"irot", b"imir", b"auxC", b"clli", b"mdcv",
    b"cclv", b"amve", b"lsel", b"a1op", b"a1lx", b"ster",
];

/// A box: what it is and where its content stands.
struct Frame {
    name: [u8; 4],
    held: Range<usize>,
}

/// An item: a picture, a part of one, or something about it.
#[derive(Default)]
struct Item {
    id: u32,
    kind: [u8; 4],
    places: Vec<Range<usize>>,
    properties: Vec<usize>,
}

pub(super) fn walk(walk: &mut Walk<'_>) -> Result<(), Flaw> {
    let mut left = MAX_BOXES;
    let (mut meta, mut data) = (None, Vec::new());
    while walk.left() > 0 {
        let rest = walk.at..walk.bytes.len();
        // Behind the picture anything may stand that is no box.
        let next = match next_box(walk.bytes, rest) {
            Err(_) if meta.is_some() && !data.is_empty() => break,
            next => next?,
        };
        count(&mut left)?;
        walk.at = next.held.end;
        match &next.name {
            b"ftyp" => {}
            b"meta" if meta.is_none() => meta = Some(next.held),
            b"mdat" => data.push(next.held),
            b"moov" | b"meta" => return Flaw::wrong("is a film, or several pictures in one"),
            _ if next.held.is_empty() => {}
            _ => walk.part(Part::fixed(Kind::Other, next.held))?,
        }
    }
    let Some(meta) = meta else {
        return Err(Flaw::CutOff);
    };
    items(walk, meta, &mut data, &mut left)
}

/// Reads what the items are, and finds those that are no picture.
fn items(
    walk: &mut Walk<'_>,
    meta: Range<usize>,
    data: &mut Vec<Range<usize>>,
    left: &mut usize,
) -> Result<(), Flaw> {
    let bytes = walk.bytes;
    let mut primary = None;
    let mut items: Vec<Item> = Vec::new();
    let (mut places, mut own_data, mut properties) = (None, None, None);
    for part in boxes(bytes, meta.start + 4..meta.end, left)? {
        let mut read = Reader::new(bytes, part.held.clone());
        match &part.name {
            b"iref" | b"grpl" => {}
            b"hdlr" => {
                read.array::<24>()?;
                named(walk, read.range())?;
            }
            b"pitm" => {
                let version = read.version()?;
                primary = Some(read.id(version > 0)?);
            }
            b"iinf" => {
                let version = read.version()?;
                read.id(version > 0)?;
                for info in boxes(bytes, read.range(), left)? {
                    items.push(item(walk, &info)?);
                }
            }
            b"iloc" => places = Some(part.held),
            b"iprp" => properties = Some(part.held),
            b"idat" => own_data = Some(part.held),
            _ if part.held.is_empty() => {}
            _ => walk.part(Part::fixed(Kind::Other, part.held))?,
        }
    }
    if let Some(places) = places {
        place(bytes, places, own_data.clone(), &mut items, left)?;
    }
    data.extend(own_data);
    let sizes = properties.map(|range| self::properties(walk, range, &mut items, left));
    let sizes = sizes.transpose()?.unwrap_or_default();
    let mut is_there = false;
    for item in items {
        let lies_in_data = |place: &Range<usize>| {
            let mut data = data.iter();
            data.any(|data| data.start <= place.start && place.end <= data.end)
        };
        if !item.places.iter().all(lies_in_data) {
            return Err(Flaw::CutOff);
        }
        if !is_picture(item.kind) {
            for place in item.places.into_iter().filter(|it| !it.is_empty()) {
                walk.part(Part::fixed(Kind::Other, place))?;
            }
            continue;
        }
        let mut found = item.properties.iter().filter_map(|index| {
            let known = sizes.iter().find(|(known, ..)| known == index);
            known.map(|(_, width, height)| (*width, *height))
        });
        let Some((width, height)) = found.next() else {
            return Flaw::wrong("has a picture without a size");
        };
        walk.frame(width, height)?;
        if primary == Some(item.id) {
            walk.sized(width, height)?;
            is_there = true;
        }
    }
    match is_there {
        true => Ok(()),
        false => Flaw::wrong("has no picture in it"),
    }
}

fn is_picture(kind: [u8; 4]) -> bool {
    [*b"av01", *b"grid", *b"iovl", *b"iden", *b"tmap"].contains(&kind)
}

/// One entry of the list of items. Of those that are no picture not even the kind remains, so that
/// nobody looks for them; of pictures, no name.
fn item(walk: &mut Walk<'_>, info: &Frame) -> Result<Item, Flaw> {
    let mut read = Reader::new(walk.bytes, info.held.clone());
    let version = read.version()?;
    if info.name != *b"infe" || version < 2 {
        return Flaw::wrong("has a list of items that cannot be read");
    }
    let id = read.id(version > 2)?;
    read.number(2)?;
    let from = read.at;
    let kind = read.array()?;
    let rest = read.range();
    if !is_picture(kind) {
        walk.part(Part::fixed(Kind::Other, from..from + 4))?;
    }
    named(walk, rest)?;
    Ok(Item {
        id,
        kind,
        ..Item::default()
    })
}

/// A name that nothing needs.
fn named(walk: &mut Walk<'_>, name: Range<usize>) -> Result<(), Flaw> {
    let said = walk.bytes.get(name.clone()).unwrap_or_default();
    // As the usual library calls the two pictures that there can be.
    match matches!(said, b"Color\0" | b"Alpha\0") || said.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => walk.part(Part::fixed(Kind::Other, name)),
    }
}

/// Reads where the items are.
fn place(
    bytes: &[u8],
    held: Range<usize>,
    own_data: Option<Range<usize>>,
    items: &mut [Item],
    left: &mut usize,
) -> Result<(), Flaw> {
    let mut read = Reader::new(bytes, held);
    let version = read.version()?;
    let [first, second]: [u8; 2] = read.array()?;
    let (offset, length) = (first >> 4, first & 15);
    let (base, index) = (second >> 4, second & 15);
    let items_there = read.id(version > 1)?;
    for _ in 0..items_there {
        count(left)?;
        let id = read.id(version > 1)?;
        let method = if version > 0 { read.number(2)? & 15 } else { 0 };
        read.number(2)?;
        let base = read.number(base)?;
        let from = match (method, &own_data) {
            (0, _) => 0,
            (1, Some(data)) => data.start as u64,
            _ => return Flaw::wrong("has an item in a place that cannot be read"),
        };
        let places = read.number(2)?;
        for _ in 0..places {
            count(left)?;
            if version > 0 {
                read.number(index)?;
            }
            let (offset, length) = (read.number(offset)?, read.number(length)?);
            let start = from.checked_add(base).and_then(|it| it.checked_add(offset));
            let end = start.and_then(|start| start.checked_add(length));
            let (Some(start), Some(end)) = (start.map(usize::try_from), end.map(usize::try_from))
            else {
                return Err(Flaw::CutOff);
            };
            let (Ok(start), Ok(end)) = (start, end) else {
                return Err(Flaw::CutOff);
            };
            if let Some(item) = items.iter_mut().find(|item| item.id == id) {
                item.places.push(start..end);
            }
        }
    }
    Ok(())
}

/// Reads the properties of items: the sizes among them, each with its number.
fn properties(
    walk: &mut Walk<'_>,
    held: Range<usize>,
    items: &mut [Item],
    left: &mut usize,
) -> Result<Vec<(usize, u32, u32)>, Flaw> {
    let bytes = walk.bytes;
    let mut sizes = Vec::new();
    for part in boxes(bytes, held, left)? {
        match &part.name {
            b"ipco" => {
                let all = boxes(bytes, part.held, left)?;
                for (index, property) in all.into_iter().enumerate() {
                    let mut read = Reader::new(bytes, property.held.clone());
                    match &property.name {
                        b"ispe" => {
                            read.version()?;
                            let (width, height) = (read.id(true)?, read.id(true)?);
                            // Numbered from one.
                            sizes.push((index + 1, width, height));
                        }
                        b"colr" if read.array()? == *b"nclx" => {}
                        b"colr" => walk.part(Part::fixed(Kind::Profile, property.held))?,
                        name if PROPERTIES.contains(&name) => {}
                        _ if property.held.is_empty() => {}
                        _ => walk.part(Part::fixed(Kind::Other, property.held))?,
                    }
                }
            }
            b"ipma" => {
                let mut read = Reader::new(bytes, part.held);
                let [version, _, _, flags]: [u8; 4] = read.array()?;
                let wide = if flags & 1 == 1 { 2 } else { 1 };
                let entries = read.id(true)?;
                for _ in 0..entries {
                    count(left)?;
                    let id = read.id(version > 0)?;
                    let many = read.number(1)?;
                    let mut item = items.iter_mut().find(|item| item.id == id);
                    for _ in 0..many {
                        let index = read.number(wide)? as usize;
                        // The highest bit says that it must be understood.
                        let index = index & ((1 << (8 * wide - 1)) - 1);
                        if let Some(item) = &mut item {
                            item.properties.push(index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(sizes)
}

fn count(left: &mut usize) -> Result<(), Flaw> {
    match left.checked_sub(1) {
        Some(less) => *left = less,
        None => return Flaw::wrong(format!("has more than the {MAX_BOXES} boxes allowed")),
    }
    Ok(())
}

/// The boxes that fill a range.
fn boxes(bytes: &[u8], range: Range<usize>, left: &mut usize) -> Result<Vec<Frame>, Flaw> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        count(left)?;
        let next = next_box(bytes, at..range.end)?;
        at = next.held.end;
        found.push(next);
    }
    Ok(found)
}

fn next_box(bytes: &[u8], range: Range<usize>) -> Result<Frame, Flaw> {
    let mut read = Reader::new(bytes, range.clone());
    let length = read.number(4)?;
    let name = read.array()?;
    let length = match length {
        0 => range.len(),
        1 => usize::try_from(read.number(8)?).unwrap_or(usize::MAX),
        length => length as usize,
    };
    let end = range.start.checked_add(length);
    match end.filter(|end| (read.at..=range.end).contains(end)) {
        Some(end) => Ok(Frame {
            name,
            held: read.at..end,
        }),
        None => Err(Flaw::CutOff),
    }
}

/// Reads numbers of a range.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes,
            at: range.start,
            end: range.end,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let rest = self.bytes.get(self.at..self.end).unwrap_or_default();
        let taken = rest.first_chunk().copied().ok_or(Flaw::CutOff)?;
        self.at += N;
        Ok(taken)
    }

    /// A number of so many bytes, at most eight.
    fn number(&mut self, length: u8) -> Result<u64, Flaw> {
        let mut number = 0;
        for _ in 0..length {
            let [byte] = self.array()?;
            number = (number << 8) | u64::from(byte);
        }
        Ok(number)
    }

    /// A number of four bytes, or of two.
    fn id(&mut self, long: bool) -> Result<u32, Flaw> {
        let number = self.number(if long { 4 } else { 2 })?;
        Ok(u32::try_from(number).unwrap_or_default())
    }

    /// The version at the beginning of a box that has one; its flags are passed over.
    fn version(&mut self) -> Result<u8, Flaw> {
        let [version, _, _, _] = self.array()?;
        Ok(version)
    }

    /// What was not read.
    fn range(&self) -> Range<usize> {
        self.at..self.end
    }
}
