//! Templates of what a language model is asked, with Open WebUI's variables.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::chat::message::{last_text, role, text};
use pinhole_ground::guard::Guard;
use crate::store::{User, now};

/// Length of a filled template, in bytes.
const MAX_FILLED_BYTES: usize = 256 << 10;
/// Length of one message in it, in bytes: of longer ones the beginning is shown.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Length of what a client says of its user, in bytes.
const MAX_VARIABLE_BYTES: usize = 500;
/// What stands for something that is not known, as in Open WebUI.
const UNKNOWN: &str = "Unknown";

/// What the variables of a template stand for.
#[derive(Debug)]
pub(in crate::chat) struct Facts<'a> {
    user: &'a User,
    messages: &'a [Value],
    /// The newest words of the person.
    prompt: &'a str,
    /// What the client says by the names of variables, braces included.
    told: Option<&'a Map<String, Value>>,
    /// Seconds since 1970.
    now: i64,
}

impl<'a> Facts<'a> {
    /// Those of a chat request.
    pub(in crate::chat) fn of(payload: &'a Map<String, Value>, user: &'a User) -> Self {
        let messages = payload.get("messages").and_then(Value::as_array);
        let messages = messages.map_or(&[][..], Vec::as_slice);
        Self {
            user,
            messages,
            prompt: last_text(messages).unwrap_or_default(),
            told: payload.get("variables").and_then(Value::as_object),
            now: now(),
        }
    }

    /// What a variable stands for, its name without braces and in small letters. `None` for what is no
    /// variable, and stays as it is.
    fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let (name, part) = match name.split_once(':') {
            None => (name, Part::Whole),
            Some((name, part)) => (name, Part::parse(part)?),
        };
        match (name, part) {
            ("prompt", part) => Some(part.of_text(self.prompt)),
            ("messages", part) => Some(part.of_messages(self.messages).into()),
            (_, Part::Whole) => self.fact(name),
            _ => None,
        }
    }

    fn fact(&self, name: &str) -> Option<Cow<'a, str>> {
        if name == "user_name" {
            return Some(cut(&self.user.name, MAX_VARIABLE_BYTES).into());
        }
        let time = Time::of(self.now);
        let ours = match name {
            "current_date" => time.date(),
            "current_time" => time.clock(),
            "current_datetime" => format!("{} {}", time.date(), time.clock()),
            "current_weekday" => time.weekday().to_owned(),
            "user_bio" | "user_gender" | "user_birth_date" | "user_age" | "user_location" => {
                UNKNOWN.to_owned()
            }
            _ => return None,
        };
        // The client knows its user's time and place better.
        let told = self
            .told
            .and_then(|told| told.get(&format!("{{{{{}}}}}", name.to_uppercase())));
        let told = told.and_then(Value::as_str).filter(|told| !told.is_empty());
        Some(told.map_or(ours.into(), |told| cut(told, MAX_VARIABLE_BYTES).into()))
    }
}

/// A template with its variables filled in; their names may be written in any case. `None` where the
/// whole gets too long.
///
/// Source: Open WebUI `utils/task.py`.
pub(in crate::chat) fn fill(template: &str, facts: &Facts<'_>) -> Option<String> {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let variable = after.split_once("}}");
        let value = variable.and_then(|(name, rest)| {
            let value = facts.value(&name.trim().to_lowercase())?;
            Some((value, rest))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(&value);
                rest = after;
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

/// How much of a text, in characters, or of the messages, in number, is wanted.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Start(usize),
    End(usize),
    /// So much from both ends together.
    Ends(usize),
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let (kind, most) = text.split_once(':')?;
        let most = most.trim().parse().ok()?;
        match kind {
            "start" => Some(Self::Start(most)),
            "end" => Some(Self::End(most)),
            "middletruncate" => Some(Self::Ends(most)),
            _ => None,
        }
    }

    fn of_text(self, text: &str) -> Cow<'_, str> {
        let length = || text.chars().count();
        let first = |most: usize| {
            let end = text.char_indices().nth(most);
            end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
        };
        let last = |most: usize| match length().saturating_sub(most) {
            0 => text,
            skipped => {
                let start = text.char_indices().nth(skipped);
                start.and_then(|(at, _)| text.get(at..)).unwrap_or_default()
            }
        };
        match self {
            Self::Whole => text.into(),
            Self::Start(most) => first(most).into(),
            Self::End(most) => last(most).into(),
            Self::Ends(most) if length() <= most => text.into(),
            Self::Ends(most) => format!("{}...{}", first(most.div_ceil(2)), last(most / 2)).into(),
        }
    }

    fn of_messages(self, messages: &[Value]) -> String {
        let length = messages.len();
        let (first, last) = match self {
            Self::Start(most) => (most.min(length), 0),
            Self::End(most) => (0, most.min(length)),
            Self::Ends(most) if most < length => (most / 2, most.div_ceil(2)),
            Self::Whole | Self::Ends(_) => (length, 0),
        };
        let shown = messages.iter().take(first);
        let shown = shown.chain(messages.iter().skip(length - last));
        let mut lines = String::new();
        for message in shown.filter_map(line) {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&message);
            if lines.len() > MAX_FILLED_BYTES {
                break;
            }
        }
        lines
    }
}

