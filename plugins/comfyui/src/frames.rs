//! The frames of the socket: which are about our job, and what they tell.
//!
//! The server sends some frames of other people's jobs to everybody, so only those count that
//! carry our job's id.

use std::collections::BTreeMap;

use pinhole_sdk::{Error, Progress};
use serde::Deserialize;
use serde_json::Value;

use crate::refusal;
use crate::workflow::{Graph, class, find};

/// What a sampler weighs in the progress; every other node weighs 1.
const SAMPLER_WEIGHT: f32 = 20.0;
/// The head of a binary frame, in bytes: two big-endian numbers of four.
pub(crate) const HEAD_BYTES: u32 = 8;
/// A preview's description longer than this, in bytes, is not read.
const MAX_METADATA_BYTES: u32 = 16 * 1024;

/// A text frame.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
}

/// What a text frame means to us.
#[derive(Debug)]
pub(crate) enum Heard {
    Nothing,
    /// There is something new to report.
    News,
    /// The job is over; what became of it stands in the history.
    Done,
    Failed(Error),
}

/// The head of a binary frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head {
    /// A picture that does not say whose it is.
    Bare { png: bool },
    /// A picture behind its description of this length, in bytes.
    Described { length: u32 },
}

/// What a picture on the socket is to us.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shown {
    Preview,
    /// From a node that sends its images here instead of saving them.
    Final,
}

/// Our job, as far as it was heard of.
#[derive(Debug)]
pub(crate) struct Watch {
    prompt_id: String,
    weights: BTreeMap<String, f32>,
    classes: BTreeMap<String, String>,
    /// The part done of each node that has begun, from 0 to 1.
    parts: BTreeMap<String, f32>,
    node: Option<String>,
    running: bool,
    position: Option<u32>,
    note: Option<String>,
}

