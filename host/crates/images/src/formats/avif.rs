//! The boxes and items of an AVIF still image.
//!
//! Source: ISO/IEC 14496-12 and 23008-12, AV1 Image File Format 1.1.

mod boxes;

use std::ops::Range;

use crate::metadata_part::{MetadataPart, PartKind};
use crate::scanner::{ScanError, Scanner, invalid};

use boxes::{BoxReader, FileBox, read_box};

/// Boxes, items and item locations of a file.
const MAX_BOXES: usize = 10_000;
/// Item properties that change how an image looks: sizes, colors, rotation and cropping.
const RENDERING_PROPERTIES: [&[u8; 4]; 16] = [
    b"ispe", b"pixi", b"av1C", b"pasp", b"clap", b"irot", b"imir", b"auxC", b"clli", b"mdcv",
    b"cclv", b"amve", b"lsel", b"a1op", b"a1lx", b"ster",
];

/// An image, a tile of one, or metadata.
struct Item {
    id: u32,
    kind: [u8; 4],
    locations: Vec<Range<usize>>,
    /// Numbers of properties.
    properties: Vec<usize>,
}

/// An `ispe` property.
struct SizeProperty {
    /// Counted from one.
    number: usize,
    width: u32,
    height: u32,
}

/// Boxes of the `meta` box that refer to items.
#[derive(Default)]
struct ItemBoxes {
    locations: Option<Range<usize>>,
    properties: Option<Range<usize>>,
    data: Option<Range<usize>>,
}

struct AvifScan<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    boxes_left: usize,
    primary_id: Option<u32>,
    items: Vec<Item>,
    sizes: Vec<SizeProperty>,
    /// The contents of boxes in which items may be located.
    data: Vec<Range<usize>>,
}

pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    let mut avif = AvifScan {
        scanner,
        boxes_left: MAX_BOXES,
        primary_id: None,
        items: Vec::new(),
        sizes: Vec::new(),
        data: Vec::new(),
    };
    let meta = avif.scan_file()?;
    let item_boxes = avif.scan_meta(meta)?;
    if let Some(locations) = item_boxes.locations {
        avif.read_locations(locations, item_boxes.data.as_ref())?;
    }
    avif.data.extend(item_boxes.data);
    if let Some(properties) = item_boxes.properties {
        avif.scan_properties(properties)?;
    }
    avif.check_items()
}

impl AvifScan<'_, '_> {
    /// Scans the boxes of the file. Returns the content of the `meta` box.
    fn scan_file(&mut self) -> Result<Range<usize>, ScanError> {
        let mut meta = None;
        while self.scanner.remaining() > 0 {
            let rest = self.scanner.position..self.scanner.bytes.len();
            let next = match read_box(self.scanner.bytes, rest) {
                // Bytes after the image need not be boxes.
                Err(_) if meta.is_some() && !self.data.is_empty() => break,
                next => next?,
            };
            self.count_box()?;
            self.scanner.position = next.content.end;
            match &next.name {
                b"ftyp" => {}
                b"meta" if meta.is_none() => meta = Some(next.content),
                b"mdat" => self.data.push(next.content),
                b"moov" | b"meta" => {
                    return Err(invalid("is a video, or several images in one file"));
                }
                _ => self.add_metadata(PartKind::Other, next.content)?,
            }
        }
        meta.ok_or(ScanError::Truncated)
    }

    /// Scans the boxes of the `meta` box.
    fn scan_meta(&mut self, meta: Range<usize>) -> Result<ItemBoxes, ScanError> {
        let mut item_boxes = ItemBoxes::default();
        // Version and flags come first.
        for inner in self.read_boxes(meta.start + 4..meta.end)? {
            let mut reader = BoxReader::new(self.scanner.bytes, inner.content.clone());
            match &inner.name {
                b"iref" | b"grpl" => {}
                b"hdlr" => {
                    reader.read_array::<24>()?;
                    self.scan_name(reader.rest())?;
                }
                b"pitm" => {
                    let version = reader.read_version()?;
                    self.primary_id = Some(reader.read_id(version > 0)?);
                }
                b"iinf" => {
                    let version = reader.read_version()?;
                    reader.read_id(version > 0)?;
                    for entry in self.read_boxes(reader.rest())? {
                        self.scan_item_entry(&entry)?;
                    }
                }
                b"iloc" => item_boxes.locations = Some(inner.content),
                b"iprp" => item_boxes.properties = Some(inner.content),
                b"idat" => item_boxes.data = Some(inner.content),
                _ => self.add_metadata(PartKind::Other, inner.content)?,
            }
        }
        Ok(item_boxes)
    }

