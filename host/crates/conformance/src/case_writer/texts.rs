//! Texts of a recording with placeholders for URLs and for random values.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::{Position, Url};

use super::exchanges::{RecordedExchange, SocketMessage};

/// Digits of a number from which it is replaced in replies: a shorter one occurs by chance.
const MIN_DIGITS: usize = 5;
/// Length of a random id in hexadecimal without dashes.
const HEX_ID_CHARS: usize = 32;
/// Lengths of the parts of a UUID.
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// What is replaced.
pub(super) struct Texts {
    /// The origin of the first upstream.
    upstream: Option<String>,
    /// The first other origin of an upstream or an image.
    elsewhere: Option<String>,
    /// Further ones, which the format cannot tell apart.
    further: BTreeSet<String>,
    /// Texts and the names of their placeholders.
    ids: Vec<(String, String)>,
    seeds: Vec<(u64, String)>,
    /// The parameters of the job, and the replies without images.
    known: String,
}

impl Texts {
    /// Replaces the origins of these base URLs.
    pub(super) fn new<'a>(base_urls: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts = Self {
            upstream: None,
            elsewhere: None,
            further: BTreeSet::new(),
            ids: Vec::new(),
            seeds: Vec::new(),
            known: String::new(),
        };
        for url in base_urls {
            texts.add_origin(url);
        }
        texts
    }

    fn add_origin(&mut self, url: &str) {
        let origin = origin(url);
        if self.upstream.is_none() {
            self.upstream = Some(origin);
        } else if self.upstream.as_ref() == Some(&origin) {
        } else if self.elsewhere.is_none() {
            self.elsewhere = Some(origin);
        } else if self.elsewhere.as_ref() != Some(&origin) {
            self.further.insert(origin);
        }
    }

    /// True if the URL is not one of the first upstream.
    pub(super) fn is_elsewhere(&self, url: &str) -> bool {
        self.upstream.as_ref() != Some(&origin(url))
    }

    /// The base URL of an upstream as the value of its variable.
    pub(super) fn base_url(&self, url: &str) -> String {
        let server = if self.is_elsewhere(url) {
            "{elsewhere}"
        } else {
            "{upstream}"
        };
        format!("{server}{}", path(url))
    }

    /// Finds what the engine chose at random in its requests: ids and seeds that were not known before.
    pub(super) fn find_random_values(
        &mut self,
        exchanges: &[RecordedExchange],
        parameters: &Map<String, Value>,
        known: &str,
    ) {
        let mut known = known.to_owned();
        for exchange in exchanges {
            let request = &exchange.request;
            if request.upstream.is_none() {
                self.add_origin(&request.base_url);
            }
            self.find_ids(&request.path, &known);
            if let Some(query) = request.path.split_once('?').map(|(_, query)| query) {
                self.find_seeds_of_query(query, parameters, &known);
            }
            let json = request
                .body
                .bytes()
                .and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
            if let Some(json) = json {
                self.find_ids(&json.to_string(), &known);
                self.find_seeds(&json, parameters, &known);
            }
            for (_, message) in &exchange.messages {
                if let SocketMessage::Sent(bytes) = message
                    && let Some(bytes) = bytes.bytes()
                {
                    self.find_ids(&String::from_utf8_lossy(bytes), &known);
                }
            }
            let replies = exchange.body.iter();
            let events = exchange.events.iter().map(|(_, data)| data);
            for bytes in replies.chain(events).filter_map(|it| it.bytes()) {
                // Ids are in short texts. An image contains none.
                if let Ok(text) = std::str::from_utf8(bytes) {
                    known.push_str(text);
                }
            }
        }
        self.known = known;
    }

    /// Whether a reply has this number. Digits of an image in base64 are no number of their own.
    pub(super) fn is_in_reply(&self, number: u64) -> bool {
        let digits = number.to_string();
        tokens(&self.known).any(|token| token == digits)
    }

    fn find_ids(&mut self, text: &str, known: &str) {
        for token in tokens(text).filter(|token| is_random_id(token)) {
            let is_new = !known.contains(token) && !self.ids.iter().any(|(id, _)| id == token);
            if is_new {
                let name = numbered("id", self.ids.len());
                self.ids.push((token.to_owned(), name));
            }
        }
    }

    fn find_seeds(&mut self, json: &Value, parameters: &Map<String, Value>, known: &str) {
        match json {
            Value::Array(items) => items
                .iter()
                .for_each(|item| self.find_seeds(item, parameters, known)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match field.as_u64() {
                        Some(seed) if is_seed_name(key) => self.add_seed(seed, parameters, known),
                        _ => self.find_seeds(field, parameters, known),
                    }
                }
            }
            _ => {}
        }
    }

    fn find_seeds_of_query(&mut self, query: &str, parameters: &Map<String, Value>, known: &str) {
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if let Ok(seed) = value.parse()
                && is_seed_name(key)
            {
                self.add_seed(seed, parameters, known);
            }
        }
    }

    fn add_seed(&mut self, seed: u64, parameters: &Map<String, Value>, known: &str) {
        let number = |key: &str| parameters.get(key).and_then(Value::as_u64);
        // An engine counts up for further images.
        let is_of_job = number("seed").is_some_and(|first| {
            (first..=first.saturating_add(number("count").unwrap_or(1))).contains(&seed)
        });
        let is_known = tokens(known).any(|token| token == seed.to_string());
        let is_new = !self.seeds.iter().any(|(it, _)| *it == seed);
        if !is_of_job && !is_known && is_new {
            let name = numbered("seed", self.seeds.len());
            self.seeds.push((seed, name));
        }
    }

    /// The text with placeholders.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let origins = [
            (&self.upstream, "{upstream}"),
            (&self.elsewhere, "{elsewhere}"),
        ];
        for (origin, placeholder) in origins {
            if let Some(origin) = origin {
                text = replace_origin(&text, origin, placeholder);
            }
        }
        for (id, name) in &self.ids {
            text = text.replace(id, &format!("{{{name}}}"));
        }
        for (seed, name) in &self.seeds {
            let digits = seed.to_string();
            if digits.len() >= MIN_DIGITS {
                text = replace_token(&text, &digits, &format!("{{{name}}}"));
            }
        }
        text
    }

    /// The text of a reply: URLs of all other hosts lead elsewhere.
    pub(super) fn reply_text(&self, text: &str) -> String {
        let mut rest = text;
        let mut replaced = String::new();
        while let Some(start) = rest.find("http") {
            let (before, url) = rest.split_at(start);
            replaced.push_str(before);
            let length = origin_length(url);
            let (origin, after) = url.split_at(length.unwrap_or(4));
            let is_other = length.is_some()
                && ![&self.upstream, &self.elsewhere].contains(&&Some(origin.to_owned()));
            replaced.push_str(if is_other { "{elsewhere}" } else { origin });
            rest = after;
        }
        replaced.push_str(rest);
        self.text(&replaced)
    }

    /// The placeholder of a number, if it is a seed of the engine. Short numbers are replaced only where a request has
    /// them.
    pub(super) fn number(&self, number: u64, is_request: bool) -> Option<String> {
        let (_, name) = self.seeds.iter().find(|(seed, _)| *seed == number)?;
        let is_replaced = is_request || number.to_string().len() >= MIN_DIGITS;
        is_replaced.then(|| format!("{{{name}}}"))
    }

    /// What the format cannot express.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.further.is_empty() {
            let count = self.further.len() + 2;
            notes.push(format!(
                "the job used {count} servers, and a case has two: all but the first are \"elsewhere\""
            ));
        }
        for (_, name) in self.ids.iter().map(|(id, name)| (id, name)) {
            notes.push(format!(
                "{{{name}}} stands for an id that the engine chose at random"
            ));
        }
        for (_, name) in &self.seeds {
            notes.push(format!(
                "{{{name}}} stands for a seed that the job did not name"
            ));
        }
        notes
    }
}

