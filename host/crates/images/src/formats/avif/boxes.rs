//! Reading of boxes and the numbers in them.

use std::ops::Range;

use crate::scanner::ScanError;

pub(super) struct FileBox {
    pub(super) name: [u8; 4],
    /// The box without its header.
    pub(super) content: Range<usize>,
}

/// Reads the header of the box at the start of a range.
pub(super) fn read_box(bytes: &[u8], range: Range<usize>) -> Result<FileBox, ScanError> {
    let mut reader = BoxReader::new(bytes, range.clone());
    let short_length = reader.read_uint(4)?;
    let name = reader.read_array()?;
    let length = match short_length {
        // To the end of the range.
        0 => range.len(),
        // A long length follows.
        1 => usize::try_from(reader.read_uint(8)?).unwrap_or(usize::MAX),
        length => usize::try_from(length).unwrap_or(usize::MAX),
    };
    let start = reader.rest().start;
    let end = range
        .start
        .checked_add(length)
        .filter(|end| (start..=range.end).contains(end))
        .ok_or(ScanError::Truncated)?;
    Ok(FileBox {
        name,
        content: start..end,
    })
}

/// Reads numbers in a range of the file.
pub(super) struct BoxReader<'a> {
    bytes: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> BoxReader<'a> {
    pub(super) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes,
            position: range.start,
            end: range.end,
        }
    }

    pub(super) fn read_array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let rest = self.bytes.get(self.position..self.end).unwrap_or_default();
        let array = rest.first_chunk().copied().ok_or(ScanError::Truncated)?;
        self.position += N;
        Ok(array)
    }

    /// A big-endian number of `length` bytes, at most eight.
    pub(super) fn read_uint(&mut self, length: u8) -> Result<u64, ScanError> {
        let mut number = 0;
        for _ in 0..length {
            let [byte] = self.read_array()?;
            number = (number << 8) | u64::from(byte);
        }
        Ok(number)
    }

    /// A number of four bytes, or of two.
    pub(super) fn read_id(&mut self, is_long: bool) -> Result<u32, ScanError> {
        let number = self.read_uint(if is_long { 4 } else { 2 })?;
        Ok(u32::try_from(number).unwrap_or_default())
    }

    /// The version of a full box. Skips its flags.
    pub(super) fn read_version(&mut self) -> Result<u8, ScanError> {
        let [version, _, _, _] = self.read_array()?;
        Ok(version)
    }

    /// The range that was not read.
    pub(super) fn rest(&self) -> Range<usize> {
        self.position..self.end
    }
}
