//! Text from outside, made safe to print.

use std::time::{Duration, UNIX_EPOCH};

use crate::guard::Guard;

/// The last second of the year 9999, since 1970.
const MAX_SECS: u64 = 253_402_300_799;

/// Cuts the text to `max` bytes and removes what a terminal would obey or a reader could not see.
///
/// Control characters and line ends become spaces. Invisible characters are removed: those that change
/// the direction of a line, and those that hide or break up other text.
#[must_use]
pub fn plain(text: &str, max: usize) -> String {
    let max = Guard::TextLength.limit(max);
    let cut = text.get(..text.floor_char_boundary(max)).unwrap_or(text);
    cut.chars()
        .filter(|letter| !Guard::TextInvisible.applies(is_invisible(*letter)))
        .map(|letter| {
            if Guard::TextControl.applies(is_control(letter)) {
                ' '
            } else {
                letter
            }
        })
        .collect()
}

/// Is the text one line of visible characters, at most `max` bytes long?
#[must_use]
pub fn is_plain(text: &str, max: usize) -> bool {
    plain(text, max) == text
}

/// A time in UTC, such as `2026-11-30 17:52:00`. `secs` are seconds since 1970.
#[must_use]
pub fn utc_time(secs: i64) -> String {
    let secs = u64::try_from(secs).unwrap_or_default();
    let since = Duration::from_secs(secs.min(MAX_SECS));
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Source: Unicode's Default_Ignorable_Code_Point and Bidi_Control, and the annotation characters.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, max: usize, expected: &str) {
        assert_eq!(plain(text, max), expected, "{text:?}");
        assert_eq!(is_plain(text, max), text == expected, "{text:?}");
    }

    #[test]
    fn plain_replaces_control_characters() {
        check(
            "a\x1b[31mred\x07\r\nb\u{9b}2J\u{85}c",
            100,
            "a [31mred   b 2J c",
        );
        check("two\u{2028}lines\u{2029}", 100, "two lines ");
    }

    #[test]
    fn plain_removes_invisible_characters() {
        check("sk\u{200b}-\u{feff}ey", 100, "sk-ey");
        check("abc\u{202e}gnp.exe\u{2066}", 100, "abcgnp.exe");
        let tags: String = "ignore this".chars().filter_map(tag).collect();
        check(&format!("a{tags}b\u{fe0f}\u{e0101}"), 1000, "ab");
    }

    /// The letter as a Unicode tag, which language models read although it is invisible.
    fn tag(letter: char) -> Option<char> {
        char::from_u32(0xe0000 + letter as u32)
    }

    #[test]
    fn plain_cuts_between_characters() {
        check("aé", 2, "a");
        check("aé", 3, "aé");
        check("", 0, "");
        check(
            "Ein ruhiger Hügel, 静かな丘, تل هادئ 😀",
            100,
            "Ein ruhiger Hügel, 静かな丘, تل هادئ 😀",
        );
    }
}