impl Watch {
    pub(crate) fn new(graph: &Graph, prompt_id: &str) -> Self {
        let weigh = |id: &String| {
            let sampler = find::is_sampler(graph, id);
            (id.clone(), if sampler { SAMPLER_WEIGHT } else { 1.0 })
        };
        let name = |id: &String| Some((id.clone(), class(graph, id)?.to_owned()));
        Self {
            prompt_id: prompt_id.to_owned(),
            weights: graph.keys().map(weigh).collect(),
            classes: graph.keys().filter_map(name).collect(),
            parts: BTreeMap::new(),
            node: None,
            running: false,
            position: None,
            note: None,
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let whole: f32 = self.weights.values().sum();
        let weigh = |(id, part): (&String, &f32)| self.weights.get(id).map(|weight| weight * part);
        let done: f32 = self.parts.iter().filter_map(weigh).sum();
        Progress {
            fraction: (self.running && whole > 0.0).then(|| done / whole),
            queue_position: self.position.filter(|_| !self.running),
            note: self.note.clone(),
        }
    }

    pub(crate) fn hear(&mut self, frame: &Frame) -> Heard {
        let before = self.progress();
        let data = &frame.data;
        if frame.kind == "status" {
            self.queue(data);
        } else if !self.is_ours(data) {
            return Heard::Nothing;
        }
        match frame.kind.as_str() {
            "execution_start" => self.running = true,
            "execution_cached" => self.cached(data),
            "executing" => match data.get("node") {
                Some(Value::Null) => return Heard::Done,
                node => self.enter(node.and_then(Value::as_str), shown_as(data)),
            },
            "progress" => {
                if let Some(node) = data.get("node").and_then(Value::as_str) {
                    self.advance(node, data);
                }
            }
            "progress_state" => self.advance_all(data),
            "execution_error" => return Heard::Failed(refusal::failed(data)),
            "execution_interrupted" => return Heard::Failed(refusal::interrupted()),
            _ => {}
        }
        let after = self.progress();
        let known = |progress: &Progress| {
            (
                progress.fraction,
                progress.queue_position,
                progress.note.clone(),
            )
        };
        if known(&before) == known(&after) {
            Heard::Nothing
        } else {
            Heard::News
        }
    }

    /// What to make of a picture that does not say whose it is: ours only while a node of ours
    /// runs that sends its images here. Anything else may be of another's job.
    pub(crate) fn bare(&self, png: bool) -> Option<Shown> {
        let sends = self
            .node
            .as_deref()
            .is_some_and(|node| self.sends_images(node));
        (png && sends).then_some(Shown::Final)
    }

    /// The same from its description.
    pub(crate) fn described(&self, metadata: &[u8]) -> Option<Shown> {
        let metadata: Value = serde_json::from_slice(metadata).ok()?;
        if !self.is_ours(&metadata) {
            return None;
        }
        let node = metadata.get("node_id").and_then(Value::as_str);
        let sends = node.is_some_and(|node| self.sends_images(node));
        Some(if sends { Shown::Final } else { Shown::Preview })
    }

    fn is_ours(&self, data: &Value) -> bool {
        data.get("prompt_id").and_then(Value::as_str) == Some(&self.prompt_id)
    }

    fn sends_images(&self, node: &str) -> bool {
        self.classes
            .get(node)
            .is_some_and(|class| class == "SaveImageWebsocket")
    }

    /// A status counts all jobs, ours among them, and those behind it too: the least of what was
    /// heard is nearest. The greeting, which has a `sid`, is of before our job.
    fn queue(&mut self, data: &Value) {
        let jobs = data
            .pointer("/status/exec_info/queue_remaining")
            .and_then(Value::as_u64);
        if let (Some(jobs), None) = (jobs, data.get("sid")) {
            let before = u32::try_from(jobs.saturating_sub(1)).unwrap_or(u32::MAX);
            self.position = Some(
                self.position
                    .map_or(before, |position| position.min(before)),
            );
        }
    }

    fn cached(&mut self, data: &Value) {
        let nodes = data
            .get("nodes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for node in nodes.filter_map(Value::as_str) {
            self.set_part(node, 1.0);
        }
    }

    fn enter(&mut self, node: Option<&str>, shown_as: Option<&str>) {
        self.running = true;
        if let Some(left) = self.node.take() {
            self.set_part(&left, 1.0);
        }
        self.node = node.map(str::to_owned);
        let class = shown_as.and_then(|node| self.classes.get(node));
        self.note = class.map(|class| format!("running {class}"));
    }

    fn advance_all(&mut self, data: &Value) {
        let nodes = data.get("nodes").and_then(Value::as_object);
        for (id, state) in nodes.into_iter().flatten() {
            match state.get("state").and_then(Value::as_str) {
                Some("finished") => self.set_part(id, 1.0),
                _ => self.advance(id, state),
            }
        }
    }

    /// From `value` of `max` steps.
    fn advance(&mut self, node: &str, steps: &Value) {
        let number = |key: &str| steps.get(key).and_then(Value::as_f64);
        let (Some(value), Some(max)) = (number("value"), number("max")) else {
            return;
        };
        if max <= 0.0 {
            return;
        }
        self.running = true;
        self.set_part(node, (value / max).clamp(0.0, 1.0) as f32);
        if max > 1.0 && value > 0.0 {
            self.note = Some(format!("step {} of {}", value.min(max), max));
        }
    }

    /// Parts never shrink, and nodes that are not in the graph have none: a node may unfold into more.
    fn set_part(&mut self, node: &str, part: f32) {
        if self.weights.contains_key(node) {
            let known = self.parts.entry(node.to_owned()).or_default();
            *known = known.max(part);
        }
    }
}

/// The node of the graph that stands for the one which runs.
fn shown_as(data: &Value) -> Option<&str> {
    let node = data.get("display_node").and_then(Value::as_str);
    node.or_else(|| data.get("node").and_then(Value::as_str))
}

impl Head {
    /// From the first bytes of a frame; `None` for kinds that carry no picture.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (event, rest) = bytes.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        match (u32::from_be_bytes(*event), u32::from_be_bytes(*number)) {
            (1, format) => Some(Self::Bare { png: format == 2 }),
            (4, length) if length <= MAX_METADATA_BYTES => Some(Self::Described { length }),
            _ => None,
        }
    }
}
