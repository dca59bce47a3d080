//! A case: the content of `case.json`, described in `docs/reference/conformance-cases.md`.

mod deserialize;
mod exchange;
mod load;
mod outcome;
mod recording;
mod reply;
mod socket_step;
mod validate;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::case_files::CaseFiles;
use crate::computed::compute;
use crate::invalid_case::InvalidCase;
use crate::json_pointer;

pub(crate) use exchange::{Exchange, ExpectedFormField, ExpectedRequest, UpstreamServer};
pub(crate) use outcome::{
    ExpectedError, ExpectedImage, ExpectedImages, ExpectedOutcome, ExpectedReport,
};
pub(crate) use reply::{ConnectionBreak, Event, RecordedReply, Reply};
pub(crate) use socket_step::{BinaryPart, RecordedFrames, SocketStep};

/// The file in a case's directory.
const FILE: &str = "case.json";
/// Maximum length of that file, in bytes.
const MAX_CASE_BYTES: u64 = 1 << 20;

/// All of `case.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    generate: Option<JobSpec>,
    edit: Option<JobSpec>,
    models: Option<EmptyObject>,
    verify: Option<EmptyObject>,
    pub(crate) cancel: Option<Moment>,
    /// What an earlier attempt of the job stored.
    pub(crate) remembered: Option<String>,
    #[serde(default, rename = "upstream")]
    pub(crate) script: Script,
    pub(crate) outcome: ExpectedOutcome,
    #[serde(default)]
    pub(crate) reports: Vec<ExpectedReport>,
    /// Why the case is expected to fail.
    pub(crate) not_passing: Option<String>,
}

/// The call that a case makes.
pub(crate) enum Call<'a> {
    Generate(&'a JobSpec),
    Edit(&'a JobSpec),
    Models,
    Verify,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSpec {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) count: Option<u32>,
    pub(crate) steps: Option<u32>,
    pub(crate) seed: Option<u64>,
    pub(crate) strength: Option<f32>,
    #[serde(default)]
    pub(crate) parameters: Map<String, Value>,
    /// Only for an edit.
    #[serde(default)]
    pub(crate) sources: Vec<CaseImage>,
    /// Only for an edit.
    pub(crate) mask: Option<CaseImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyObject {}

/// The behavior of the upstream.
pub(crate) enum Script {
    Exchanges(Vec<Exchange>),
    /// Connections are refused: `"nobody"` in the file.
    RefuseConnections,
}

impl Default for Script {
    fn default() -> Self {
        Self::Exchanges(Vec::new())
    }
}

/// An event during a case that something waits for.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moment {
    /// The exchange with this name was requested `times` times.
    pub(crate) requested: Option<String>,
    pub(crate) times: Option<usize>,
    /// The exchange with this name was replied to.
    pub(crate) replied: Option<String>,
    /// The engine reported progress this often.
    pub(crate) reports: Option<usize>,
    /// `true`: the job was cancelled.
    pub(crate) cancelled: Option<bool>,
}

/// An image: a specification or a file.
pub(crate) struct CaseImage {
    origin: ImageOrigin,
    /// Empty until the case is loaded.
    pub(crate) bytes: Bytes,
}

enum ImageOrigin {
    /// Such as `png 64x48`.
    Spec(String),
    File(String),
}

impl Case {
    /// Reads and validates a case. The error names the file and the invalid value.
    pub(crate) fn read(files: &CaseFiles) -> Result<Self, String> {
        let length = files
            .case
            .metadata(FILE)
            .map_err(|error| format!("cannot read {FILE}: {error}"))?
            .len();
        if length > MAX_CASE_BYTES {
            return Err(format!(
                "{FILE} is too long: {length} bytes (limit {MAX_CASE_BYTES})"
            ));
        }
        let json = serde_json::from_slice(&files.read_bytes(FILE)?)
            .map_err(|error| format!("{FILE} is not JSON: {error}"))?;
        Self::parse(json, files).map_err(|invalid| invalid.message(FILE))
    }

    fn parse(json: Value, files: &CaseFiles) -> Result<Self, InvalidCase> {
        let computed = compute(json, files)?;
        let mut case: Self = serde_path_to_error::deserialize(computed).map_err(|error| {
            let pointer = json_pointer::from_path(error.path());
            InvalidCase::at(&pointer, error.inner().to_string())
        })?;
        case.validate()?;
        case.load(files)?;
        Ok(case)
    }

    pub(crate) const fn call(&self) -> Call<'_> {
        match (&self.generate, &self.edit, &self.models) {
            (Some(job), ..) => Call::Generate(job),
            (_, Some(job), _) => Call::Edit(job),
            (_, _, Some(_)) => Call::Models,
            _ => Call::Verify,
        }
    }

    /// The exchanges of the script, in order.
    pub(crate) fn exchanges(&self) -> &[Exchange] {
        match &self.script {
            Script::Exchanges(exchanges) => exchanges,
            Script::RefuseConnections => &[],
        }
    }
}

impl CaseImage {
    pub(crate) const fn from_bytes(bytes: Bytes) -> Self {
        Self {
            origin: ImageOrigin::File(String::new()),
            bytes,
        }
    }
}

/// Deserializes an optional key so that `null` differs from an absent key.
fn deserialize_present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
pub(crate) mod tests {
    //! Cases for the tests of other modules.

    use serde_json::json;

    use super::*;

    /// Reads a case of this JSON. Its engine has the file `recordings/all.json` with these recordings.
    pub(crate) fn read_case(case: &Value, recordings: &Value) -> Result<Case, String> {
        let directory = tempfile::tempdir().unwrap();
        let engine = pinhole_ground::data_dir::open(directory.path()).unwrap();
        engine.create_dir_all("case").unwrap();
        engine.create_dir_all("recordings").unwrap();
        let recorded = recordings.to_string();
        engine.write("recordings/all.json", recorded).unwrap();
        let own = engine.open_dir("case").unwrap();
        own.write(FILE, case.to_string()).unwrap();
        Case::read(&CaseFiles { case: own, engine })
    }

    /// The JSON of a case with these exchanges.
    pub(crate) fn case_with_exchanges(exchanges: &Value) -> Value {
        json!({"about": "a test", "generate": {"prompt": "a fox"}, "upstream": exchanges,
               "outcome": {"pictures": 1}})
    }
}
