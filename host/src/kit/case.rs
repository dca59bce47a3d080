//! A case as its folder holds it; `docs/conformance-cases.md` is the description.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::outcome::is_kind;
use super::picture;
use super::recording;
use super::value::{Files, Wrong, compute};

/// The file in a case's folder.
pub(crate) const FILE: &str = "case.json";
/// Length of that file, in bytes.
const MAX_CASE_BYTES: u64 = 1 << 20;
/// Exchanges of a case.
const MAX_EXCHANGES: usize = 200;
/// Times that a repeating request may come where nothing is said.
const MANY_TIMES: usize = 1000;
/// What a case may not set: the kit has its own.
const OWN_VARIABLES: [&str; 2] = ["PINHOLE_DATA", "PINHOLE_ENGINES"];

/// All of `case.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    generate: Option<Asked>,
    edit: Option<Asked>,
    models: Option<Nothing>,
    verify: Option<Nothing>,
    pub(crate) cancel: Option<Moment>,
    #[serde(default)]
    pub(crate) upstream: Script,
    pub(crate) outcome: Outcome,
    #[serde(default)]
    pub(crate) reports: Vec<Report>,
    pub(crate) not_passing: Option<String>,
}

/// What the engine is asked.
pub(crate) enum Question<'a> {
    Generate(&'a Asked),
    Edit(&'a Asked),
    Models,
    Verify,
}

/// A job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) count: Option<u32>,
    pub(crate) steps: Option<u32>,
    pub(crate) seed: Option<u64>,
    #[serde(default)]
    pub(crate) parameters: Map<String, Value>,
    /// Only of an edit.
    #[serde(default)]
    pub(crate) sources: Vec<Picture>,
    /// Only of an edit.
    pub(crate) mask: Option<Picture>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What the upstream does.
pub(crate) enum Script {
    /// It answers these.
    Exchanges(Vec<Exchange>),
    /// It refuses connections.
    Nobody,
}

/// Which of the two servers.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum At {
    #[default]
    Upstream,
    Elsewhere,
}

/// A request that must come, and what is answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) at: At,
    pub(crate) request: Request,
    times: Option<Times>,
    #[serde(default)]
    pub(crate) any_order: bool,
    #[serde(default)]
    pub(crate) at_least_ms_after_reply: u64,
    pub(crate) reply: Option<Reply>,
    pub(crate) socket: Option<Vec<Step>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    at_least: Option<usize>,
    at_most: Option<usize>,
    #[serde(default)]
    at_least_ms_apart: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) line: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) json: Option<Value>,
    pub(crate) json_holds: Option<Value>,
    pub(crate) form: Option<Vec<FormPart>>,
    pub(crate) body: Option<NoBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoBody {
    None,
}

/// A part of a multipart form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormPart {
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) file_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) media_type: Option<Option<String>>,
    pub(crate) text: Option<String>,
    pub(crate) picture: Option<Picture>,
    pub(crate) same_pixels: Option<Picture>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    pub(crate) picture: Option<Picture>,
    pub(crate) events: Option<Vec<Event>>,
    pub(crate) media_type: Option<String>,
    recorded: Option<Recorded>,
    pub(crate) line_end: Option<String>,
    pub(crate) pieces: Option<usize>,
    pub(crate) after: Option<Moment>,
    #[serde(rename = "break")]
    pub(crate) breaks: Option<Break>,
    #[serde(default)]
    pub(crate) hangs: bool,
}

/// Where a connection breaks.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Break {
    BeforeHead,
    AfterBytes(usize),
}

/// A piece of a `text/event-stream`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) event: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    pub(crate) wait: Option<Moment>,
}

/// A response in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) at: String,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) replace: Map<String, Value>,
}

/// One thing that a WebSocket's server does.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Send(Value),
    SendText(String),
    SendBinary(Vec<Binary>),
    Expect(Value),
    Wait(Moment),
    Close(bool),
    Break(bool),
    Recorded(Frames),
}

/// A part of a binary message.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Binary {
    U32(u32),
    JsonWithLength(Value),
    Picture(Picture),
    Text(String),
}

/// Frames in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frames {
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) at: String,
    #[serde(default)]
    pub(crate) from: usize,
    pub(crate) to: Option<usize>,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) replace: Map<String, Value>,
}