    /// Scans an entry of the item list. Names are metadata. The kind of an item that is not an image is
    /// metadata too, so that no decoder looks for the item after it was removed.
    fn scan_item_entry(&mut self, entry: &FileBox) -> Result<(), ScanError> {
        let mut reader = BoxReader::new(self.scanner.bytes, entry.content.clone());
        let version = reader.read_version()?;
        if entry.name != *b"infe" || version < 2 {
            return Err(invalid("has an unreadable list of items"));
        }
        let id = reader.read_id(version > 2)?;
        // Protection index.
        reader.read_uint(2)?;
        let kind_start = reader.rest().start;
        let kind = reader.read_array()?;
        if !is_image_kind(kind) {
            self.add_metadata(PartKind::Other, kind_start..kind_start + 4)?;
        }
        self.scan_name(reader.rest())?;
        self.items.push(Item {
            id,
            kind,
            locations: Vec::new(),
            properties: Vec::new(),
        });
        Ok(())
    }

    /// Scans a name, which no decoder needs.
    fn scan_name(&mut self, range: Range<usize>) -> Result<(), ScanError> {
        let name = self.scanner.bytes.get(range.clone()).unwrap_or_default();
        // The names that the common encoder gives to the image and its alpha channel.
        let is_common = matches!(name, b"Color\0" | b"Alpha\0");
        if is_common || name.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.add_metadata(PartKind::Other, range)
    }

    /// Reads the locations of the items. `item_data` is the content of the `idat` box.
    fn read_locations(
        &mut self,
        content: Range<usize>,
        item_data: Option<&Range<usize>>,
    ) -> Result<(), ScanError> {
        let mut reader = BoxReader::new(self.scanner.bytes, content);
        let version = reader.read_version()?;
        let [sizes, more_sizes]: [u8; 2] = reader.read_array()?;
        let (offset_bytes, length_bytes) = (sizes >> 4, sizes & 15);
        let (base_bytes, index_bytes) = (more_sizes >> 4, more_sizes & 15);
        let item_count = reader.read_id(version > 1)?;
        for _ in 0..item_count {
            self.count_box()?;
            let id = reader.read_id(version > 1)?;
            let method = if version > 0 {
                reader.read_uint(2)? & 15
            } else {
                0
            };
            // Data reference index.
            reader.read_uint(2)?;
            let base = reader.read_uint(base_bytes)?;
            let origin = match (method, item_data) {
                (0, _) => 0,
                (1, Some(data)) => data.start as u64,
                _ => return Err(invalid("has an item with an unknown location")),
            };
            let extent_count = reader.read_uint(2)?;
            for _ in 0..extent_count {
                self.count_box()?;
                if version > 0 {
                    reader.read_uint(index_bytes)?;
                }
                let offset = reader.read_uint(offset_bytes)?;
                let length = reader.read_uint(length_bytes)?;
                let location = to_range([origin, base, offset], length)?;
                if let Some(item) = self.items.iter_mut().find(|item| item.id == id) {
                    item.locations.push(location);
                }
            }
        }
        Ok(())
    }

