//! Templates of questions to a language model, with Open WebUI's variables.

use std::borrow::Cow;

use pinhole_ground::guard::Guard;
use serde_json::{Map, Value};

use super::utc_time::UtcTime;
use crate::chat::message::{content_text, last_user_text, role};
use crate::store::{User, now};

/// Length of a filled template, in bytes.
const MAX_FILLED_BYTES: usize = 256 << 10;
/// Length of one message in it, in bytes. Longer ones are cut.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Length of a value from the client or of the user's name, in bytes. Longer ones are cut.
const MAX_VARIABLE_BYTES: usize = 500;
/// The value of an unknown variable, as in Open WebUI.
const UNKNOWN: &str = "Unknown";

/// The values of a template's variables.
#[derive(Debug)]
pub(in crate::chat) struct TemplateValues<'a> {
    user: &'a User,
    messages: &'a [Value],
    /// The text of the user's newest message.
    prompt: &'a str,
    /// Values from the client, by variable name with its braces.
    client_values: Option<&'a Map<String, Value>>,
    /// Seconds since 1970.
    now: i64,
}

impl<'a> TemplateValues<'a> {
    /// The values for a chat request.
    pub(in crate::chat) fn new(payload: &'a Map<String, Value>, user: &'a User) -> Self {
        let messages = payload
            .get("messages")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        Self {
            user,
            messages,
            prompt: last_user_text(messages).unwrap_or_default(),
            client_values: payload.get("variables").and_then(Value::as_object),
            now: now(),
        }
    }

    /// The value of a variable by its name, without braces and in lower case. `None` for an unknown name,
    /// which remains in the text.
    fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let (name, excerpt) = match name.split_once(':') {
            None => (name, Excerpt::Whole),
            Some((name, excerpt)) => (name, Excerpt::parse(excerpt)?),
        };
        match (name, excerpt) {
            ("prompt", excerpt) => Some(excerpt.of_text(self.prompt)),
            ("messages", excerpt) => Some(excerpt.of_messages(self.messages).into()),
            (_, Excerpt::Whole) => self.simple_value(name),
            _ => None,
        }
    }

    fn simple_value(&self, name: &str) -> Option<Cow<'a, str>> {
        if name == "user_name" {
            return Some(cut(&self.user.name, MAX_VARIABLE_BYTES).into());
        }
        let time = UtcTime::new(self.now);
        let default = match name {
            "current_date" => time.date(),
            "current_time" => time.clock(),
            "current_datetime" => format!("{} {}", time.date(), time.clock()),
            "current_weekday" => time.weekday().to_owned(),
            "user_bio" | "user_gender" | "user_birth_date" | "user_age" | "user_location" => {
                UNKNOWN.to_owned()
            }
            _ => return None,
        };
        // The client knows the user's time and location better.
        let client_value = self
            .client_values
            .and_then(|values| values.get(&format!("{{{{{}}}}}", name.to_uppercase())))
            .and_then(Value::as_str)
            .filter(|value| !value.is_empty());
        Some(match client_value {
            Some(value) => cut(value, MAX_VARIABLE_BYTES).into(),
            None => default.into(),
        })
    }
}

/// Replaces the variables of a template. Their names match in any case. Returns `None` if the result is
/// too long.
///
/// Source: Open WebUI `utils/task.py`.
pub(in crate::chat) fn fill(template: &str, values: &TemplateValues<'_>) -> Option<String> {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let replacement = after.split_once("}}").and_then(|(name, remaining)| {
            let value = values.value(&name.trim().to_lowercase())?;
            Some((value, remaining))
        });
        match replacement {
            Some((value, remaining)) => {
                filled.push_str(&value);
                rest = remaining;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
        if filled.len() > MAX_FILLED_BYTES {
            return None;
        }
    }
    filled.push_str(rest);
    (filled.len() <= MAX_FILLED_BYTES).then_some(filled)
}

/// A part of a text, in characters, or of the messages, by number.
#[derive(Clone, Copy, Debug)]
enum Excerpt {
    Whole,
    Start(usize),
    End(usize),
    /// From both ends together.
    Ends(usize),
}

impl Excerpt {
    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let max = number.trim().parse().ok()?;
        match kind {
            "start" => Some(Self::Start(max)),
            "end" => Some(Self::End(max)),
            "middletruncate" => Some(Self::Ends(max)),
            _ => None,
        }
    }

    fn of_text(self, text: &str) -> Cow<'_, str> {
        let length = || text.chars().count();
        let first = |max: usize| {
            let end = text.char_indices().nth(max);
            end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
        };
        let last = |max: usize| match length().saturating_sub(max) {
            0 => text,
            skipped => {
                let start = text.char_indices().nth(skipped);
                start.and_then(|(at, _)| text.get(at..)).unwrap_or_default()
            }
        };
        match self {
            Self::Whole => text.into(),
            Self::Start(max) => first(max).into(),
            Self::End(max) => last(max).into(),
            Self::Ends(max) if length() <= max => text.into(),
            Self::Ends(max) => format!("{}...{}", first(max.div_ceil(2)), last(max / 2)).into(),
        }
    }

    fn of_messages(self, messages: &[Value]) -> String {
        let length = messages.len();
        let (first, last) = match self {
            Self::Start(max) => (max.min(length), 0),
            Self::End(max) => (0, max.min(length)),
            Self::Ends(max) if max < length => (max / 2, max.div_ceil(2)),
            Self::Whole | Self::Ends(_) => (length, 0),
        };
        let excerpt = messages
            .iter()
            .take(first)
            .chain(messages.iter().skip(length - last));
        let mut lines = String::new();
        for line in excerpt.filter_map(message_line) {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&line);
            if lines.len() > MAX_FILLED_BYTES {
                break;
            }
        }
        lines
    }
}

