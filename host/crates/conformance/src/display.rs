//! How failures show values and numbers.

use serde_json::Value;

/// Maximum length of a value in a failure, in characters.
const MAX_VALUE_CHARS: usize = 200;

/// A value as JSON, truncated if it is long.
pub(crate) fn truncated(value: &Value) -> String {
    let text = value.to_string();
    let total = text.chars().count();
    if total <= MAX_VALUE_CHARS {
        return text;
    }
    let start: String = text.chars().take(MAX_VALUE_CHARS).collect();
    format!("{start}… ({total} characters)")
}

/// A number and its noun: `1 request`, `2 requests`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn truncated_cuts_long_value() {
        let text = truncated(&json!("ä".repeat(1000)));
        assert!(text.ends_with("… (1002 characters)"), "{text}");
    }
}
