//! Removes API keys from the upstream's texts.

/// The prefix of Google's keys.
const KEY_PREFIX: &str = "AIza";

/// Replaces everything that looks like a key.
pub(super) fn redact_keys(text: &str) -> String {
    let mut pieces = text.split(KEY_PREFIX);
    let mut redacted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_key_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        redacted.push_str(KEY_PREFIX);
        redacted.push('…');
        redacted.push_str(piece.trim_start_matches(is_key_char));
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redact_keys_replaces_keys_only() {
        let check = |text, expected| assert_eq!(redact_keys(text), expected);
        check("key AIzaSyA-b_c9, or 'AIza'", "key AIza…, or 'AIza…'");
        check("no key", "no key");
    }
}
