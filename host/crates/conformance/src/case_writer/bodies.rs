//! Requests and replies of a case.

use std::collections::BTreeMap;

use bytes::Bytes;
use pinhole_sandbox::RecordedBytes;
use serde_json::{Map, Value, json};

use super::exchanges::RecordedExchange;
use super::files::{CaseFilesWriter, has_computed};
use super::image_specs::ImageSpecs;
use super::texts::Texts;
use crate::multipart_form::{FormField, parse_form};

/// Length of the base64 of the smallest image.
const MIN_BASE64_CHARS: usize = 32;
/// Headers of one connection or one moment, of caches and of browsers: no engine needs them.
const DROPPED_HEADERS: [&str; 22] = [
    "alt-svc",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "nel",
    "report-to",
    "server",
    "server-timing",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "via",
    "x-content-type-options",
    "x-powered-by",
];
const DROPPED_PREFIXES: [&str; 2] = ["access-control-", "cf-"];

/// Which side wrote JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Reply,
}

/// Writes requests and replies.
pub(super) struct BodyWriter<'a> {
    pub(super) texts: &'a Texts,
    pub(super) images: &'a mut ImageSpecs,
    pub(super) files: &'a mut CaseFilesWriter,
    pub(super) notes: &'a mut Vec<String>,
}

