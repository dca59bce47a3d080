//! Removes API keys from the upstream's texts.

/// Replaces everything that looks like a key. OpenAI repeats part of a wrong key in its message.
pub(super) fn redact_keys(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut follows_provided = false;
    for token in text.split_inclusive(char::is_whitespace) {
        match key_start(token) {
            Some(start) => push_redacted(&mut redacted, token, start),
            None if follows_provided => push_redacted(&mut redacted, token, 0),
            None => redacted.push_str(token),
        }
        follows_provided = token.trim_end() == "provided:";
    }
    redacted
}

/// The position of `sk-` in a token, unless it is part of another word as in `risk-free`.
fn key_start(token: &str) -> Option<usize> {
    token
        .match_indices("sk-")
        .map(|(start, _)| start)
        .find(|start| {
            let before = token.get(..*start).unwrap_or_default();
            !before
                .chars()
                .next_back()
                .is_some_and(char::is_alphanumeric)
        })
}

/// Appends a token without its key. The text before the key and the punctuation after it remain.
fn push_redacted(output: &mut String, token: &str, start: usize) {
    let (before, key_and_tail) = token.split_at(start);
    let key = key_and_tail.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '*');
    output.push_str(before);
    output.push_str(if key_and_tail.starts_with("sk-") {
        "sk-…"
    } else {
        "…"
    });
    output.push_str(key_and_tail.get(key.len()..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redact_keys_replaces_keys_only() {
        let check = |text, expected| assert_eq!(redact_keys(text), expected);
        check("key: sk-proj-ab**cd. Find it", "key: sk-…. Find it");
        check("'sk-a...b', (sk-c) sk-d", "'sk-…', (sk-…) sk-…");
        check("API key provided: abc123.", "API key provided: ….");
        check("a risk-free task-list", "a risk-free task-list");
        check("Ask-sk-a", "Ask-sk-…");
        check("", "");
    }
}
