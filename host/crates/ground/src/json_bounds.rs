//! Bounds of a JSON text, checked before it is parsed.
//!
//! A parsed value uses up to thirty times its text, and one that is skipped still needs memory for each
//! level of its depth. So values, depth and strings are counted in the bytes first, which needs no memory.
//! The check does not validate: an invalid text passes, and the parser refuses it.

use crate::guard::{Guard, Refusal};

/// The most that a JSON text may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonBounds {
    /// Values, those of lists and objects included. A key does not count.
    pub max_values: usize,
    /// Lists and objects within each other.
    pub max_depth: usize,
    /// Length of a string or key, in bytes of JSON.
    pub max_string_bytes: usize,
}

impl JsonBounds {
    /// Memory of a parsed value and its key in bytes, without their texts. It is rounded up: an entry of a
    /// map is the largest, and an allocator rounds up too.
    pub const VALUE_BYTES: usize = 160;

    /// Returns the number of values, or slightly more.
    pub fn check(&self, json: &[u8]) -> Result<usize, Refusal> {
        let max_values = Guard::JsonValues.limit(self.max_values);
        let max_depth = Guard::JsonDepth.limit(self.max_depth);
        let max_string_bytes = Guard::JsonStrings.limit(self.max_string_bytes);
        let (mut values, mut depth) = (1, 0_usize);
        let mut rest = json.iter();
        while let Some(byte) = rest.next() {
            match byte {
                b'"' => {
                    let length = string_length(rest.as_slice());
                    if length > max_string_bytes {
                        let reason = format!("a string is longer than {max_string_bytes} bytes");
                        return Err(Guard::JsonStrings.refuse(reason));
                    }
                    // Skips the quotation mark too.
                    rest = rest.as_slice().get(length + 1..).unwrap_or_default().iter();
                }
                b'[' | b'{' => {
                    values += 1;
                    depth += 1;
                    if depth > max_depth {
                        let reason = format!("it is nested deeper than {max_depth} levels");
                        return Err(Guard::JsonDepth.refuse(reason));
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => values += 1,
                _ => {}
            }
            if values > max_values {
                let reason = format!("it has more than {max_values} values");
                return Err(Guard::JsonValues.refuse(reason));
            }
        }
        Ok(values)
    }

    /// The memory of a value parsed from a text of this length with this number of values, in bytes.
    #[must_use]
    pub fn parsed_bytes(text_bytes: usize, values: usize) -> usize {
        values
            .saturating_mul(Self::VALUE_BYTES)
            .saturating_add(text_bytes)
    }
}

/// The length of a string without its quotation marks. The text starts after the first one.
fn string_length(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(rest) = text.get(length..) {
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            return text.len();
        };
        length += found;
        if text.get(length) == Some(&b'"') {
            return length;
        }
        // The escaped byte may be a quotation mark.
        length += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: JsonBounds = JsonBounds {
        max_values: 10,
        max_depth: 3,
        max_string_bytes: 5,
    };

    #[track_caller]
    fn check(json: &str, expected: Result<usize, Guard>) {
        let checked = BOUNDS.check(json.as_bytes());
        assert_eq!(checked.map_err(|it| it.guard.unwrap()), expected, "{json}");
    }

    #[test]
    fn json_bounds_count_values_depth_and_strings() {
        check("", Ok(1));
        check("5", Ok(1));
        check(r#"{"a":[1,2],"b":"x"}"#, Ok(5));
        check("[[[]]]", Ok(4));
        check("[[[[]]]]", Err(Guard::JsonDepth));
        check("[],[],[]", Ok(6));
        check("[0,0,0,0,0,0,0,0,0]", Ok(10));
        check("[0,0,0,0,0,0,0,0,0,0]", Err(Guard::JsonValues));
        check(r#""12345""#, Ok(1));
        check(r#""123456""#, Err(Guard::JsonStrings));
        check(r#"{"123456":1}"#, Err(Guard::JsonStrings));
    }

    #[test]
    fn json_bounds_ignore_what_strings_contain() {
        check(r#"["[[[[","\"[[","\\",",,,"]"#, Ok(5));
        check(r#"["\\\\",1]"#, Ok(3));
        for invalid in [r#"""#, r#""\"#, r#""\""#, r#"["a"#, "]]]]"] {
            check(
                invalid,
                BOUNDS
                    .check(invalid.as_bytes())
                    .map_err(|_| Guard::JsonDepth),
            );
        }
    }
}
