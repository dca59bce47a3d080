//! Quotas that waiting does not restore.

use serde_json::Value;

use crate::wire::{array_at, string_at};

/// Whether the exceeded quota is one per day, or 0.
pub(super) fn is_exhausted(error: &Value, message: &str) -> bool {
    array_at(error, "details")
        .iter()
        .flat_map(|detail| array_at(detail, "violations"))
        .any(is_exhausting_violation)
        || message.split("limit: ").skip(1).any(starts_with_zero)
}

fn is_exhausting_violation(violation: &Value) -> bool {
    string_at(violation, "quotaId").is_some_and(|id| id.contains("PerDay"))
        || string_at(violation, "quotaValue") == Some("0")
}

/// Whether the number at the start of a text is 0.
fn starts_with_zero(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    number.trim_end_matches('.').parse() == Ok(0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_exhausted_distinguishes_zero_from_leading_zero() {
        let check = |message, expected| assert_eq!(is_exhausted(&Value::Null, message), expected);
        check("limit: 0", true);
        check("limit: 10, and limit: 0.", true);
        check("limit: 0.5", false);
        check("limit: 05", false);
        check("limit: none", false);
        let zero = json!({"details": [{"violations": [{"quotaValue": "0"}]}]});
        assert!(is_exhausted(&zero, ""));
    }
}
