//! A case as its folder holds it; `docs/reference/conformance-cases.md` is the description.

mod check;
mod either;
mod load;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::value::{Files, Wrong, compute};

/// The file in a case's folder.
pub(crate) const FILE: &str = "case.json";
/// Length of that file, in bytes.
const MAX_CASE_BYTES: u64 = 1 << 20;
/// Times that a repeating request may come where nothing is said.
const MANY_TIMES: usize = 1000;

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
}

impl Picture {
    /// Of these bytes.
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self {
            source: Source::File(String::new()),
            bytes,
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::Exchanges(Vec::new())
    }
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
    //! What other tests read cases with.

    use serde_json::json;

    use super::*;

    /// Reads a case of this JSON, in a folder beside one with these recordings.
    pub(crate) fn read(case: &Value, recordings: &Value) -> Result<Case, String> {
        let folder = tempfile::tempdir().unwrap();
        let engine = pinhole_ground::data_dir::open(folder.path()).unwrap();
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
}
