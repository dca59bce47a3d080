//! Events as Redis has them.
//!
//! Others may write into Redis too, so what is read is parsed with limits, and an invalid entry is ignored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use pinhole_ground::json_bounds::JsonBounds;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Length of an event in bytes of JSON. A longer one reaches listeners of its own host only; others get a gap.
pub const MAX_EVENT_BYTES: usize = 2 << 20;
/// Length of an event that a stream stores. In place of a longer one it stores a gap.
pub const MAX_STORED_EVENT_BYTES: usize = 64 << 10;
/// Length of an event with its envelope.
const MAX_ENTRY_BYTES: usize = MAX_EVENT_BYTES + 1_000;
/// Length of the name of a process.
const MAX_ORIGIN_BYTES: usize = 64;
/// Bounds of an event's JSON.
const BOUNDS: JsonBounds = JsonBounds {
    max_values: 100_000,
    max_depth: 64,
    max_string_bytes: MAX_EVENT_BYTES,
};

/// The position of an entry in a stream: milliseconds and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    ms: u64,
    number: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, number) = text.split_once('-').ok_or(())?;
        let parse = |digits: &str| {
            // The parser would accept a sign.
            if digits.starts_with('+') {
                return Err(());
            }
            digits.parse().map_err(|_| ())
        };
        Ok(Self {
            ms: parse(ms)?,
            number: parse(number)?,
        })
    }
}

/// An event of a process.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The process that emitted it.
    pub origin: Arc<str>,
    /// Ascending within the process.
    pub number: u64,
    /// `None` in place of events that were lost.
    pub event: Option<Value>,
}

#[derive(Serialize)]
struct WrittenEntry<'a> {
    o: &'a str,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReadEntry {
    o: String,
    n: u64,
    #[serde(default)]
    e: Option<Value>,
}

/// The JSON of an entry. Without an event, it is a gap.
pub(super) fn write(origin: &str, number: u64, event: Option<&RawValue>) -> String {
    let entry = WrittenEntry {
        o: origin,
        n: number,
        e: event,
    };
    // Cannot fail: strings, numbers and JSON only.
    serde_json::to_string(&entry).unwrap_or_default()
}

/// The entry that Redis has. `None` if it is invalid.
pub(super) fn parse(json: &[u8]) -> Option<Entry> {
    if json.len() > MAX_ENTRY_BYTES {
        return None;
    }
    BOUNDS.check(json).ok()?;
    let ReadEntry { o, n, e } = serde_json::from_slice(json).ok()?;
    if o.len() > MAX_ORIGIN_BYTES {
        return None;
    }
    Some(Entry {
        origin: o.into(),
        number: n,
        event: e,
    })
}

/// The entry of a published message, with its position in the stream unless it is a state. `None` if it is invalid.
pub(super) fn parse_message(message: &[u8]) -> Option<(Option<StreamId>, Entry)> {
    let space = message.iter().position(|byte| *byte == b' ')?;
    let (position, json) = message.split_at_checked(space)?;
    let position = match position {
        b"-" => None,
        id => Some(std::str::from_utf8(id).ok()?.parse().ok()?),
    };
    Some((position, parse(json.get(1..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_read_as_it_was_written() {
        let event = RawValue::from_string(r#"{"data":{"type":"status"}}"#.to_owned()).unwrap();
        let json = write("p", 7, Some(&event));
        let (position, entry) = parse_message(format!("5-1 {json}").as_bytes()).unwrap();
        assert_eq!(position, Some(StreamId { ms: 5, number: 1 }));
        assert_eq!((&*entry.origin, entry.number), ("p", 7));
        assert_eq!(entry.event.unwrap().to_string(), event.get());
        let gap = parse(write("p", 8, None).as_bytes()).unwrap();
        assert!(gap.event.is_none());
    }

    #[test]
    fn foreign_messages_are_ignored() {
        let long = format!(
            r#"- {{"o":"p","n":1,"e":"{}"}}"#,
            "x".repeat(MAX_ENTRY_BYTES)
        );
        let deep = format!(r#"- {{"o":"p","n":1,"e":{}}}"#, "[".repeat(10_000));
        let long_origin = format!(r#"- {{"o":"{}","n":1}}"#, "x".repeat(MAX_ORIGIN_BYTES + 1));
        for message in [
            "",
            "-",
            "- ",
            "x {}",
            "1 {}",
            "1-+2 {}",
            "1-99999999999999999999999 {}",
            r#"- {"o":"p","n":-1}"#,
            r#"- {"o":5,"n":1}"#,
            r#"- {"o":"p","n":1} x"#,
            &long,
            &deep,
            &long_origin,
        ] {
            assert!(parse_message(message.as_bytes()).is_none(), "{message:.40}");
        }
        assert!(parse_message(b"\xff\xfe {}").is_none());
    }

    #[test]
    fn positions_are_ordered_by_number_and_not_by_text() {
        let parse = |text: &str| text.parse::<StreamId>().unwrap();
        assert!(parse("9-10") > parse("9-9"));
        assert!(parse("10-0") > parse("9-99"));
        assert_eq!(parse("10-7").to_string(), "10-7");
    }
}
