//! No eight bytes of a secret are left in a text, in any spelling.

use std::collections::HashSet;

use crate::egress::Redactor;

/// In a row, these may not be left.
const WINDOW: usize = 8;

/// Longer texts hold nothing else, and take long to look at so simply.
const MAX_BYTES: usize = 4000;

/// In the first line the secret, then a text, in which each `{p}` is the secret, `{h}` its
/// hexadecimal digits, `{%}` its percent-encoding, `{b}`, `{c}` and `{d}` base64 of it after none, one
/// and two other bytes, and `{j}` JSON escapes of it.
///
/// What is shown is as long as the text, and holds no eight bytes of the secret in a row: neither
/// plainly nor as what escapes, percent-encoding, digits or base64 in it stand for. So do its parts
/// side by side.
pub fn redaction(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (secret, text) = text.split_once('\n').unwrap_or((&text, ""));
    if secret.len() < WINDOW || secret.contains('*') {
        return;
    }
    let text = filled(text, secret);
    if text.len() > MAX_BYTES {
        return;
    }
    let redactor = Redactor::new([secret]);
    let shown = redactor.text(&text);
    assert_eq!(shown.len(), text.len(), "another length");
    assert!(
        !is_left(secret, shown.as_bytes()),
        "{shown:?} tells of {secret:?}"
    );
    assert_eq!(redactor.text(&shown), shown, "another look finds more");
    // Escapes are read in more ways than one, lower case counts, and a password by itself.
    let lower = secret.to_ascii_lowercase();
    let told = [secret, &lower].map(|secret| is_left(secret, text.as_bytes()));
    if told == [false, false] && !text.contains('\\') && !secret.contains(':') {
        assert_eq!(shown, text, "took something that was no secret");
    }
    let step = 1 + secret.len() % 11;
    let starts = (0..text.len()).step_by(step);
    let parts: Vec<u8> = starts
        .flat_map(|at| redactor.part(text.as_bytes(), at..at + step).into_owned())
        .collect();
    assert_eq!(parts.len(), text.len());
    assert!(
        !is_left(secret, &parts),
        "parts side by side tell of {secret:?}"
    );
}

fn filled(text: &str, secret: &str) -> String {
    let bytes = secret.as_bytes();
    let each = |spell: &dyn Fn(u8) -> String| bytes.iter().map(|byte| spell(*byte)).collect();
    let base64 = |before: &str| base64_simd::STANDARD.encode_to_string(format!("{before}{secret}"));
    let escapes: String = secret
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    let spellings: [(&str, String); 7] = [
        ("{p}", secret.to_owned()),
        ("{h}", each(&|byte| format!("{byte:02x}"))),
        ("{%}", each(&|byte| format!("%{byte:02X}"))),
        ("{b}", base64("")),
        ("{c}", base64("x")),
        ("{d}", base64("xy")),
        ("{j}", escapes),
    ];
    let fill = |text: String, (mark, spelling): &(&str, String)| text.replace(mark, spelling);
    spellings.iter().fold(text.to_owned(), fill)
}

/// Are eight bytes of the secret in there, in any spelling? Slow, and as simple as can be.
fn is_left(secret: &str, text: &[u8]) -> bool {
    let windows: HashSet<&[u8]> = secret.as_bytes().windows(WINDOW).collect();
    let escaped = unescaped(text);
    let readings = [
        percent_decoded(text),
        percent_decoded(&escaped),
        text.to_vec(),
        escaped,
    ];
    readings.iter().any(|letters| {
        let mut decoded = vec![letters.clone()];
        for begin in 0..2 {
            decoded.extend(runs(letters, is_hex, begin).map(|run| from_hex(&run)));
        }
        for begin in 0..4 {
            decoded.extend(runs(letters, is_base64, begin).map(|run| from_base64(&run)));
        }
        let holds = |bytes: &Vec<u8>| bytes.windows(WINDOW).any(|place| windows.contains(place));
        decoded.iter().any(holds)
    })
}

/// The runs of such letters, each from the `begin`th on; the ends of lines do not break one of base64.
fn runs(letters: &[u8], of: fn(u8) -> bool, begin: usize) -> impl Iterator<Item = Vec<u8>> {
    let joined: Vec<u8> = match of(b'+') {
        true => letters
            .iter()
            .copied()
            .filter(|byte| !b"\r\n".contains(byte))
            .collect(),
        false => letters.to_vec(),
    };
    let runs: Vec<Vec<u8>> = joined
        .split(|byte| !of(*byte))
        .filter_map(|run| Some(run.get(begin..)?.to_vec()))
        .collect();
    runs.into_iter()
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

fn from_hex(digits: &[u8]) -> Vec<u8> {
    let pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn from_base64(letters: &[u8]) -> Vec<u8> {
    let six = |letter: &u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        _ => 63,
    };
    let bits: Vec<u8> = letters
        .iter()
        .flat_map(|letter| (0..6).rev().map(move |bit| six(letter) >> bit & 1))
        .collect();
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    bits.chunks_exact(8).map(byte).collect()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let pair = after
            .get(..2)
            .filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        match pair {
            Some(pair) if *first == b'%' => {
                decoded.extend(from_hex(pair));
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

/// With every escape of JSON as what it stands for, each by itself.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(1..5)
            .filter(|digits| after[0] == b'u' && digits.iter().all(u8::is_ascii_hexdigit));
        match (first, digits, after.first()) {
            (b'\\', Some(digits), _) => {
                let unit = u16::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
                let letter = char::from_u32(unit.into()).unwrap_or('\u{fffd}');
                plain.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                rest = &after[5..];
            }
            (b'\\', None, Some(b'"' | b'/' | b'\\')) => {
                plain.push(after[0]);
                rest = &after[1..];
            }
            (b'\\', None, Some(control @ (b'b' | b'f' | b'n' | b'r' | b't'))) => {
                let place = b"bfnrt".iter().position(|it| it == control);
                plain.push(b"\x08\x0c\n\r\t"[place.unwrap_or_default()]);
                rest = &after[1..];
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_seen_in_every_spelling_and_nowhere_else() {
        let secret = "sk-Proj_9~?>/Qz";
        for spelling in [
            "{p}", "{h}", "x{h}", "{%}", "{b}", "{c}", "{d}", "AAA{b}", "{j}",
        ] {
            let text = filled(&format!("a key: {spelling}!"), secret);
            assert!(is_left(secret, text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "sk-Proj",
            "sk-Proj?9~?>/Q",
            "************",
            "736b2d50726f6a",
        ] {
            assert!(!is_left(secret, text.as_bytes()), "{text}");
        }
    }
}