/// `ROLE: text`, the text being the first of the message.
fn line(message: &Value) -> Option<String> {
    let role = cut(role(message)?, MAX_VARIABLE_BYTES).to_uppercase();
    let text = text(message.get("content")?).unwrap_or_default();
    Some(format!("{role}: {}", kept_in(cut(text, MAX_MESSAGE_BYTES))))
}

/// A message that cannot end the conversation around it, as our own templates mark that.
fn kept_in(text: &str) -> Cow<'_, str> {
    const END: &str = "</conversation";
    let small = text.to_ascii_lowercase();
    if !small.contains(END) || !Guard::TextQuoted.holds() {
        return text.into();
    }
    let (mut kept, mut after) = (String::new(), 0);
    for (at, _) in small.match_indices(END) {
        kept.extend(text.get(after..at));
        kept.push_str("< /");
        after = at + 2;
    }
    kept.extend(text.get(after..));
    kept.into()
}

fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes))
        .unwrap_or(text)
}

/// A moment in UTC.
#[derive(Debug)]
struct Time {
    days: i64,
    secs: i64,
}

impl Time {
    fn of(secs_since_1970: i64) -> Self {
        Self {
            days: secs_since_1970.div_euclid(86_400),
            secs: secs_since_1970.rem_euclid(86_400),
        }
    }

    /// Such as `2026-11-22`. Years here begin in March, so that a leap day is the last of one.
    fn date(&self) -> String {
        const DAYS_OF_400_YEARS: i64 = 146_097;
        let days = self.days + 719_468;
        let (era, day) = (
            days.div_euclid(DAYS_OF_400_YEARS),
            days.rem_euclid(DAYS_OF_400_YEARS),
        );
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            ..10 => (year, month + 3),
            _ => (year + 1, month - 9),
        };
        format!("{:04}-{month:02}-{day:02}", era * 400 + year)
    }

    /// Such as `09:05:01 PM`.
    fn clock(&self) -> String {
        let (hour, minute, second) = (self.secs / 3600, self.secs / 60 % 60, self.secs % 60);
        let half = if hour < 12 { "AM" } else { "PM" };
        let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
        format!("{hour:02}:{minute:02}:{second:02} {half}")
    }

    fn weekday(&self) -> &'static str {
        match (self.days + 4).rem_euclid(7) {
            0 => "Sunday",
            1 => "Monday",
            2 => "Tuesday",
            3 => "Wednesday",
            4 => "Thursday",
            5 => "Friday",
            _ => "Saturday",
        }
    }
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
        let mut facts = Facts::of(payload.as_object().unwrap(), &user);
        facts.now = 951_827_696; // 2000-02-29 12:34:56
        assert_eq!(
            fill(template, &facts).as_deref(),
            Some(expected),
            "{template}"
        );
    }

    #[test]
    fn variables_of_the_prompt_count_characters() {
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
    fn variables_of_the_messages_count_messages() {
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
    fn variables_of_time_and_person_are_filled_in() {
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
        for (secs, date, clock) in [
            (0, "1970-01-01", "12:00:00 AM"),
            (-1, "1969-12-31", "11:59:59 PM"),
            (4_107_542_399, "2100-02-28", "11:59:59 PM"),
            (4_107_542_400, "2100-03-01", "12:00:00 AM"),
        ] {
            let time = Time::of(secs);
            assert_eq!((time.date().as_str(), time.clock().as_str()), (date, clock));
        }
    }

    #[test]
    fn what_is_no_variable_stays() {
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
    fn what_is_filled_in_has_limits() {
        let long = json!({"messages": vec![json!({"role": "user", "content": "x".repeat(MAX_FILLED_BYTES)}); 20]});
        let user = user();
        let facts = Facts::of(long.as_object().unwrap(), &user);
        assert_eq!(fill("{{MESSAGES}}", &facts), None);
        assert_eq!(fill("{{prompt}}x", &facts), None);
        let line = fill("{{MESSAGES:END:2}}", &facts).unwrap();
        assert_eq!(line.len(), 2 * (MAX_MESSAGE_BYTES + "USER: ".len()) + 1);
    }
}
