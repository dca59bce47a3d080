//! Durations as text.

/// Parses a duration such as `90s`, `1h30m` or `4w` to seconds. `None` if the text is not one, or too long.
#[must_use]
pub fn parse_duration_secs(mut text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
        let unit = rest.chars().next()?;
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return None,
        };
        let number: i64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(secs)?)?;
        text = rest.strip_prefix(unit)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("4w", Some(28 * 24 * 3600)),
            ("", Some(0)),
            ("4", None),
            ("w", None),
            ("-4w", None),
            ("1y", None),
            ("1h 30m", None),
            ("99999999999999999999w", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(parse_duration_secs(text), expected, "{text:?}");
        }
    }
}
