//! Text of an upstream: truncation, and the delays that it names.
//!
//! ```
//! use pinhole_sdk::upstream_text::find_delay_ms;
//!
//! assert_eq!(find_delay_ms("rate limited, retry after 20 seconds"), Some(20_000));
//! ```

/// A duration has at most this many terms: hours, minutes, seconds and milliseconds.
const MAX_TERMS: usize = 4;

/// Truncates a text to at most `max_bytes`, and appends `…` if anything is missing.
///
/// ```
/// use pinhole_sdk::upstream_text::truncate;
///
/// assert_eq!(truncate("a fox", 5), "a fox");
/// assert_eq!(truncate("a red fox", 5), "a red…");
/// ```
#[must_use]
pub fn truncate(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.into();
    }
    let end = text.floor_char_boundary(max_bytes);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// The first line that is not blank, trimmed; empty if all lines are blank.
///
/// ```
/// use pinhole_sdk::upstream_text::first_line;
///
/// assert_eq!(first_line("\n  out of memory\n at 0x1"), "out of memory");
/// ```
#[must_use]
pub fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}

/// Finds the delay in a message such as `try again in 1m30s` or `retry after 20 seconds`, in
/// milliseconds.
///
/// ```
/// use pinhole_sdk::upstream_text::find_delay_ms;
///
/// assert_eq!(find_delay_ms("Please try again in 1m30s."), Some(90_000));
/// ```
#[must_use]
pub fn find_delay_ms(message: &str) -> Option<u64> {
    let lowercase = message.to_lowercase();
    let (_, after) = ["again in ", "retry after ", "retry in "]
        .iter()
        .find_map(|phrase| lowercase.split_once(phrase))?;
    parse_duration_ms(after)
}

/// Parses the duration at the start of a text, such as `32s`, `0.5s` or `1m30s`, in milliseconds.
///
/// ```
/// use pinhole_sdk::upstream_text::parse_duration_ms;
///
/// assert_eq!(parse_duration_ms("1m30s"), Some(90_000));
/// assert_eq!(parse_duration_ms("soon"), None);
/// ```
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = None;
    for _ in 0..MAX_TERMS {
        let Some((term, after)) = parse_term_ms(rest) else {
            break;
        };
        sum = Some(sum.unwrap_or(0.0) + term);
        rest = after;
    }
    // The cast saturates.
    sum.map(|ms| ms as u64)
}

/// Parses the number and unit at the start of a text; also returns the rest of the text.
fn parse_term_ms(text: &str) -> Option<(f64, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, after_number) = text.split_at(number_end);
    let unit_start = after_number.trim_start();
    let unit_end = unit_start.find(|c: char| !c.is_ascii_alphabetic());
    let (unit, rest) = unit_start.split_at(unit_end.unwrap_or(unit_start.len()));
    let unit_ms = match unit {
        "ms" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "second" | "seconds" => 1000.0,
        "m" | "min" | "minute" | "minutes" => 60_000.0,
        "h" | "hour" | "hours" => 3_600_000.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit_ms, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_delay_ms_reads_common_phrases() {
        for (message, expected) in [
            ("Please try again in 12s. Contact us", Some(12_000)),
            ("try again in 1m30s", Some(90_000)),
            ("Please retry in 32.5s.", Some(32_500)),
            ("Retry after 20 seconds", Some(20_000)),
            ("try again in 250ms", Some(250)),
            ("try again later", None),
            ("again in ", None),
            ("again in 1.2.3s", None),
        ] {
            assert_eq!(find_delay_ms(message), expected, "{message}");
        }
        assert_eq!(parse_duration_ms("0.5s"), Some(500));
        assert_eq!(parse_duration_ms("s"), None);
    }

    #[test]
    fn truncate_splits_between_characters() {
        assert_eq!(truncate("abc", 3), "abc");
        assert_eq!(truncate("aüb", 2), "a…");
        assert_eq!(first_line("\n  one \ntwo"), "one");
        assert_eq!(first_line(""), "");
    }
}