/// `name`, `name2`, `name3`.
fn numbered(name: &str, count: usize) -> String {
    match count {
        0 => name.to_owned(),
        _ => format!("{name}{}", count + 1),
    }
}

fn is_seed_name(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("seed")
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    url.parse::<Url>()
        .map_or_else(|_| url.to_owned(), |it| it.origin().ascii_serialization())
}

/// The path of a URL, empty for the root.
fn path(url: &str) -> String {
    let parsed = url.parse::<Url>();
    let path = parsed.map(|it| it[Position::BeforePath..].to_owned());
    path.unwrap_or_default().trim_end_matches('/').to_owned()
}

/// The length of the origin at the start of a text.
fn origin_length(text: &str) -> Option<usize> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.starts_with(scheme))?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    let host = text.get(scheme.len()..)?;
    let length = host.find(|c| !is_host(c)).unwrap_or(host.len());
    (length > 0).then_some(scheme.len() + length)
}

/// Replaces an origin where it is not the start of a longer host.
fn replace_origin(text: &str, origin: &str, placeholder: &str) -> String {
    let continues = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    replace_where(text, origin, placeholder, |_, after| {
        !after.is_some_and(continues)
    })
}

/// Replaces a token where it is not a part of a longer one.
fn replace_token(text: &str, token: &str, placeholder: &str) -> String {
    let continues = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.');
    replace_where(text, token, placeholder, |before, after| {
        !continues(before) && !continues(after)
    })
}

