//! Words of an upstream, made fit for a person: bounded, and with the delays they tell.

/// Terms of a delay that are read: hours, minutes, seconds and milliseconds.
const MAX_TERMS: usize = 4;

/// At most `max` bytes of a text, with `…` where something is missing.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// The first line that holds anything, without the spaces around it; empty where there is none.
#[must_use]
pub fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}

/// The delay in `try again in 1m30s` or `retry after 20 seconds`, in milliseconds.
#[must_use]
pub fn delay_ms(words: &str) -> Option<u64> {
    let words = words.to_lowercase();
    let (_, after) = ["again in ", "retry after ", "retry in "]
        .iter()
        .find_map(|sign| words.split_once(sign))?;
    duration_ms(after)
}

/// The time at the beginning of a text, such as `32s`, `0.5s` or `1m30s`, in milliseconds.
#[must_use]
pub fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut ms = None;
    for _ in 0..MAX_TERMS {
        let Some((term, after)) = term_ms(rest) else {
            break;
        };
        ms = Some(ms.unwrap_or(0.0) + term);
        rest = after;
    }
    // A float-to-integer cast saturates.
    ms.map(|ms| ms as u64)
}

/// A number and its unit at the beginning of a text, in milliseconds, and what follows them.
fn term_ms(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic());
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
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
    fn a_delay_is_found_in_words() {
        for (words, expected) in [
            ("Please try again in 12s. Contact us", Some(12_000)),
            ("try again in 1m30s", Some(90_000)),
            ("Please retry in 32.5s.", Some(32_500)),
            ("Retry after 20 seconds", Some(20_000)),
            ("try again in 250ms", Some(250)),
            ("try again later", None),
            ("again in ", None),
            ("again in 1.2.3s", None),
        ] {
            assert_eq!(delay_ms(words), expected, "{words}");
        }
        assert_eq!(duration_ms("0.5s"), Some(500));
        assert_eq!(duration_ms("s"), None);
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aüb", 2), "a…");
        assert_eq!(first_line("\n  one \ntwo"), "one");
        assert_eq!(first_line(""), "");
    }
}
