//! A document accepts all that `serde_json` accepts, with the same values, and its skeleton is valid JSON.

use pinhole_egress::Redactor;
use pinhole_ground::audit::AuditLog;
use pinhole_sandbox::JobContext;
use pinhole_sandbox::internals::{BodyText, CallRedactor, Document};
use serde_json::Value;

/// Values that are looked up in one document.
const MAX_LOOKUPS: usize = 1000;
/// Factor by which the shortest text of a number may grow when it is written again.
const MAX_GROWTH: usize = 8;
/// Length of the longest chunk in which the text arrives, in bytes.
const MAX_CHUNK_BYTES: usize = 2000;
/// Length to which the skeleton cuts a long string, in bytes.
const CUT_BYTES: usize = 32;

/// Input: in the first line the length of the longest uncut string and a JSON pointer, then a JSON text.
///
/// If `serde_json` accepts the text, each pointer finds the same text in the document, base64 decodes to the
/// same bytes, and the skeleton has the same shape, with prefixes of the strings. The skeleton of what only
/// the document accepts is JSON too.
pub fn json(bytes: &[u8]) {
    let line_end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(line_end.unwrap_or(bytes.len()));
    let text = rest.strip_prefix(b"\n").unwrap_or(rest);
    let line = String::from_utf8_lossy(line);
    let (max, pointer) = line.split_once(' ').unwrap_or((&line, ""));
    let max = max.parse().unwrap_or(64_u32);
    // `serde_json` uses this name internally, for numbers and raw values.
    if String::from_utf8_lossy(text).contains("$serde_json") {
        return;
    }
    let body = BodyText::from_chunks(text.chunks((max as usize % MAX_CHUNK_BYTES) + 1));
    let parsed = Document::values_bytes(&body).and_then(|_| Document::parse(body));
    let (document, value) = match (parsed, serde_json::from_slice::<Value>(text)) {
        (Ok(document), Ok(value)) => (document, value),
        (Err(_), Err(_)) => return,
        (Ok(document), Err(_)) => {
            let skeleton = document.skeleton(max, &redactor());
            return drop(serde_json::from_str::<Value>(&skeleton).expect("a skeleton is JSON"));
        }
        (Err(reason), Ok(_)) => {
            return assert!(reason.contains("more than 500000 values"), "{reason}");
        }
    };
    check_at(&document, pointer, value.pointer(pointer));
    let mut lookups_left = MAX_LOOKUPS;
    check_all(&document, &mut String::new(), &value, &mut lookups_left);

    let skeleton = document.skeleton(max, &redactor());
    assert!(skeleton.len() <= text.len() * MAX_GROWTH + 8);
    let cut: Value = serde_json::from_str(&skeleton).expect("a skeleton is JSON");
    check_cut(&cut, &value, max as usize);
}

fn redactor() -> CallRedactor {
    CallRedactor::new(
        Redactor::default().into(),
        AuditLog::default(),
        "fuzz",
        &JobContext::new("fuzz".to_owned()),
    )
}

fn check_at(document: &Document, pointer: &str, value: Option<&Value>) {
    let text = value.and_then(Value::as_str);
    assert_eq!(
        document.text_at(pointer).ok().as_deref(),
        text,
        "at {pointer:?}"
    );
    match (document.base64_at(pointer), text) {
        (Ok(decoded), Some(text)) => assert_eq!(decoded, decode_base64(text), "{text:?}"),
        (Ok(_), None) => panic!("no text at {pointer:?}"),
        (Err(reason), Some(text)) => assert!(!is_base64(text), "{text:?}: {reason}"),
        (Err(_), None) => {}
    }
}

/// Looks up this value and all values in it.
fn check_all(document: &Document, pointer: &mut String, value: &Value, lookups_left: &mut usize) {
    let Some(left) = lookups_left.checked_sub(1) else {
        return;
    };
    *lookups_left = left;
    check_at(document, pointer, Some(value));
    let length = pointer.len();
    let mut check_child = |key: &str, child| {
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        check_all(document, pointer, child, lookups_left);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_child(&index.to_string(), item);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                check_child(key, field);
            }
        }
        _ => {}
    }
}

/// Compares a value of the skeleton with the value of the document.
fn check_cut(cut: &Value, full: &Value, max: usize) {
    match (cut, full) {
        (Value::String(cut), Value::String(full)) if full.len() > max => {
            assert!(
                full.starts_with(cut.as_str()),
                "{cut:?} is not a prefix of {full:?}"
            );
            // A character that would be split is left out.
            assert!(cut.len() <= CUT_BYTES && cut.len() + 4 > CUT_BYTES.min(full.len()));
        }
        // Digits beyond the precision may differ.
        (Value::Number(cut), Value::Number(full)) if cut.is_f64() => {
            let (cut, full) = (cut.as_f64().unwrap(), full.as_f64().unwrap());
            assert!((cut - full).abs() <= full.abs() * 1e-12, "{cut} {full}");
        }
        (Value::Array(cut_items), Value::Array(items)) => {
            assert_eq!(cut_items.len(), items.len());
            for (cut_item, item) in cut_items.iter().zip(items) {
                check_cut(cut_item, item, max);
            }
        }
        (Value::Object(cut_fields), Value::Object(fields)) => {
            // Keys may be equal after they are cut.
            if fields.keys().any(|key| key.len() > max) {
                return assert!(cut_fields.len() <= fields.len());
            }
            assert!(cut_fields.keys().eq(fields.keys()));
            for (cut_field, field) in cut_fields.values().zip(fields.values()) {
                check_cut(cut_field, field, max);
            }
        }
        (cut, full) => assert_eq!(cut, full),
    }
}

/// Is the text base64 in its canonical form?
fn is_base64(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    text.len().is_multiple_of(4) && text.bytes().all(is_digit)
}

/// Decodes the base64 in a text or data URL, six bits at a time.
fn decode_base64(text: &str) -> Vec<u8> {
    let digits = match text.strip_prefix("data:") {
        Some(url) => url.split_once(',').map_or("", |(_, digits)| digits),
        None => text,
    };
    let (mut decoded, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => continue,
            other => {
                assert!(other.is_ascii_whitespace(), "{other:?} is not base64");
                continue;
            }
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((buffer >> bits & 0xff) as u8);
        }
    }
    decoded
}