/// `ROLE: text`, with the first text of the message.
fn message_line(message: &Value) -> Option<String> {
    let role = cut(role(message)?, MAX_VARIABLE_BYTES).to_uppercase();
    let text = content_text(message.get("content")?).unwrap_or_default();
    let quoted = escape_end_tag(cut(text, MAX_MESSAGE_BYTES));
    Some(format!("{role}: {quoted}"))
}

/// Escapes `</conversation>`, so that a message cannot end the conversation in the built-in templates.
fn escape_end_tag(text: &str) -> Cow<'_, str> {
    const END_TAG: &str = "</conversation";
    let lower = text.to_ascii_lowercase();
    if !Guard::TextQuoted.applies(lower.contains(END_TAG)) {
        return text.into();
    }
    let (mut escaped, mut start) = (String::new(), 0);
    for (index, _) in lower.match_indices(END_TAG) {
        escaped.extend(text.get(start..index));
        escaped.push_str("< /");
        start = index + 2;
    }
    escaped.extend(text.get(start..));
    escaped.into()
}

fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user() -> User {
        User {
            id: "u".to_owned(),
            name: "Ada".to_owned(),
            role: "user".to_owned(),
        }
    }

    fn check(template: &str, expected: &str) {
        let payload = json!({
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": [{"type": "image_url"}, {"type": "text", "text": "two"}]},
                {"role": "user", "content": "a größer fox {{prompt}}"},
            ],
            "variables": {"{{USER_LOCATION}}": "Graz", "{{CURRENT_DATE}}": "", "{{USER_NAME}}": "Eve"},
        });
        let user = user();
        let mut values = TemplateValues::new(payload.as_object().unwrap(), &user);
        values.now = 951_827_696; // 2000-02-29 12:34:56
        assert_eq!(
            fill(template, &values).as_deref(),
            Some(expected),
            "{template}"
        );
    }

    #[test]
    fn fill_counts_characters_of_the_prompt() {
        check("<{{prompt}}>", "<a größer fox {{prompt}}>");
        check("<{{PROMPT:START:4}}>", "<a gr>");
        check("<{{prompt:start:99}}>", "<a größer fox {{prompt}}>");
        check("<{{Prompt:End:3}}>", "<t}}>");
        check("<{{prompt:end:0}}><{{prompt:start:0}}>", "<><>");
        check("<{{prompt:middletruncate:7}}>", "<a gr...t}}>");
        check(
            "<{{prompt:middletruncate:22}}>",
            "<a größer fo... {{prompt}}>",
        );
        check(
            "<{{prompt:middletruncate:23}}>",
            "<a größer fox {{prompt}}>",
        );
    }

    #[test]
    fn fill_counts_messages() {
        let lines = [
            "SYSTEM: be brief",
            "USER: one",
            "ASSISTANT: two",
            "USER: a größer fox {{prompt}}",
        ];
        check("{{MESSAGES}}", &lines.join("\n"));
        check("{{messages:start:1}}", lines[0]);
        check("{{MESSAGES:END:2}}", &lines[2..].join("\n"));
        check("{{MESSAGES:END:9}}", &lines.join("\n"));
        check(
            "{{MESSAGES:MIDDLETRUNCATE:2}}",
            &[lines[0], lines[3]].join("\n"),
        );
        check(
            "{{MESSAGES:MIDDLETRUNCATE:3}}",
            &[lines[0], lines[2], lines[3]].join("\n"),
        );
        check("{{MESSAGES:MIDDLETRUNCATE:4}}", &lines.join("\n"));
    }

    #[test]
    fn fill_inserts_time_and_user() {
        check(
            "{{CURRENT_DATE}} {{current_time}}",
            "2000-02-29 12:34:56 PM",
        );
        check("{{CURRENT_DATETIME}}", "2000-02-29 12:34:56 PM");
        check("{{CURRENT_WEEKDAY}}", "Tuesday");
        check(
            "{{USER_NAME}} {{USER_LOCATION}} {{USER_AGE}}",
            "Ada Graz Unknown",
        );
        check(
            "{{USER_BIO}} {{USER_GENDER}} {{USER_BIRTH_DATE}}",
            "Unknown Unknown Unknown",
        );
    }

    #[test]
    fn fill_preserves_unknown_variables() {
        for text in [
            "{{}}",
            "{{x}}",
            "{{prompt:x}}",
            "{{prompt:start:x}}",
            "{{prompt:start:-1}}",
            "{{prompt",
            "{{user_name:start:1}}",
            "}}{{",
            "{",
            "",
        ] {
            check(text, text);
        }
        check("{{x {{ prompt:start:1 }}", "{{x a");
    }

    #[test]
    fn fill_limits_its_result() {
        let long = json!({"messages": vec![json!({"role": "user", "content": "x".repeat(MAX_FILLED_BYTES)}); 20]});
        let user = user();
        let values = TemplateValues::new(long.as_object().unwrap(), &user);
        assert_eq!(fill("{{MESSAGES}}", &values), None);
        assert_eq!(fill("{{prompt}}x", &values), None);
        let line = fill("{{MESSAGES:END:2}}", &values).unwrap();
        assert_eq!(line.len(), 2 * (MAX_MESSAGE_BYTES + "USER: ".len()) + 1);
    }
}