impl BodyWriter<'_> {
    pub(super) fn request(&mut self, number: usize, exchange: &RecordedExchange) -> Value {
        let request = &exchange.request;
        let base_path = match request.upstream {
            Some(_) => self.texts.base_url(&request.base_url),
            None => String::new(),
        };
        let base_path = base_path.split_once('}').map_or("", |(_, path)| path);
        let mut path = self.texts.text(&request.path);
        if let Some(name) = &request.credential_parameter {
            let separator = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{separator}{name}={{any}}"));
        }
        let line = format!("{} {base_path}{path}", request.method);
        let mut json = Map::from_iter([("line".to_owned(), Value::from(line.clone()))]);
        if !request.headers.is_empty() {
            let headers: BTreeMap<&String, String> = request
                .headers
                .iter()
                .map(|(name, value)| (name, self.texts.text(value)))
                .collect();
            json.insert("headers".to_owned(), json!(headers));
        }
        if request.is_web_socket {
            return json.into();
        }
        if request.body.length() == 0 {
            json.insert("body".to_owned(), "none".into());
        } else if let Some(body) = request.body.bytes() {
            let content_type = request.content_type.as_deref().unwrap_or_default();
            if let Ok(fields) = parse_form(content_type, body) {
                let fields = fields.iter().map(|field| self.form_field(field));
                let fields: Vec<_> = fields.collect();
                json.insert("form".to_owned(), fields.into());
            } else if let Ok(mut value) = serde_json::from_slice(body) {
                for pointer in &request.credential_fields {
                    set_any(&mut value, pointer);
                }
                let name = format!("request-{number}");
                let value = self.json(&name, value, Side::Request);
                json.insert("json".to_owned(), value);
            } else {
                self.note(
                    &line,
                    "the body is not compared: it is neither JSON nor a form",
                );
            }
        } else {
            self.note(
                &line,
                "the body is not compared: it was too long to be recorded",
            );
        }
        json.into()
    }

    fn form_field(&mut self, field: &FormField) -> Value {
        let mut json = json!({
            "name": field.name,
            "file_name": field.file_name.as_ref().map(|name| self.texts.text(name)),
            "media_type": field.media_type,
        });
        let content = Bytes::copy_from_slice(field.content);
        let value = match self.images.known(&content) {
            Some(spec) => Some(("picture", Value::from(spec))),
            None => std::str::from_utf8(field.content)
                .ok()
                .map(|text| ("text", Value::from(self.texts.text(text)))),
        };
        match (value, json.as_object_mut()) {
            (Some((key, value)), Some(fields)) => {
                fields.insert(key.to_owned(), value);
            }
            _ => self.note(
                &format!("form field {:?}", field.name),
                "the image is not compared: the engine changed it",
            ),
        }
        json
    }

    pub(super) fn reply(&mut self, number: usize, exchange: &RecordedExchange) -> Value {
        let request = &exchange.request;
        let line = format!("{} {}", request.method, self.texts.text(&request.path));
        let Some((status, headers)) = &exchange.head else {
            return if exchange.has_failed {
                json!({"break": "before_head"})
            } else {
                json!({"hangs": true})
            };
        };
        let mut json = Map::new();
        if *status != 200 {
            json.insert("status".to_owned(), (*status).into());
        }
        let mut kept = Map::new();
        let mut content_type = "";
        for (name, value) in headers {
            let is_dropped = DROPPED_HEADERS.contains(&name.as_str())
                || DROPPED_PREFIXES.iter().any(|it| name.starts_with(it));
            if name == "content-type" {
                content_type = value;
            }
            if !is_dropped {
                kept.insert(name.clone(), self.texts.reply_text(value).into());
            }
        }
        if !kept.is_empty() {
            json.insert("headers".to_owned(), kept.into());
        }
        let mut usual_type = "";
        if !exchange.events.is_empty() {
            let events = exchange.events.iter();
            let events: Vec<_> = events
                .map(|(name, data)| self.event(name.as_deref(), data))
                .collect();
            json.insert("events".to_owned(), events.into());
            usual_type = "text/event-stream";
        } else if let Some(body) = exchange.body.as_ref().filter(|it| it.length() > 0) {
            match body.bytes() {
                Some(bytes) => usual_type = self.reply_body(number, &line, bytes, &mut json),
                None => self.note(&line, "the reply is empty: it was too long to be recorded"),
            }
        }
        if exchange.has_failed {
            self.note(
                &line,
                "the connection broke within the reply: add \"break\"",
            );
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !content_type.is_empty() && !usual_type.is_empty() && essence != usual_type {
            json.insert("media_type".to_owned(), content_type.into());
        }
        json.into()
    }

    /// Adds a body. Returns its usual media type.
    fn reply_body(
        &mut self,
        number: usize,
        line: &str,
        bytes: &Bytes,
        json: &mut Map<String, Value>,
    ) -> &'static str {
        let name = format!("reply-{number}");
        if let Ok(value) = serde_json::from_slice(bytes) {
            let value = self.json(&name, value, Side::Reply);
            json.insert("json".to_owned(), value);
            return "application/json";
        }
        if let Some(spec) = self.images.add(bytes) {
            let format = spec.split(' ').next().unwrap_or_default();
            let media_type = match format {
                "png" => "image/png",
                "jpeg" => "image/jpeg",
                "webp" => "image/webp",
                _ => "image/gif",
            };
            json.insert("picture".to_owned(), spec.into());
            return media_type;
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            let text = self.files.text(&name, self.texts.reply_text(text));
            json.insert("text".to_owned(), text);
            return "text/plain";
        }
        json.insert("picture".to_owned(), self.files.image(bytes));
        self.note(
            line,
            "the reply is the recorded file: no test image is like it",
        );
        ""
    }

    fn event(&mut self, name: Option<&str>, data: &RecordedBytes) -> Value {
        let data = data.bytes().cloned().unwrap_or_default();
        let mut event = Map::new();
        if let Ok(value) = serde_json::from_slice(&data) {
            event.extend(name.map(|name| ("event".to_owned(), name.into())));
            let value = self.json_within(value, Side::Reply);
            event.insert("json".to_owned(), value);
        } else {
            let name = name.map(|name| format!("event: {name}\n"));
            let data = String::from_utf8_lossy(&data).replace('\n', "\ndata: ");
            let text = format!("{}data: {data}\n\n", name.unwrap_or_default());
            event.insert("text".to_owned(), self.texts.reply_text(&text).into());
        }
        event.into()
    }

    /// JSON as a pattern or a reply. It is in a file if it is long.
    pub(super) fn json(&mut self, name: &str, value: Value, side: Side) -> Value {
        if has_computed(&value) {
            // Keys such as `$ref` would be computed in the case itself.
            let replaced = self.replaced(value, side, false);
            return self.files.json_file(name, &replaced);
        }
        let replaced = self.replaced(value, side, true);
        self.files.json(name, replaced)
    }

    /// As [`Self::json`], without a file of its own.
    pub(super) fn json_within(&mut self, value: Value, side: Side) -> Value {
        self.replaced(value, side, true)
    }

    fn replaced(&mut self, value: Value, side: Side, with_images: bool) -> Value {
        match value {
            Value::String(text) => {
                let image = with_images.then(|| self.image(&text, side)).flatten();
                image.unwrap_or_else(|| match side {
                    Side::Request => self.texts.text(&text).into(),
                    Side::Reply => self.texts.reply_text(&text).into(),
                })
            }
            Value::Number(number) => {
                let placeholder = number
                    .as_u64()
                    .and_then(|it| self.texts.number(it, side == Side::Request));
                placeholder.map_or(Value::Number(number), Value::from)
            }
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.replaced(item, side, with_images))
                .collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, field)| {
                    let key = self.texts.text(&key);
                    let field = self.replaced(field, side, with_images);
                    (key, field)
                })
                .collect::<Map<_, _>>()
                .into(),
            other => other,
        }
    }

    /// The image in a base64 text or a data URL: its specification, or in a request any image.
    fn image(&mut self, text: &str, side: Side) -> Option<Value> {
        let (start, base64) = match text.split_once(";base64,") {
            Some((media_type, base64)) if media_type.starts_with("data:") => {
                (format!("{media_type};base64,"), base64)
            }
            _ => (String::new(), text),
        };
        if base64.len() < MIN_BASE64_CHARS {
            return None;
        }
        let decoded = base64_simd::STANDARD
            .decode_to_vec(base64.as_bytes())
            .ok()?;
        let bytes = Bytes::from(decoded);
        let known = self.images.known(&bytes).map(str::to_owned);
        let spec = match side {
            Side::Reply => self.images.add(&bytes)?,
            Side::Request => match known {
                Some(spec) => spec,
                None => {
                    // Not an image, unless it could be added.
                    ImageSpecs::default().add(&bytes)?;
                    return Some(format!("{start}{{any}}").into());
                }
            },
        };
        let picture = json!({"$picture": spec});
        Some(match start.as_str() {
            "" => picture,
            start => json!({"$join": [start, picture]}),
        })
    }

    fn note(&mut self, subject: &str, text: &str) {
        self.notes.push(format!("{subject}: {text}"));
    }
}

/// Sets the value at a JSON pointer to a pattern that matches anything, and adds the objects that it lacks: there the
/// server adds a secret.
fn set_any(json: &mut Value, pointer: &str) {
    let mut target = json;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        if target.is_null() {
            *target = Value::Object(Map::new());
        }
        let Some(fields) = target.as_object_mut() else {
            return;
        };
        target = fields.entry(name).or_insert(Value::Null);
    }
    *target = "{any}".into();
}