/// Something that happens once.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moment {
    pub(crate) requested: Option<String>,
    pub(crate) times: Option<usize>,
    pub(crate) replied: Option<String>,
    pub(crate) reports: Option<usize>,
}

/// Words for a made picture, or a file.
pub(crate) struct Picture {
    source: Source,
    /// Empty until the case is loaded.
    pub(crate) bytes: Bytes,
}

enum Source {
    Words(String),
    File(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureFile {
    file: String,
}

/// What must come of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    pub(crate) pictures: Option<Pictures>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) revised_prompt: Option<Option<String>>,
    pub(crate) details: Option<Value>,
    pub(crate) error: Option<Failure>,
    pub(crate) models: Option<Value>,
    pub(crate) verified: Option<bool>,
}

/// How many, or which.
pub(crate) enum Pictures {
    Count(usize),
    List(Vec<Given>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) media_type: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) picture: Option<Picture>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: Vec<String>,
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) code: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) field: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) retry_after_ms: Option<Option<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) fraction: Option<f32>,
    pub(crate) queue_position: Option<u32>,
    pub(crate) note: Option<String>,
    pub(crate) preview: Option<String>,
}

/// Tells `null` from what is absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl Case {
    /// Reads a case's folder. The error says where in which file it is wrong.
    pub(crate) fn read(files: &Files) -> Result<Self, String> {
        let length = files.case.metadata(FILE).map(|file| file.len());
        let length = length.map_err(|error| format!("there is no {FILE}: {error}"))?;
        if length > MAX_CASE_BYTES {
            return Err(format!(
                "{FILE} has {length} bytes; {MAX_CASE_BYTES} are allowed"
            ));
        }
        let value = serde_json::from_slice(&files.read(FILE)?)
            .map_err(|error| format!("{FILE} is no JSON: {error}"))?;
        let wrong = |wrong: Wrong| match wrong.place.as_str() {
            "" => format!("{FILE}: {}", wrong.why),
            place => format!("{FILE} at {place}: {}", wrong.why),
        };
        let value = compute(value, files).map_err(wrong)?;
        let mut case: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            wrong(Wrong {
                place: pointer(error.path()),
                why: error.inner().to_string(),
            })
        })?;
        case.check().map_err(wrong)?;
        case.load(files).map_err(wrong)?;
        Ok(case)
    }

    /// What the engine is asked.
    pub(crate) fn question(&self) -> Question<'_> {
        match (&self.generate, &self.edit, &self.models) {
            (Some(asked), ..) => Question::Generate(asked),
            (_, Some(edit), _) => Question::Edit(edit),
            (_, _, Some(_)) => Question::Models,
            _ => Question::Verify,
        }
    }

    /// The exchanges; none where nobody is there.
    pub(crate) fn exchanges(&self) -> &[Exchange] {
        match &self.upstream {
            Script::Exchanges(exchanges) => exchanges,
            Script::Nobody => &[],
        }
    }

    /// What the types cannot say.
    fn check(&self) -> Result<(), Wrong> {
        let asked = [
            self.generate.is_some(),
            self.edit.is_some(),
            self.models.is_some(),
            self.verify.is_some(),
        ];
        one_of(&asked, "", "generate, edit, models and verify")?;
        if let Some(asked) = &self.generate
            && (asked.mask.is_some() || !asked.sources.is_empty())
        {
            return wrong("/generate", "sources and mask belong to edit");
        }
        let outcome = &self.outcome;
        let outcomes = [
            outcome.pictures.is_some(),
            outcome.error.is_some(),
            outcome.models.is_some(),
            outcome.verified.is_some(),
        ];
        one_of(
            &outcomes,
            "/outcome",
            "pictures, error, models and verified",
        )?;
        if let Some(error) = &outcome.error
            && !is_kind(&error.kind)
        {
            let why = format!("{:?} is no kind of error", error.kind);
            return wrong("/outcome/error/kind", &why);
        }
        for name in OWN_VARIABLES {
            if self.variables.contains_key(name) {
                let place = format!("/variables/{name}");
                return wrong(&place, "the kit sets this itself");
            }
        }
        if self.exchanges().len() > MAX_EXCHANGES {
            return wrong(
                "/upstream",
                &format!("{MAX_EXCHANGES} exchanges are allowed"),
            );
        }
        let names: Vec<&str> = self
            .exchanges()
            .iter()
            .filter_map(|exchange| exchange.name.as_deref())
            .collect();
        if let Some(cancel) = &self.cancel {
            cancel.check("/cancel", &names)?;
        }
        for (number, exchange) in self.exchanges().iter().enumerate() {
            exchange.check(&format!("/upstream/{number}"), &names)?;
        }
        Ok(())
    }

    /// Makes or reads every picture and recording.
    fn load(&mut self, files: &Files) -> Result<(), Wrong> {
        if let Some(edit) = &mut self.edit {
            for (number, source) in edit.sources.iter_mut().enumerate() {
                source.load(files, &format!("/edit/sources/{number}"))?;
            }
            if let Some(mask) = &mut edit.mask {
                mask.load(files, "/edit/mask")?;
            }
        }
        if let Some(Pictures::List(pictures)) = &mut self.outcome.pictures {
            for (number, given) in pictures.iter_mut().enumerate() {
                if let Some(picture) = &mut given.picture {
                    picture.load(files, &format!("/outcome/pictures/{number}/picture"))?;
                }
            }
        }
        let Script::Exchanges(exchanges) = &mut self.upstream else {
            return Ok(());
        };
        for (number, exchange) in exchanges.iter_mut().enumerate() {
            exchange.load(files, &format!("/upstream/{number}"))?;
        }
        Ok(())
    }
}

