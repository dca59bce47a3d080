//! An upstream's words without its keys.

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
}
