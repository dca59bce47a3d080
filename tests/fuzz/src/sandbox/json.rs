//! A document reads JSON as serde_json does, and cuts it without breaking it.

use bytes::Bytes;
use serde_json::Value;

use crate::egress::Redactor;
use crate::engine::document::Document;
use crate::engine::echo::Echo;

/// Texts looked up in one document.
const MAX_LOOKUPS: usize = 1000;
/// A number's shortest spelling may grow by so much when it is written again.
const MAX_GROWTH: usize = 8;

/// In the first line the longest string that stays whole and a JSON pointer, then a JSON text.
///
/// The text is read as serde_json reads it; every pointer leads to the same text; base64 decodes to
/// what it says; and the skeleton is JSON of the same shape whose strings are beginnings.
pub fn json(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, text) = bytes.split_at(end.unwrap_or(bytes.len()));
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let line = String::from_utf8_lossy(line);
    let (max, pointer) = line.split_once(' ').unwrap_or((&line, ""));
    let max = max.parse().unwrap_or(64_u32);
    // By this name serde_json marks texts within texts for itself.
    if String::from_utf8_lossy(text).contains("$serde_json") {
        return;
    }
    let ours = Document::parse(Bytes::copy_from_slice(text));
    let (document, value) = match (ours, serde_json::from_slice::<Value>(text)) {
        (Ok(document), Ok(value)) => (document, value),
        (Err(_), Err(_)) => return,
        (Ok(_), Err(error)) => panic!("serde_json refuses it: {error}"),
        (Err(why), Ok(_)) => return assert!(why.contains("too many values"), "{why}"),
    };
    check_at(&document, pointer, value.pointer(pointer));
    check_all(
        &document,
        &mut String::new(),
        &value,
        &mut MAX_LOOKUPS.clone(),
    );

    let nothing_secret = Echo::new(Redactor::default().into(), "fuzz", "fuzz");
    let skeleton = document.skeleton(max, &nothing_secret);
    assert!(skeleton.len() <= text.len() * MAX_GROWTH + 8);
    let cut: Value = serde_json::from_str(&skeleton).expect("a skeleton is JSON");
    check_cut(&cut, &value, max as usize);
}

fn check_at(document: &Document, pointer: &str, value: Option<&Value>) {
    let text = value.and_then(Value::as_str);
    assert_eq!(document.text_at(pointer).ok(), text, "at {pointer:?}");
    match (document.base64_at(pointer), text) {
        (Ok(decoded), Some(text)) => assert_eq!(decoded, decode(text), "{text:?}"),
        (Ok(_), None) => panic!("there is no text at {pointer:?}"),
        (Err(why), Some(text)) => assert!(!is_base64(text), "{text:?}: {why}"),
        (Err(_), None) => {}
    }
}

/// Looks up every value under this one.
fn check_all(document: &Document, pointer: &mut String, value: &Value, left: &mut usize) {
    let Some(less) = left.checked_sub(1) else {
        return;
    };
    *left = less;
    check_at(document, pointer, Some(value));
    let length = pointer.len();
    let mut under = |step: &str, value| {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        check_all(document, pointer, value, left);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                under(&index.to_string(), item);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                under(key, field);
            }
        }
        _ => {}
    }
}

fn check_cut(cut: &Value, whole: &Value, max: usize) {
    match (cut, whole) {
        (Value::String(cut), Value::String(whole)) if whole.len() > max => {
            assert!(
                whole.starts_with(cut.as_str()),
                "{cut:?} begins no {whole:?}"
            );
            // A character that would be split is left out.
            assert!(cut.len() <= 32 && cut.len() + 4 > 32.min(whole.len()));
        }
        // Digits beyond the precision may differ.
        (Value::Number(cut), Value::Number(whole)) if cut.is_f64() => {
            let (cut, whole) = (cut.as_f64().unwrap(), whole.as_f64().unwrap());
            assert!((cut - whole).abs() <= whole.abs() * 1e-12, "{cut} {whole}");
        }
        (Value::Array(cut), Value::Array(whole)) => {
            assert_eq!(cut.len(), whole.len());
            for (cut, whole) in cut.iter().zip(whole) {
                check_cut(cut, whole, max);
            }
        }
        (Value::Object(cut), Value::Object(whole)) => {
            // Keys that were cut may have become the same.
            if whole.keys().any(|key| key.len() > max) {
                return assert!(cut.len() <= whole.len());
            }
            assert!(cut.keys().eq(whole.keys()));
            for (cut, whole) in cut.values().zip(whole.values()) {
                check_cut(cut, whole, max);
            }
        }
        (cut, whole) => assert_eq!(cut, whole),
    }
}

/// Is it base64 in its usual spelling?
fn is_base64(text: &str) -> bool {
    let standard = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    text.len().is_multiple_of(4) && text.bytes().all(standard)
}

/// What the base64 in a text or data URL says, six bits after six bits.
fn decode(text: &str) -> Vec<u8> {
    let text = match text.strip_prefix("data:") {
        Some(url) => url.split_once(',').map_or("", |(_, text)| text),
        None => text,
    };
    let (mut decoded, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => continue,
            other => {
                assert!(other.is_ascii_whitespace(), "{other:?} is no base64");
                continue;
            }
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((held >> bits & 0xff) as u8);
        }
    }
    decoded
}