impl Exchange {
    /// It repeats, so what comes after does not wait for it.
    pub(crate) fn repeats(&self) -> bool {
        self.times.is_some()
    }

    pub(crate) fn at_least(&self) -> usize {
        let times = self.times.as_ref();
        times.and_then(|times| times.at_least).unwrap_or(1)
    }

    pub(crate) fn at_most(&self) -> usize {
        let times = self.times.as_ref();
        let most = times.and_then(|times| times.at_most);
        most.unwrap_or_else(|| match self.at_least() {
            0 => MANY_TIMES,
            least => least,
        })
    }

    pub(crate) fn at_least_ms_apart(&self) -> u64 {
        self.times
            .as_ref()
            .map_or(0, |times| times.at_least_ms_apart)
    }

    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let answers = [self.reply.is_some(), self.socket.is_some()];
        one_of(&answers, place, "reply and socket")?;
        let request = &self.request;
        let bodies = [
            request.json.is_some(),
            request.json_holds.is_some(),
            request.form.is_some(),
            request.body.is_some(),
        ];
        let here = format!("{place}/request");
        at_most_one_of(&bodies, &here, "json, json_holds, form and body")?;
        let line = request.line.split_once(' ');
        if line.is_none_or(|(_, target)| !target.starts_with(['/', '{'])) {
            return wrong(
                &format!("{here}/line"),
                "it is no line such as \"GET /models\"",
            );
        }
        if self.at_least() > self.at_most() {
            return wrong(&format!("{place}/times"), "at_least is more than at_most");
        }
        if let Some(reply) = &self.reply {
            reply.check(&format!("{place}/reply"), names)?;
        }
        for (number, step) in self.socket.iter().flatten().enumerate() {
            let here = format!("{place}/socket/{number}");
            match step {
                Step::Wait(moment) => moment.check(&format!("{here}/wait"), names)?,
                Step::Close(done) | Step::Break(done) => {
                    let last = self.socket.as_ref().map_or(0, Vec::len) == number + 1;
                    if !(*done && last) {
                        return wrong(&here, "close and break are true, and the last step");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn load(&mut self, files: &Files, place: &str) -> Result<(), Wrong> {
        for (number, part) in self.request.form.iter_mut().flatten().enumerate() {
            for picture in [&mut part.picture, &mut part.same_pixels]
                .into_iter()
                .flatten()
            {
                picture.load(files, &format!("{place}/request/form/{number}"))?;
            }
        }
        if let Some(reply) = &mut self.reply {
            let place = format!("{place}/reply");
            if let Some(picture) = &mut reply.picture {
                picture.load(files, &format!("{place}/picture"))?;
            }
            if let Some(recorded) = reply.recorded.take() {
                let filled = recording::fill(reply, &recorded, files);
                filled.map_err(|why| Wrong {
                    place: format!("{place}/recorded"),
                    why,
                })?;
            }
        }
        let Some(steps) = self.socket.take() else {
            return Ok(());
        };
        let mut all = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let place = format!("{place}/socket/{number}");
            match step {
                Step::Recorded(frames) => {
                    let frames = recording::frames(&frames, files);
                    all.extend(frames.map_err(|why| Wrong { place, why })?);
                }
                Step::SendBinary(mut parts) => {
                    for part in &mut parts {
                        if let Binary::Picture(picture) = part {
                            picture.load(files, &place)?;
                        }
                    }
                    all.push(Step::SendBinary(parts));
                }
                step => all.push(step),
            }
        }
        self.socket = Some(all);
        Ok(())
    }
}

impl Reply {
    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let bodies = [
            self.json.is_some(),
            self.text.is_some(),
            self.picture.is_some(),
            self.events.is_some(),
        ];
        at_most_one_of(&bodies, place, "json, text, picture and events")?;
        if self
            .status
            .is_some_and(|status| !(200..=599).contains(&status))
        {
            return wrong(&format!("{place}/status"), "a status is 200 to 599");
        }
        if self.pieces == Some(0) {
            return wrong(&format!("{place}/pieces"), "a piece has at least 1 byte");
        }
        if let Some(after) = &self.after {
            after.check(&format!("{place}/after"), names)?;
        }
        for (number, event) in self.events.iter().flatten().enumerate() {
            let place = format!("{place}/events/{number}");
            let kinds = [
                event.json.is_some(),
                event.text.is_some(),
                event.wait.is_some(),
            ];
            one_of(&kinds, &place, "json, text and wait")?;
            if let Some(wait) = &event.wait {
                wait.check(&format!("{place}/wait"), names)?;
            }
        }
        Ok(())
    }
}

impl Moment {
    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let kinds = [
            self.requested.is_some(),
            self.replied.is_some(),
            self.reports.is_some(),
        ];
        one_of(&kinds, place, "requested, replied and reports")?;
        if self.times.is_some() && self.requested.is_none() {
            return wrong(&format!("{place}/times"), "it belongs to requested");
        }
        let name = self.requested.as_deref().or(self.replied.as_deref());
        match name.filter(|name| !names.contains(name)) {
            Some(name) => wrong(place, &format!("there is no exchange named {name:?}")),
            None => Ok(()),
        }
    }
}

impl Picture {
    /// Of these bytes.
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self {
            source: Source::File(String::new()),
            bytes,
        }
    }

