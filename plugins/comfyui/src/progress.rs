//! The frames of the socket: which are about our job, and what they tell.
//!
//! The server sends some frames of other people's jobs to everybody, so only those count that
//! carry our job's id.

use std::collections::BTreeMap;

use pinhole_sdk::{Error, Progress};
use serde::Deserialize;
use serde_json::Value;

use crate::refusal;
use crate::workflow::{Graph, class, is_sampler};

/// What a sampler weighs in the progress; every other node weighs 1.
const SAMPLER_WEIGHT: f32 = 20.0;
/// The head of a binary frame, in bytes: two big-endian numbers of four.
pub(crate) const HEAD_BYTES: u32 = 8;
/// Length of a frame's type, in bytes; those of custom nodes may be any.
pub(crate) const MAX_KIND_BYTES: u32 = 64;
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

/// Is a frame of this type worth reading? Custom nodes send any, and `progress_state`, which repeats
/// the state of every node at every step, says nothing that the others do not.
pub(crate) fn is_told(kind: &str) -> bool {
    matches!(
        kind,
        "status"
            | "execution_start"
            | "execution_cached"
            | "executing"
            | "progress"
            | "executed"
            | "execution_error"
            | "execution_interrupted"
    )
}

/// What a text frame means to us.
#[derive(Debug)]
pub(crate) enum Heard {
    Nothing,
    /// There is something new to report.
    News,
    /// There is no more to come; what became of the job stands in the history.
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
    /// Those of the graph, by id.
    nodes: BTreeMap<String, Node>,
    /// The one at work.
    node: Option<String>,
    running: bool,
    position: Option<u32>,
    note: Option<String>,
}

/// A node of our graph, as far as it was heard of.
#[derive(Debug)]
struct Node {
    class: String,
    weight: f32,
    /// The part done, from 0 to 1.
    part: f32,
}

