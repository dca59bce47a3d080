//! `docs/reference/limits.md`: the limits that a user can meet, written from the constants of the code.

mod sections;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pinhole::config::Config;
use pinhole_tests::environment;

use sections::SECTIONS;

use Value::{ByteRange, Bytes, Count, Pixels, Rate, Text, Time};

const HEAD: &str = "\
# Limits

The limits that users and engine authors meet first. A test writes this page. In parentheses: the HTTP status, or what
happens, beyond the limit. A variable changes its limit. A server's `/openapi.json` has the limits of every field, and these pages those
of one area: [operating](../guides/operating.md#configuration), [chat](../concepts/chat.md),
[chats](../concepts/chats.md), [jobs](../concepts/jobs.md), [events](../concepts/events.md), [images](../concepts/images.md), [files](../concepts/files.md).
";

/// One line of the page.
struct Limit {
    what: &'static str,
    value: Value,
    /// The environment variable that changes it. The value is then its default.
    setting: Option<&'static str>,
    /// What happens beyond the limit.
    response: &'static str,
}

/// A limit's value with its unit.
#[derive(Clone, Copy)]
enum Value {
    Bytes(u64),
    /// The least and the greatest length.
    ByteRange(u64, u64),
    Count(u64),
    Pixels(u64),
    /// A count in a period.
    Rate(u64, Duration),
    Time(Duration),
    Text(&'static str),
}

struct Section {
    heading: &'static str,
    limits: &'static [Limit],
}

/// Formats a value with the largest unit that gives a whole number.
fn format_value(value: Value) -> String {
    match value {
        Bytes(bytes) => {
            let unit = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
                .into_iter()
                .find(|(size, _)| bytes > 0 && bytes % size == 0);
            match unit {
                Some((size, name)) => format!("{} {name}", group_digits(bytes / size)),
                None => format!("{} bytes", group_digits(bytes)),
            }
        }
        ByteRange(min, max) => format!("{min} to {}", format_value(Bytes(max))),
        Count(count) => group_digits(count),
        Pixels(pixels) => format!("{} pixels", group_digits(pixels)),
        Rate(count, period) => {
            format!("{} in {}", group_digits(count), format_value(Time(period)))
        }
        Time(time) => {
            let secs = time.as_secs();
            if time.subsec_millis() != 0 {
                format!("{} ms", time.as_millis())
            } else if secs > 60 && secs % 60 == 0 {
                format!("{} min", secs / 60)
            } else {
                format!("{secs} s")
            }
        }
        Text(text) => text.to_owned(),
    }
}

/// 33554432 as 33,554,432.
fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn render_page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        write!(page, "\n## {}\n\n", section.heading).unwrap();
        for limit in section.limits {
            let value = format_value(limit.value);
            let value = match limit.setting {
                Some(setting) => format!("{value}, `{setting}`"),
                None => value,
            };
            writeln!(page, "- {}: {value} ({})", limit.what, limit.response).unwrap();
        }
    }
    page
}

#[test]
fn limits_page_is_current() {
    let page = render_page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/limits.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/reference/limits.md was out of date and has been rewritten: review and commit it"
        );
    }
}

#[test]
fn limits_page_names_each_limit_once_and_only_real_variables() {
    let mut names = BTreeSet::new();
    for limit in SECTIONS.iter().flat_map(|section| section.limits) {
        assert!(names.insert(limit.what), "{} is listed twice", limit.what);
        let Some(setting) = limit.setting else {
            continue;
        };
        let data = tempfile::tempdir().unwrap();
        let error = Config::new(environment(&data, &[(setting, "not a number")])).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            message.contains(setting),
            "{setting} is not read: {message}"
        );
    }
}

#[test]
fn limit_values_have_their_largest_whole_unit() {
    for (value, expected) in [
        (Bytes(32 << 20), "32 MiB"),
        (Bytes(1 << 30), "1 GiB"),
        (Bytes(64 << 10), "64 KiB"),
        (Bytes(32_000), "32,000 bytes"),
        (Bytes(0), "0 bytes"),
        (ByteRange(8, 200), "8 to 200 bytes"),
        (Count(10_000), "10,000"),
        (Count(5), "5"),
        (Pixels(4096 * 4096), "16,777,216 pixels"),
        (Time(Duration::from_secs(600)), "10 min"),
        (Time(Duration::from_secs(60)), "60 s"),
        (Time(Duration::from_secs(90)), "90 s"),
        (Time(Duration::from_millis(50)), "50 ms"),
        (Rate(60, Duration::from_secs(180)), "60 in 3 min"),
    ] {
        assert_eq!(format_value(value), expected);
    }
}