fn replace_where(
    text: &str,
    old: &str,
    new: &str,
    is_replaced: impl Fn(Option<char>, Option<char>) -> bool,
) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(old) {
        let previous = before.chars().next_back().or(replaced.chars().next_back());
        replaced.push_str(before);
        let is_own = is_replaced(previous, after.chars().next());
        replaced.push_str(if is_own { new } else { old });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// The runs of letters, digits and dashes.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|token| !token.is_empty())
}

/// True for a UUID and for 32 hexadecimal digits.
fn is_random_id(token: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = token.split('-').collect();
    let is_uuid = parts.iter().map(|part| part.len()).eq(UUID_PARTS);
    (is_uuid && parts.iter().all(|part| is_hex(part)))
        || (token.len() == HEX_ID_CHARS && is_hex(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_placeholders_for_origins_and_random_values() {
        let mut texts = Texts::new(["https://api.example.com/v1", "https://files.example.com"]);
        texts.find_ids("GET /ws?id=1750e56a-4aed-493f-acfc-bae22a4993fb", "");
        texts.add_seed(123_456, &Map::new(), "");
        assert_eq!(
            texts.base_url("https://api.example.com/v1"),
            "{upstream}/v1"
        );
        for (text, expected) in [
            ("https://api.example.com/x", "{upstream}/x"),
            ("https://api.example.com.evil/x", "{elsewhere}/x"),
            (
                "see https://files.example.com, http://cdn:80/a b",
                "see {elsewhere}, {elsewhere}/a b",
            ),
            ("1750e56a-4aed-493f-acfc-bae22a4993fb.png", "{id}.png"),
            (
                "{\"seed\": 123456, \"n\": 91234567}",
                "{\"seed\": {seed}, \"n\": 91234567}",
            ),
            ("https and http:// alone", "https and http:// alone"),
        ] {
            assert_eq!(texts.reply_text(text), expected);
        }
        assert_eq!(texts.number(123_456, false), Some("{seed}".to_owned()));
        assert_eq!(texts.number(1, true), None);
    }

    #[test]
    fn seeds_of_the_job_stay() {
        let mut texts = Texts::new([]);
        let Value::Object(parameters) = serde_json::json!({"seed": 70_000, "count": 2}) else {
            panic!("an object")
        };
        for seed in [70_000, 70_001, 80_000, 90_000] {
            let json = serde_json::json!({"a": [{"noise_seed": seed, "steps": 33_333}]});
            texts.find_seeds(&json, &parameters, "the document has 80000");
        }
        assert_eq!(texts.seeds, [(90_000, "seed".to_owned())]);
    }
}
