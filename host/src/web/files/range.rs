//! Which bytes a request asks for.

use std::ops::Range;

/// What a `Range` header comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All bytes: what is no single range of bytes is not heeded.
    Whole,
    /// These; at least one.
    Part(Range<u64>),
    /// Bytes behind the end.
    Unsatisfiable,
}

/// Reads the value of a `Range` header for `length` bytes.
///
/// Source: RFC 9110, 14.1.2. Several ranges get the whole, as a server may.
pub(super) fn asked(header: &str, length: u64) -> Asked {
    let Some(range) = single(header) else {
        return Asked::Whole;
    };
    let range = match range {
        (None, None) => return Asked::Whole,
        (Some(first), Some(last)) if last < first => return Asked::Whole,
        (Some(first), last) => {
            first
                ..last
                    .map_or(length, |last| last.saturating_add(1))
                    .min(length)
        }
        (None, Some(tail)) => length.saturating_sub(tail)..length,
    };
    match range.is_empty() {
        true => Asked::Unsatisfiable,
        false => Asked::Part(range),
    }
}

/// First and last byte, or a number of bytes from the end.
fn single(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((number(first)?, number(last)?))
}

/// `Some(None)` for nothing at all. What is too large for any file stays so.
fn number(text: &str) -> Option<Option<u64>> {
    match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Asked) {
        assert_eq!(asked(header, 100), expected, "{header}");
    }

    #[test]
    fn one_range_is_a_part() {
        check("bytes=0-0", Asked::Part(0..1));
        check("bytes=10-19", Asked::Part(10..20));
        check("bytes=10-", Asked::Part(10..100));
        check("bytes=10-4711", Asked::Part(10..100));
        check("bytes=99-99", Asked::Part(99..100));
        check("bytes=-1", Asked::Part(99..100));
        check("bytes=-4711", Asked::Part(0..100));
        check("Bytes= 10-19 ", Asked::Part(10..20));
        check("bytes=1-99999999999999999999999", Asked::Part(1..100));
    }

    #[test]
    fn what_is_behind_the_end_cannot_be_given() {
        check("bytes=100-", Asked::Unsatisfiable);
        check("bytes=100-200", Asked::Unsatisfiable);
        check("bytes=-0", Asked::Unsatisfiable);
        check("bytes=99999999999999999999999-", Asked::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_is_not_heeded() {
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
            check(header, Asked::Whole);
        }
    }
}