    /// Scans the properties and reads which item has which.
    fn scan_properties(&mut self, content: Range<usize>) -> Result<(), ScanError> {
        for inner in self.read_boxes(content)? {
            match &inner.name {
                b"ipco" => self.scan_property_list(inner.content)?,
                b"ipma" => self.read_associations(inner.content)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn scan_property_list(&mut self, content: Range<usize>) -> Result<(), ScanError> {
        let properties = self.read_boxes(content)?;
        for (number, property) in (1..).zip(properties) {
            let mut reader = BoxReader::new(self.scanner.bytes, property.content.clone());
            match &property.name {
                b"ispe" => {
                    reader.read_version()?;
                    self.sizes.push(SizeProperty {
                        number,
                        width: reader.read_id(true)?,
                        height: reader.read_id(true)?,
                    });
                }
                // A color space without a profile.
                b"colr" if reader.read_array()? == *b"nclx" => {}
                b"colr" => {
                    let part = MetadataPart::fixed(PartKind::ColorProfile, property.content);
                    self.scanner.add_part(part)?;
                }
                name if RENDERING_PROPERTIES.contains(&name) => {}
                _ => self.add_metadata(PartKind::Other, property.content)?,
            }
        }
        Ok(())
    }

    fn read_associations(&mut self, content: Range<usize>) -> Result<(), ScanError> {
        let mut reader = BoxReader::new(self.scanner.bytes, content);
        let [version, _, _, flags]: [u8; 4] = reader.read_array()?;
        let number_bytes = if flags & 1 == 1 { 2 } else { 1 };
        let entry_count = reader.read_id(true)?;
        for _ in 0..entry_count {
            self.count_box()?;
            let id = reader.read_id(version > 0)?;
            let property_count = reader.read_uint(1)?;
            let mut item = self.items.iter_mut().find(|item| item.id == id);
            for _ in 0..property_count {
                // The highest bit marks an essential property.
                let mask = (1 << (8 * number_bytes - 1)) - 1;
                let number = reader.read_uint(number_bytes)? as usize & mask;
                if let Some(item) = &mut item {
                    item.properties.push(number);
                }
            }
        }
        Ok(())
    }

    /// Records each image item as a frame, and the data of other items as metadata.
    fn check_items(&mut self) -> Result<(), ScanError> {
        let mut has_primary = false;
        for item in std::mem::take(&mut self.items) {
            if !item.locations.iter().all(|location| self.is_data(location)) {
                return Err(ScanError::Truncated);
            }
            if !is_image_kind(item.kind) {
                for location in item.locations {
                    self.add_metadata(PartKind::Other, location)?;
                }
                continue;
            }
            let size = item
                .properties
                .iter()
                .find_map(|number| self.sizes.iter().find(|size| size.number == *number));
            let Some(SizeProperty { width, height, .. }) = size else {
                return Err(invalid("has an image item without a size"));
            };
            self.scanner.add_frame(*width, *height)?;
            if self.primary_id == Some(item.id) {
                self.scanner.set_size(*width, *height)?;
                has_primary = true;
            }
        }
        if !has_primary {
            return Err(invalid("contains no image"));
        }
        Ok(())
    }

    fn is_data(&self, location: &Range<usize>) -> bool {
        self.data
            .iter()
            .any(|data| data.start <= location.start && location.end <= data.end)
    }

    fn add_metadata(&mut self, kind: PartKind, range: Range<usize>) -> Result<(), ScanError> {
        if range.is_empty() {
            return Ok(());
        }
        self.scanner.add_part(MetadataPart::fixed(kind, range))
    }

    /// The boxes that fill a range.
    fn read_boxes(&mut self, range: Range<usize>) -> Result<Vec<FileBox>, ScanError> {
        let mut boxes = Vec::new();
        let mut at = range.start;
        while at < range.end {
            self.count_box()?;
            let next = read_box(self.scanner.bytes, at..range.end)?;
            at = next.content.end;
            boxes.push(next);
        }
        Ok(boxes)
    }

    fn count_box(&mut self) -> Result<(), ScanError> {
        let Some(left) = self.boxes_left.checked_sub(1) else {
            return Err(invalid(format!(
                "has more than the {MAX_BOXES} boxes allowed"
            )));
        };
        self.boxes_left = left;
        Ok(())
    }
}

fn is_image_kind(kind: [u8; 4]) -> bool {
    [*b"av01", *b"grid", *b"iovl", *b"iden", *b"tmap"].contains(&kind)
}

/// The range that starts at the sum of the offsets.
fn to_range(offsets: [u64; 3], length: u64) -> Result<Range<usize>, ScanError> {
    let to_index = |number: Option<u64>| {
        number
            .and_then(|number| usize::try_from(number).ok())
            .ok_or(ScanError::Truncated)
    };
    let start = offsets
        .into_iter()
        .try_fold(0_u64, |sum, offset| sum.checked_add(offset));
    let end = start.and_then(|start| start.checked_add(length));
    Ok(to_index(start)?..to_index(end)?)
}
