//! The `Range` header.

use std::ops::Range;

/// The bytes that a `Range` header requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// All bytes, as without the header: it does not contain exactly one valid range of bytes.
    Whole,
    /// A part that is not empty.
    Part(Range<u64>),
    /// Only bytes beyond the end.
    Unsatisfiable,
}

/// Parses a `Range` header for a file of `length` bytes.
///
/// Source: RFC 9110, 14.1.2. A server may respond to several ranges with the whole file.
pub(super) fn parse_range(header: &str, length: u64) -> ByteRange {
    let Some(bounds) = parse_bounds(header) else {
        return ByteRange::Whole;
    };
    let range = match bounds {
        (None, None) => return ByteRange::Whole,
        (Some(first), Some(last)) if last < first => return ByteRange::Whole,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) => first..length,
        (None, Some(tail)) => length.saturating_sub(tail)..length,
    };
    if range.is_empty() {
        return ByteRange::Unsatisfiable;
    }
    ByteRange::Part(range)
}

/// The first and last byte; without a first byte, the number of bytes from the end.
fn parse_bounds(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((parse_bound(first)?, parse_bound(last)?))
}

/// `Some(None)` if the bound is omitted. A number that is too large for `u64` is the maximum.
fn parse_bound(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: ByteRange) {
        assert_eq!(parse_range(header, 100), expected, "{header}");
    }

    #[test]
    fn parse_range_returns_part_for_one_range() {
        check("bytes=0-0", ByteRange::Part(0..1));
        check("bytes=10-19", ByteRange::Part(10..20));
        check("bytes=10-", ByteRange::Part(10..100));
        check("bytes=10-4711", ByteRange::Part(10..100));
        check("bytes=99-99", ByteRange::Part(99..100));
        check("bytes=-1", ByteRange::Part(99..100));
        check("bytes=-4711", ByteRange::Part(0..100));
        check("Bytes= 10-19 ", ByteRange::Part(10..20));
        check("bytes=1-99999999999999999999999", ByteRange::Part(1..100));
    }

    #[test]
    fn parse_range_rejects_range_beyond_end() {
        check("bytes=100-", ByteRange::Unsatisfiable);
        check("bytes=100-200", ByteRange::Unsatisfiable);
        check("bytes=-0", ByteRange::Unsatisfiable);
        check("bytes=99999999999999999999999-", ByteRange::Unsatisfiable);
    }

    #[test]
    fn parse_range_ignores_anything_but_one_range() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=9-5",
            "bytes=0-1,5-6",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=a-b",
            "bytes=--1",
            "items=0-1",
            "0-1",
            "bytes=0x1-2",
        ] {
            check(header, ByteRange::Whole);
        }
    }
}