    fn load(&mut self, files: &Files, place: &str) -> Result<(), Wrong> {
        let bytes = match &self.source {
            Source::Words(words) => picture::make(words),
            Source::File(file) => files.read(file),
        };
        self.bytes = bytes.map_err(|why| Wrong {
            place: place.to_owned(),
            why,
        })?;
        Ok(())
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::Exchanges(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Script;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of exchanges or \"nobody\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Script, E> {
                match text {
                    "nobody" => Ok(Script::Nobody),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Script, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Script::Exchanges)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Pictures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Pictures;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a list of pictures")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Pictures, E> {
                usize::try_from(count)
                    .map(Pictures::Count)
                    .map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Pictures, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Pictures::List)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Source;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a picture such as \"png 64x48\" or {\"file\": \"fox.png\"}")
            }
            fn visit_str<E: de::Error>(self, words: &str) -> Result<Source, E> {
                Ok(Source::Words(words.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                let map = PictureFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Source::File(map.file))
            }
        }
        let source = deserializer.deserialize_any(Either)?;
        Ok(Self {
            source,
            bytes: Bytes::new(),
        })
    }
}

fn wrong<T>(place: &str, why: &str) -> Result<T, Wrong> {
    Err(Wrong {
        place: place.to_owned(),
        why: why.to_owned(),
    })
}

fn at_most_one_of(there: &[bool], place: &str, names: &str) -> Result<(), Wrong> {
    match there.iter().filter(|there| **there).count() {
        0 | 1 => Ok(()),
        _ => wrong(place, &format!("only one of {names} may be there")),
    }
}

fn one_of(there: &[bool], place: &str, names: &str) -> Result<(), Wrong> {
    if !there.contains(&true) {
        return wrong(place, &format!("one of {names} must be there"));
    }
    at_most_one_of(there, place, names)
}

