//! A redacted text contains no eight bytes of a secret, in any encoding.

use std::collections::HashSet;

use pinhole_egress::Redactor;

/// Consecutive bytes of a secret that must not remain.
const WINDOW_BYTES: usize = 8;
/// Longer texts have no other content, and the simple search here is slow.
const MAX_BYTES: usize = 4000;

/// Input: in the first line the secret, then a text. In the text, each `{p}` stands for the secret, `{h}`
/// for its hexadecimal digits, `{%}` for its percent-encoding, `{b}`, `{c}` and `{d}` for base64 of it
/// after zero, one and two other bytes, and `{j}` for its JSON escapes.
///
/// The redacted text has the same length. It contains no eight consecutive bytes of the secret: neither
/// plain nor as what its escapes, percent-encoding, hexadecimal digits or base64 decode to. The same is
/// true for adjacent ranges.
pub fn redaction(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let (secret, template) = input.split_once('\n').unwrap_or((&input, ""));
    if secret.len() < WINDOW_BYTES || secret.contains('*') {
        return;
    }
    let text = fill(template, secret);
    if text.len() > MAX_BYTES {
        return;
    }
    let redactor = Redactor::new([secret]);
    let redacted = redactor.redact_text(&text);
    assert_eq!(redacted.len(), text.len(), "the length differs");
    assert!(
        !contains_secret(secret, redacted.as_bytes()),
        "{redacted:?} reveals {secret:?}"
    );
    assert_eq!(
        redactor.redact_text(&redacted),
        redacted,
        "a second redaction finds more"
    );
    // The redactor also decodes escapes in other ways, and searches for lower case and for the password
    // part.
    let lower = secret.to_ascii_lowercase();
    let has_secret = [secret, &lower]
        .iter()
        .any(|secret| contains_secret(secret, text.as_bytes()));
    if !has_secret && !text.contains('\\') && !secret.contains(':') {
        assert_eq!(redacted, text, "redacted a text without secrets");
    }
    let step = 1 + secret.len() % 11;
    let ranges: Vec<u8> = (0..text.len())
        .step_by(step)
        .flat_map(|start| {
            redactor
                .redact_range(text.as_bytes(), start..start + step)
                .into_owned()
        })
        .collect();
    assert_eq!(ranges.len(), text.len());
    assert!(
        !contains_secret(secret, &ranges),
        "adjacent ranges reveal {secret:?}"
    );
}

fn fill(template: &str, secret: &str) -> String {
    let encode = |encode: &dyn Fn(u8) -> String| secret.bytes().map(encode).collect::<String>();
    let base64 = |before: &str| base64_simd::STANDARD.encode_to_string(format!("{before}{secret}"));
    let escapes: String = secret
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    [
        ("{p}", secret.to_owned()),
        ("{h}", encode(&|byte| format!("{byte:02x}"))),
        ("{%}", encode(&|byte| format!("%{byte:02X}"))),
        ("{b}", base64("")),
        ("{c}", base64("x")),
        ("{d}", base64("xy")),
        ("{j}", escapes),
    ]
    .iter()
    .fold(template.to_owned(), |text, (mark, encoded)| {
        text.replace(mark, encoded)
    })
}

/// Does the text contain eight bytes of the secret in any encoding? Slow, and as simple as possible.
fn contains_secret(secret: &str, text: &[u8]) -> bool {
    let windows: HashSet<&[u8]> = secret.as_bytes().windows(WINDOW_BYTES).collect();
    let unescaped = decode_json_escapes(text);
    let readings = [
        percent_decode(text),
        percent_decode(&unescaped),
        text.to_vec(),
        unescaped,
    ];
    readings.iter().any(|reading| {
        let mut decoded = vec![reading.clone()];
        for skip in 0..2 {
            decoded.extend(runs(reading, is_hex, skip).iter().map(|run| from_hex(run)));
        }
        for skip in 0..4 {
            let base64_runs = runs(reading, is_base64, skip);
            decoded.extend(base64_runs.iter().map(|run| from_base64(run)));
        }
        decoded.iter().any(|bytes| {
            bytes
                .windows(WINDOW_BYTES)
                .any(|window| windows.contains(window))
        })
    })
}

/// The runs of bytes that are digits, each without its first `skip` bytes. Line ends do not interrupt a
/// run of base64.
fn runs(text: &[u8], is_digit: fn(u8) -> bool, skip: usize) -> Vec<Vec<u8>> {
    let is_in_base64 = is_digit(b'+');
    let joined: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !is_in_base64 || !b"\r\n".contains(byte))
        .collect();
    joined
        .split(|byte| !is_digit(*byte))
        .filter_map(|run| Some(run.get(skip..)?.to_vec()))
        .collect()
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

fn from_hex(digits: &[u8]) -> Vec<u8> {
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn from_base64(digits: &[u8]) -> Vec<u8> {
    let value_of = |digit: &u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        _ => 63,
    };
    let bits: Vec<u8> = digits
        .iter()
        .flat_map(|digit| (0..6).rev().map(move |bit| value_of(digit) >> bit & 1))
        .collect();
    bits.chunks_exact(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit))
        .collect()
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some(digits) if *first == b'%' => {
                decoded.extend(from_hex(digits));
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

/// Decodes each JSON escape by itself.
fn decode_json_escapes(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(1..5)
            .filter(|digits| after[0] == b'u' && digits.iter().all(u8::is_ascii_hexdigit));
        match (first, digits, after.first()) {
            (b'\\', Some(digits), _) => {
                let unit = u16::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
                let letter = char::from_u32(unit.into()).unwrap_or('\u{fffd}');
                decoded.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                rest = &after[5..];
            }
            (b'\\', None, Some(b'"' | b'/' | b'\\')) => {
                decoded.push(after[0]);
                rest = &after[1..];
            }
            (b'\\', None, Some(control @ (b'b' | b'f' | b'n' | b'r' | b't'))) => {
                let index = b"bfnrt".iter().position(|name| name == control);
                decoded.push(b"\x08\x0c\n\r\t"[index.unwrap_or_default()]);
                rest = &after[1..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_secret_finds_every_encoding_and_nothing_else() {
        let secret = "sk-Proj_9~?>/Qz";
        for encoding in [
            "{p}", "{h}", "x{h}", "{%}", "{b}", "{c}", "{d}", "AAA{b}", "{j}",
        ] {
            let text = fill(&format!("a key: {encoding}!"), secret);
            assert!(contains_secret(secret, text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "sk-Proj",
            "sk-Proj?9~?>/Q",
            "************",
            "736b2d50726f6a",
        ] {
            assert!(!contains_secret(secret, text.as_bytes()), "{text}");
        }
    }
}
