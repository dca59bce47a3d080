//! Words of an upstream: bounded, without keys, and the delays they tell.

/// Of the terms of a delay: hours, minutes, seconds and milliseconds.
const MAX_TERMS: usize = 4;

/// The delay in `try again in 1m30s` or `retry after 20 seconds`, in milliseconds.
pub(super) fn delay_ms(words: &str) -> Option<u64> {
    let words = words.to_lowercase();
    let (_, after) = ["again in ", "retry after ", "retry in "]
        .iter()
        .find_map(|sign| words.split_once(sign))?;
    let mut rest = after;
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

/// The text without what looks like a key: OpenAI repeats part of a wrong one.
pub(super) fn without_keys(text: &str) -> String {
    let mut cut = String::with_capacity(text.len());
    let mut after_provided = false;
    for word in text.split_inclusive(char::is_whitespace) {
        match key_start(word) {
            Some(at) => push_without_key(&mut cut, word, at),
            None if after_provided => push_without_key(&mut cut, word, 0),
            None => cut.push_str(word),
        }
        after_provided = word.trim_end() == "provided:";
    }
    cut
}

/// Where `sk-` begins in a word, unless it is the middle of another, as in `risk-free`.
fn key_start(word: &str) -> Option<usize> {
    let mut starts = word.match_indices("sk-").map(|(at, _)| at);
    starts.find(|at| {
        let before = word
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        !before.is_some_and(char::is_alphanumeric)
    })
}

/// Keeps what is before the key, and the punctuation after it.
fn push_without_key(text: &mut String, word: &str, at: usize) {
    let (before, key) = word.split_at(at);
    let tail = key.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '*');
    text.push_str(before);
    text.push_str(if key.starts_with("sk-") {
        "sk-…"
    } else {
        "…"
    });
    text.push_str(key.get(tail.len()..).unwrap_or_default());
}

/// At most so many bytes of a text.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut() {
        let check = |text, expected| assert_eq!(without_keys(text), expected);
        check("key: sk-proj-ab**cd. Find it", "key: sk-…. Find it");
        check("'sk-a...b', (sk-c) sk-d", "'sk-…', (sk-…) sk-…");
        check("API key provided: abc123.", "API key provided: ….");
        check("a risk-free task-list", "a risk-free task-list");
        check("Ask-sk-a", "Ask-sk-…");
        check("", "");
    }

    #[test]
    fn a_delay_is_read_from_words() {
        let check = |text, expected| assert_eq!(delay_ms(text), expected);
        check("Please try again in 12s.", Some(12_000));
        check("try again in 350ms", Some(350));
        check("Try again in 1.5s. Visit", Some(1500));
        check("try again in 1m30s", Some(90_000));
        check("Please retry after 20 seconds.", Some(20_000));
        check("try again in a while", None);
        check("try again in 5", None);
        check("try again later", None);
        check("try again in 99999999999999999999999h", Some(u64::MAX));
    }

    #[test]
    fn a_cut_text_ends_at_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abüc", 3), "ab…");
    }
}