/// A place as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let steps = path.iter().map(|step| match step {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", super::value::escaped(key)),
        // Its name stands as a key in the file.
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => "/?".to_owned(),
    });
    steps.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Reads a case of this JSON, in a folder beside one with these recordings.
    pub(crate) fn read(case: &Value, recordings: &Value) -> Result<Case, String> {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::folder::open(folder.path()).unwrap();
        engine.create_dir_all("case").unwrap();
        engine.create_dir_all("recordings").unwrap();
        let recorded = recordings.to_string();
        engine.write("recordings/all.json", recorded).unwrap();
        let own = engine.open_dir("case").unwrap();
        own.write(FILE, case.to_string()).unwrap();
        Case::read(&Files { case: own, engine })
    }

    /// A case with these exchanges, about whose job nothing is said.
    pub(crate) fn with_exchanges(exchanges: &Value) -> Value {
        json!({"about": "a test", "generate": {"prompt": "a fox"}, "upstream": exchanges,
               "outcome": {"pictures": 1}})
    }

    fn check(pointer: &str, value: Value, place: &str, expected: &str) {
        let exchange = json!({"name": "x", "request": {"line": "GET /x"}, "reply": {}});
        let mut case = with_exchanges(&json!([exchange]));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = case.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        let error = read(&case, &json!({})).err().unwrap();
        assert!(
            error.starts_with(&format!("{FILE}{place}")),
            "{pointer}: {error}"
        );
        assert!(error.contains(expected), "{pointer}: {error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check("/more", json!(1), " at /more: ", "unknown field `more`");
        check("/about", json!(1), " at /about: ", "a string");
        check("/verify", json!({}), ": ", "only one of generate");
        check(
            "/outcome/verified",
            json!(true),
            " at /outcome: ",
            "only one of pictures",
        );
        check(
            "/generate/mask",
            json!("png 1x1"),
            " at /generate: ",
            "belong to edit",
        );
        check(
            "/variables",
            json!({"PINHOLE_DATA": "x"}),
            " at /variables/PINHOLE_DATA",
            "kit",
        );
        check(
            "/upstream",
            json!("somebody"),
            " at /upstream: ",
            "\"nobody\"",
        );
        check(
            "/upstream",
            json!([{}]),
            " at /upstream/0: ",
            "missing field `request`",
        );
        check(
            "/upstream/0/request/jsn",
            json!(1),
            " at /upstream/0/request/jsn",
            "unknown field",
        );
        check(
            "/upstream/0/request/line",
            json!("GET"),
            " at /upstream/0/request/line",
            "no line",
        );
        check(
            "/upstream/0/request/form",
            json!([{"x": 1}]),
            " at /upstream/0/request/form/0/x",
            "",
        );
        check(
            "/upstream/0/reply/status",
            json!(99),
            " at /upstream/0/reply/status",
            "200 to 599",
        );
        check(
            "/upstream/0/reply/events",
            json!([{}]),
            " at /upstream/0/reply/events/0",
            "one of",
        );
        check(
            "/upstream/0/reply/picture",
            json!("png"),
            " at /upstream/0/reply/picture",
            "64x48",
        );
        check(
            "/upstream/0/reply/break",
            json!("now"),
            " at /upstream/0/reply/break",
            "now",
        );
        check(
            "/upstream/0/socket",
            json!([]),
            " at /upstream/0: ",
            "only one of reply",
        );
        check(
            "/upstream/0/times",
            json!({"at_least": 2, "at_most": 1}),
            " at /upstream/0/times",
            "",
        );
        check(
            "/cancel",
            json!({"requested": "y"}),
            " at /cancel: ",
            "no exchange named \"y\"",
        );
        check(
            "/cancel",
            json!({"times": 2}),
            " at /cancel: ",
            "one of requested",
        );
        check(
            "/outcome",
            json!({"error": {"kind": "bad"}}),
            " at /outcome/error/kind",
            "\"bad\"",
        );
        check(
            "/outcome/pictures",
            json!("1"),
            " at /outcome/pictures",
            "a list of pictures",
        );
        check(
            "/outcome/pictures",
            json!([{"x": 1}]),
            " at /outcome/pictures/0/x",
            "`x`",
        );
    }

    #[test]
    fn steps_of_a_socket_are_checked() {
        for (steps, expected) in [
            (
                json!([{"close": true}, {"send": 1}]),
                "/upstream/0/socket/0: close",
            ),
            (json!([{"break": false}]), "/upstream/0/socket/0: close"),
            (
                json!([{"wait": {"replied": "y"}}]),
                "/upstream/0/socket/0/wait: there is no",
            ),
            (json!([{"sent": 1}]), "unknown variant `sent`"),
        ] {
            let exchange = json!({"request": {"line": "GET /x"}, "socket": steps});
            let case = with_exchanges(&json!([exchange]));
            let error = read(&case, &json!({})).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_recording_fills_in_a_reply() {
        let recordings = json!([{"response": {
            "status": 404,
            "headers": {"Content-Type": "text/odd", "Content-Length": "5", "Retry-After": "3"},
            "json": {"list": ["old"]},
        }}, {"response": {"status": 200, "headers": {}, "body": {"bytes": 9, "head_hex": "ffd8ffe0"}}}]);
        let reply = |at: &str, own: Value| {
            let mut reply = json!({"recorded": {"file": "recordings/all.json", "at": at,
                "with": own["with"], "replace": {"old": "{x}"}}});
            if own["with"].is_null() {
                reply["recorded"].as_object_mut().unwrap().remove("with");
            }
            for (key, value) in own["own"].as_object().into_iter().flatten() {
                reply[key] = value.clone();
            }
            let exchange = json!({"request": {"line": "GET /x"}, "reply": reply});
            let mut case = read(&with_exchanges(&json!([exchange])), &recordings).unwrap();
            let Script::Exchanges(exchanges) = &mut case.upstream else {
                panic!("exchanges became none")
            };
            exchanges.remove(0).reply.unwrap()
        };
        let filled = reply("/0/response", json!({"with": {"/json/list/1": 2}}));
        assert_eq!(
            (filled.status, filled.json),
            (Some(404), Some(json!({"list": ["{x}", 2]})))
        );
        let headers: Vec<_> = filled.headers.into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("content-type", "text/odd"), pair("retry-after", "3")];
        assert_eq!(headers, expected);

        let own = reply("/0/response", json!({"own": {"status": 500, "text": "x"}}));
        assert_eq!(
            (own.status, own.json, own.text.as_deref()),
            (Some(500), None, Some("x"))
        );
        assert!(!own.headers.contains_key("content-type"));

        let picture = reply("/1/response", json!({})).picture.unwrap();
        assert_eq!(picture.bytes, picture::make("jpeg 8x8").unwrap());
    }

    #[test]
    fn recorded_frames_become_steps() {
        let recordings = json!({"ws": [
            {"dir": "open", "path": "/ws"},
            {"dir": "recv", "text": {"id": "old"}},
            {"dir": "send", "text": {}},
            {"dir": "recv", "binary": {"event_type": 1, "image_format": 2, "image_head_hex": "89504e470d0a1a0a"}},
            {"dir": "recv", "binary": {"event_type": 4, "metadata": {"id": "old"}, "image_head_hex": "ffd8ffe0"}},
            {"dir": "recv", "text": "late"},
        ]});
        let frames = json!({"file": "recordings/all.json", "at": "/ws", "from": 1, "to": 5,
            "replace": {"old": "new"}});
        let exchange = json!({"request": {"line": "GET /x"}, "socket": [{"recorded": frames}]});
        let case = read(&with_exchanges(&json!([exchange])), &recordings).unwrap();
        let steps = case.exchanges()[0].socket.as_ref().unwrap();
        let [
            Step::Send(text),
            Step::SendBinary(png),
            Step::SendBinary(jpeg),
        ] = steps.as_slice()
        else {
            panic!("{} steps", steps.len())
        };
        assert_eq!(*text, json!({"id": "new"}));
        let [Binary::U32(1), Binary::U32(2), Binary::Picture(picture)] = png.as_slice() else {
            panic!("a frame of event 1 is two numbers and a picture")
        };
        assert_eq!(picture.bytes, picture::make("png 8x8").unwrap());
        let [
            Binary::U32(4),
            Binary::JsonWithLength(json),
            Binary::Picture(_),
        ] = jpeg.as_slice()
        else {
            panic!("a frame of event 4 is a number, JSON and a picture")
        };
        assert_eq!(*json, json!({"id": "new"}));
    }
}