impl Watch {
    pub(crate) fn new(graph: &Graph, prompt_id: &str) -> Self {
        let mut nodes = BTreeMap::new();
        for id in graph.keys() {
            let node = Node {
                class: class(graph, id).unwrap_or_default().to_owned(),
                weight: match is_sampler(graph, id) {
                    true => SAMPLER_WEIGHT,
                    false => 1.0,
                },
                part: 0.0,
            };
            nodes.insert(id.clone(), node);
        }
        Self {
            prompt_id: prompt_id.to_owned(),
            nodes,
            node: None,
            running: false,
            position: None,
            note: None,
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let (mut whole, mut done) = (0.0, 0.0);
        for node in self.nodes.values() {
            whole += node.weight;
            done += node.weight * node.part;
        }
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
            if self.queue(data) {
                return Heard::Done;
            }
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
            "executed" => {
                if let Some(node) = shown_as(data) {
                    self.set_part(node, 1.0);
                }
            }
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
        self.nodes
            .get(node)
            .is_some_and(|node| node.class == "SaveImageWebsocket")
    }

    /// A status counts all jobs, ours among them, and those behind it too: the least of what was
    /// heard is nearest. The greeting, which has a `sid`, is of before our job.
    ///
    /// True when ours was there, never ran, and the queue is empty: somebody removed it, and
    /// nothing more will be said about it.
    fn queue(&mut self, data: &Value) -> bool {
        let jobs = data.pointer("/status/exec_info/queue_remaining");
        let (Some(jobs), None) = (jobs.and_then(Value::as_u64), data.get("sid")) else {
            return false;
        };
        if jobs == 0 {
            return self.position.is_some() && !self.running;
        }
        let before = u32::try_from(jobs - 1).unwrap_or(u32::MAX);
        self.position = Some(self.position.map_or(before, |known| known.min(before)));
        false
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
        let shown = shown_as.and_then(|node| self.nodes.get(node));
        let shown = shown.filter(|node| !node.class.is_empty());
        self.note = shown.map(|node| format!("running {}", node.class));
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
        if let Some(node) = self.nodes.get_mut(node) {
            node.part = node.part.max(part);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Recording {
        graph: Graph,
        prompt_id: String,
        frames: Vec<Recorded>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Recorded {
        Text(Frame),
        Binary {
            head_hex: String,
            metadata: Option<Value>,
        },
    }

    /// What came of a recording: fractions and notes as reported, pictures, and whether it ended.
    #[derive(Default)]
    struct Played {
        fractions: Vec<f32>,
        notes: Vec<String>,
        shown: Vec<Option<Shown>>,
        done: bool,
    }

    fn play(recording: Recording, prompt_id: &str) -> Played {
        let mut watch = Watch::new(&recording.graph, prompt_id);
        let mut played = Played::default();
        for frame in recording.frames {
            match frame {
                Recorded::Text(frame) if !is_told(&frame.kind) => {}
                Recorded::Text(frame) => match watch.hear(&frame) {
                    Heard::News => {
                        let progress = watch.progress();
                        played.fractions.extend(progress.fraction);
                        played.notes.extend(progress.note);
                    }
                    Heard::Done => played.done = true,
                    Heard::Nothing => {}
                    Heard::Failed(error) => panic!("{error:?}"),
                },
                Recorded::Binary { head_hex, metadata } => {
                    let bytes: Vec<u8> = (0..16)
                        .step_by(2)
                        .map(|at| u8::from_str_radix(&head_hex[at..at + 2], 16).unwrap())
                        .collect();
                    let shown = match Head::read(&bytes).unwrap() {
                        Head::Bare { png } => watch.bare(png),
                        Head::Described { .. } => {
                            watch.described(metadata.unwrap().to_string().as_bytes())
                        }
                    };
                    played.shown.push(shown);
                }
            }
        }
        played.notes.dedup();
        played
    }

    fn recording(text: &str) -> Recording {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_recorded_run() {
        let recording = recording(include_str!("../testdata/frames.json"));
        let id = recording.prompt_id.clone();
        let played = play(recording, &id);
        assert!(played.done);
        assert!(played.fractions.is_sorted(), "{:?}", played.fractions);
        assert!(played.fractions.last().is_some_and(|last| *last > 0.99));
        assert_eq!(
            played.notes,
            [
                "running CheckpointLoaderSimple",
                "running CLIPTextEncode",
                "running EmptyLatentImage",
                "running KSampler",
                "step 1 of 4",
                "step 2 of 4",
                "step 3 of 4",
                "step 4 of 4",
                "running VAEDecode",
                "running SaveImage",
            ]
        );
        assert_eq!(played.shown, [Some(Shown::Preview); 4]);
    }

    #[test]
    fn bare_pictures_count_only_from_a_node_that_sends_them() {
        let recording = recording(include_str!("../testdata/frames-websocket.json"));
        let id = recording.prompt_id.clone();
        let played = play(recording, &id);
        assert!(played.done);
        assert_eq!(played.shown, [None, None, None, Some(Shown::Final)]);
    }

    #[test]
    fn frames_of_another_job_are_ignored() {
        for text in [
            include_str!("../testdata/frames.json"),
            include_str!("../testdata/frames-websocket.json"),
        ] {
            let mut recording = recording(text);
            // The queue is everybody's.
            recording
                .frames
                .retain(|frame| !matches!(frame, Recorded::Text(frame) if frame.kind == "status"));
            let played = play(recording, "another");
            assert!(!played.done);
            assert!(played.fractions.is_empty() && played.notes.is_empty());
            assert!(played.shown.iter().all(Option::is_none));
        }
    }

    fn watch() -> Watch {
        let graph = json!({
            "3": {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0]}},
            "9": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
        });
        Watch::new(graph.as_object().unwrap(), "mine")
    }

    fn frame(kind: &str, data: Value) -> Frame {
        Frame {
            kind: kind.into(),
            data,
        }
    }

    #[test]
    fn described_final_images_are_told_from_previews() {
        let shown = |node: &str| {
            let metadata = json!({"prompt_id": "mine", "node_id": node});
            watch().described(metadata.to_string().as_bytes())
        };
        assert_eq!(shown("3"), Some(Shown::Preview));
        assert_eq!(shown("9"), Some(Shown::Final));
        assert_eq!(watch().described(b"no JSON"), None);
    }

    #[test]
    fn the_place_in_the_queue_is_the_least_heard_of() {
        let mut watch = watch();
        let status = |jobs: u64| {
            frame(
                "status",
                json!({"status": {"exec_info": {"queue_remaining": jobs}}}),
            )
        };
        watch.hear(&frame(
            "status",
            json!({"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}),
        ));
        assert_eq!(watch.progress().queue_position, None);
        for (jobs, expected) in [(3, 2), (4, 2), (2, 1)] {
            watch.hear(&status(jobs));
            assert_eq!(watch.progress().queue_position, Some(expected));
        }
        assert!(matches!(
            watch.hear(&frame("execution_start", json!({"prompt_id": "mine"}))),
            Heard::News
        ));
        assert_eq!(watch.progress().queue_position, None);
    }

    #[test]
    fn a_removed_job_is_not_waited_for() {
        let status = |jobs: u64| {
            let data = json!({"status": {"exec_info": {"queue_remaining": jobs}}});
            frame("status", data)
        };
        let mut removed = watch();
        assert!(matches!(removed.hear(&status(0)), Heard::Nothing));
        assert!(matches!(removed.hear(&status(2)), Heard::News));
        assert!(matches!(removed.hear(&status(0)), Heard::Done));
        let mut ran = watch();
        ran.hear(&status(1));
        ran.hear(&frame("execution_start", json!({"prompt_id": "mine"})));
        assert!(matches!(ran.hear(&status(0)), Heard::Nothing));
    }

    #[test]
    fn ends() {
        let recorded: Vec<Frame> =
            serde_json::from_str(include_str!("../testdata/frames-errors.json")).unwrap();
        for frame in recorded {
            let id = frame.data["prompt_id"].as_str().unwrap();
            let mut watch = Watch::new(&Graph::new(), id);
            assert!(matches!(watch.hear(&frame), Heard::Failed(_)));
        }
        let over = frame("executing", json!({"node": null, "prompt_id": "mine"}));
        assert!(matches!(watch().hear(&over), Heard::Done));
        // As a reconnected socket is greeted with, and as sent for other jobs.
        for data in [
            json!({"node": null}),
            json!({"node": null, "prompt_id": "x"}),
            json!({"node": "3"}),
        ] {
            assert!(matches!(
                watch().hear(&frame("executing", data)),
                Heard::Nothing
            ));
        }
    }

    #[test]
    fn odd_frames_do_no_harm() {
        let mut watch = watch();
        for (kind, data) in [
            (
                "progress",
                json!({"prompt_id": "mine", "node": "3", "value": 1, "max": 0}),
            ),
            (
                "progress",
                json!({"prompt_id": "mine", "node": "3", "value": -5, "max": 2}),
            ),
            (
                "progress",
                json!({"prompt_id": "mine", "node": "3", "value": 1e300, "max": 2}),
            ),
            (
                "progress",
                json!({"prompt_id": "mine", "node": "unfolded.1", "value": 1, "max": 2}),
            ),
            (
                "execution_cached",
                json!({"prompt_id": "mine", "nodes": {"3": 1}}),
            ),
            ("status", json!([])),
            ("executing", json!({"prompt_id": "mine"})),
            ("logs", json!({"prompt_id": "mine"})),
        ] {
            assert!(matches!(
                watch.hear(&frame(kind, data)),
                Heard::Nothing | Heard::News
            ));
            let fraction = watch.progress().fraction.unwrap_or(0.0);
            assert!((0.0..=1.0).contains(&fraction));
        }
        for bytes in [
            &b""[..],
            b"\0\0\0\x01",
            b"\0\0\0\x03\0\0\0\x01",
            b"\0\0\0\x04\xff\xff\xff\xff",
        ] {
            assert_eq!(Head::read(bytes), None);
        }
    }
}
