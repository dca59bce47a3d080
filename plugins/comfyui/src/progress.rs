//! Progress of our job, from the frames of the socket.
//!
//! The server sends some frames about other clients' jobs to every client, so only frames with our
//! job's id count.

use pinhole_sdk::{Error, Progress};
use serde_json::Value;

use crate::error;
use crate::frame::TextFrame;
use crate::node_progress::NodeProgress;
use crate::workflow::Graph;

/// The class of the node that sends its images over the socket instead of saving them.
pub(crate) const SOCKET_CLASS: &str = "SaveImageWebsocket";

/// The effect of a text frame on our job.
#[derive(Debug)]
pub(crate) enum FrameEffect {
    Ignored,
    /// The progress has changed.
    Progress,
    /// The job has ended. The history has its result.
    Ended,
    Failed(Error),
}

/// The use of an image on the socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ImageRole {
    Preview,
    /// From a node that sends its images over the socket instead of saving them.
    Result,
}

/// Tracks our job by the frames that concern it.
#[derive(Debug)]
pub(crate) struct JobTracker {
    prompt_id: String,
    nodes: NodeProgress,
    current_node: Option<String>,
    is_running: bool,
    queue_position: Option<u32>,
    /// Running and waiting jobs of all clients, by the last status.
    queue_length: u64,
    note: Option<String>,
}

impl JobTracker {
    pub(crate) fn new(graph: &Graph, prompt_id: &str) -> Self {
        Self {
            prompt_id: prompt_id.to_owned(),
            nodes: NodeProgress::new(graph),
            current_node: None,
            is_running: false,
            queue_position: None,
            queue_length: 0,
            note: None,
        }
    }

    /// Whether other jobs may run before ours. How many, only the queue itself says.
    pub(crate) fn waits_behind_others(&self) -> bool {
        !self.is_running && self.queue_length > 1
    }

    /// Applies our position in the queue. Returns whether it changed.
    pub(crate) fn set_queue_position(&mut self, position: u32) -> bool {
        !self.is_running && self.queue_position.replace(position) != Some(position)
    }

    pub(crate) fn progress(&self) -> Progress {
        let (fraction, queue_position) = if self.is_running {
            (self.nodes.fraction(), None)
        } else {
            (None, self.queue_position)
        };
        Progress {
            fraction,
            queue_position,
            note: self.note.clone(),
        }
    }

    pub(crate) fn apply(&mut self, frame: &TextFrame) -> FrameEffect {
        let before = self.progress();
        let data = &frame.data;
        if frame.frame_type == "status" {
            if self.apply_status(data) {
                return FrameEffect::Ended;
            }
        } else if !self.is_ours(data) && !is_resumption(frame) {
            return FrameEffect::Ignored;
        }
        match frame.frame_type.as_str() {
            "execution_start" => self.is_running = true,
            "execution_cached" => self.apply_cached(data),
            "executing" => match data.get("node") {
                Some(Value::Null) => return FrameEffect::Ended,
                node => self.start_node(node.and_then(Value::as_str), display_node(data)),
            },
            "progress" => {
                if let Some(node) = data.get("node").and_then(Value::as_str) {
                    self.apply_steps(node, data);
                }
            }
            "executed" => {
                if let Some(node) = display_node(data) {
                    self.nodes.raise(node, 1.0);
                }
            }
            "execution_error" => return FrameEffect::Failed(error::execution_failed(data)),
            "execution_interrupted" => return FrameEffect::Failed(error::interrupted()),
            _ => {}
        }
        let after = self.progress();
        let is_unchanged = before.fraction == after.fraction
            && before.queue_position == after.queue_position
            && before.note == after.note;
        if is_unchanged {
            FrameEffect::Ignored
        } else {
            FrameEffect::Progress
        }
    }

    /// The role of an image without metadata; `None` if it may be of another job. It is ours only while
    /// a node of our job runs that sends its images over the socket.
    pub(crate) fn image_role(&self, is_png: bool) -> Option<ImageRole> {
        let node = self.current_node.as_deref()?;
        (is_png && self.sends_images(node)).then_some(ImageRole::Result)
    }

    /// The role of an image with metadata; `None` if it is of another job.
    pub(crate) fn image_role_from_metadata(&self, metadata: &[u8]) -> Option<ImageRole> {
        let metadata: Value = serde_json::from_slice(metadata).ok()?;
        if !self.is_ours(&metadata) {
            return None;
        }
        let node = metadata.get("node_id").and_then(Value::as_str);
        if node.is_some_and(|node| self.sends_images(node)) {
            Some(ImageRole::Result)
        } else {
            Some(ImageRole::Preview)
        }
    }

    fn is_ours(&self, data: &Value) -> bool {
        data.get("prompt_id").and_then(Value::as_str) == Some(&self.prompt_id)
    }

    fn sends_images(&self, node: &str) -> bool {
        self.nodes.class(node) == Some(SOCKET_CLASS)
    }

    /// A status counts all jobs: ours, those before it and those behind it. So it gives our position only if
    /// there is no other, and else an upper bound of the last known one. The greeting, which has a `sid`, was
    /// sent before our job was queued.
    ///
    /// Returns true if our job was queued and never ran, and the queue is empty: another client removed
    /// it, and no further frame will concern it.
    fn apply_status(&mut self, data: &Value) -> bool {
        let remaining = data.pointer("/status/exec_info/queue_remaining");
        let (Some(jobs), None) = (remaining.and_then(Value::as_u64), data.get("sid")) else {
            return false;
        };
        let was_queued = self.queue_length > 0;
        self.queue_length = jobs;
        let Some(others) = jobs.checked_sub(1) else {
            return was_queued && !self.is_running;
        };
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        self.queue_position = match self.queue_position {
            Some(known) => Some(known.min(others)),
            None => (others == 0).then_some(0),
        };
        false
    }

    fn apply_cached(&mut self, data: &Value) {
        let nodes = data.get("nodes").and_then(Value::as_array);
        for node in nodes.into_iter().flatten().filter_map(Value::as_str) {
            self.nodes.raise(node, 1.0);
        }
    }

    fn start_node(&mut self, node: Option<&str>, display_node: Option<&str>) {
        self.is_running = true;
        if let Some(previous) = self.current_node.take() {
            self.nodes.raise(&previous, 1.0);
        }
        self.current_node = node.map(str::to_owned);
        self.note = display_node
            .and_then(|id| self.nodes.class(id))
            .filter(|class| !class.is_empty())
            .map(|class| format!("running {class}"));
    }

    /// Applies `value` of `max` steps of a node.
    fn apply_steps(&mut self, node: &str, steps: &Value) {
        let number = |key: &str| steps.get(key).and_then(Value::as_f64);
        let (Some(value), Some(max)) = (number("value"), number("max")) else {
            return;
        };
        if max <= 0.0 {
            return;
        }
        self.is_running = true;
        self.nodes.raise(node, (value / max).clamp(0.0, 1.0) as f32);
        if max > 1.0 && value > 0.0 {
            self.note = Some(format!("step {} of {}", value.min(max), max));
        }
    }
}

/// Whether the frame names the node that runs for a client which connected again. It goes to that client only,
/// and names no job.
fn is_resumption(frame: &TextFrame) -> bool {
    frame.frame_type == "executing"
        && frame.data.get("prompt_id").is_none()
        && frame.data.get("node").is_some_and(Value::is_string)
}

/// The node of the graph that represents the running node.
fn display_node(data: &Value) -> Option<&str> {
    let node = data.get("display_node").and_then(Value::as_str);
    node.or_else(|| data.get("node").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::frame::{BinaryHeader, is_relevant};

    #[derive(Deserialize)]
    struct Recording {
        graph: Graph,
        prompt_id: String,
        frames: Vec<RecordedFrame>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum RecordedFrame {
        Text(TextFrame),
        Binary {
            head_hex: String,
            metadata: Option<Value>,
        },
    }

    /// The result of a recording: reported fractions and notes, images, and whether the job ended.
    #[derive(Default)]
    struct Reports {
        fractions: Vec<f32>,
        notes: Vec<String>,
        images: Vec<Option<ImageRole>>,
        has_ended: bool,
    }

    fn replay(recording: Recording, prompt_id: &str) -> Reports {
        let mut tracker = JobTracker::new(&recording.graph, prompt_id);
        let mut reports = Reports::default();
        for frame in recording.frames {
            match frame {
                RecordedFrame::Text(frame) if !is_relevant(&frame.frame_type) => {}
                RecordedFrame::Text(frame) => match tracker.apply(&frame) {
                    FrameEffect::Progress => {
                        let progress = tracker.progress();
                        reports.fractions.extend(progress.fraction);
                        reports.notes.extend(progress.note);
                    }
                    FrameEffect::Ended => reports.has_ended = true,
                    FrameEffect::Ignored => {}
                    FrameEffect::Failed(error) => panic!("{error:?}"),
                },
                RecordedFrame::Binary { head_hex, metadata } => {
                    let bytes: Vec<u8> = (0..16)
                        .step_by(2)
                        .map(|at| u8::from_str_radix(&head_hex[at..at + 2], 16).unwrap())
                        .collect();
                    let role = match BinaryHeader::parse(&bytes).unwrap() {
                        BinaryHeader::Image { is_png } => tracker.image_role(is_png),
                        BinaryHeader::ImageWithMetadata { .. } => tracker
                            .image_role_from_metadata(metadata.unwrap().to_string().as_bytes()),
                    };
                    reports.images.push(role);
                }
            }
        }
        reports.notes.dedup();
        reports
    }

    fn parse_recording(text: &str) -> Recording {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn tracker_replays_recorded_run() {
        let recording = parse_recording(include_str!("../testdata/frames.json"));
        let id = recording.prompt_id.clone();
        let reports = replay(recording, &id);
        assert!(reports.has_ended);
        assert!(reports.fractions.is_sorted(), "{:?}", reports.fractions);
        assert!(reports.fractions.last().is_some_and(|last| *last > 0.99));
        assert_eq!(
            reports.notes,
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
        assert_eq!(reports.images, [Some(ImageRole::Preview); 4]);
    }

    #[test]
    fn image_without_metadata_counts_only_from_sending_node() {
        let recording = parse_recording(include_str!("../testdata/frames-websocket.json"));
        let id = recording.prompt_id.clone();
        let reports = replay(recording, &id);
        assert!(reports.has_ended);
        assert_eq!(reports.images, [None, None, None, Some(ImageRole::Result)]);
    }

    #[test]
    fn tracker_ignores_frames_of_other_job() {
        for text in [
            include_str!("../testdata/frames.json"),
            include_str!("../testdata/frames-websocket.json"),
        ] {
            let mut recording = parse_recording(text);
            // A status concerns the jobs of all clients.
            recording
                .frames
                .retain(|frame| !matches!(frame, RecordedFrame::Text(frame) if frame.frame_type == "status"));
            let reports = replay(recording, "another");
            assert!(!reports.has_ended);
            assert!(reports.fractions.is_empty() && reports.notes.is_empty());
            assert!(reports.images.iter().all(Option::is_none));
        }
    }

    fn tracker() -> JobTracker {
        let graph = json!({
            "3": {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0]}},
            "9": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
        });
        JobTracker::new(graph.as_object().unwrap(), "mine")
    }

    fn frame(frame_type: &str, data: Value) -> TextFrame {
        TextFrame {
            frame_type: frame_type.into(),
            data,
        }
    }

    #[test]
    fn metadata_separates_results_from_previews() {
        let role = |node: &str| {
            let metadata = json!({"prompt_id": "mine", "node_id": node});
            tracker().image_role_from_metadata(metadata.to_string().as_bytes())
        };
        assert_eq!(role("3"), Some(ImageRole::Preview));
        assert_eq!(role("9"), Some(ImageRole::Result));
        assert_eq!(tracker().image_role_from_metadata(b"no JSON"), None);
    }

    #[test]
    fn queue_position_comes_from_the_queue_and_never_exceeds_the_other_jobs() {
        let mut tracker = tracker();
        let status = |jobs: u64| {
            frame(
                "status",
                json!({"status": {"exec_info": {"queue_remaining": jobs}}}),
            )
        };
        tracker.apply(&frame(
            "status",
            json!({"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}),
        ));
        assert!(!tracker.waits_behind_others());
        // The jobs behind ours count too, so this says nothing of our position.
        tracker.apply(&status(4));
        assert_eq!(tracker.progress().queue_position, None);
        assert!(tracker.waits_behind_others());
        assert!(tracker.set_queue_position(2));
        assert!(!tracker.set_queue_position(2));
        for (jobs, expected) in [(5, 2), (2, 1), (1, 0)] {
            tracker.apply(&status(jobs));
            assert_eq!(tracker.progress().queue_position, Some(expected));
        }
        tracker.apply(&status(2));
        assert!(matches!(
            tracker.apply(&frame("execution_start", json!({"prompt_id": "mine"}))),
            FrameEffect::Progress
        ));
        assert_eq!(tracker.progress().queue_position, None);
        assert!(!tracker.waits_behind_others() && !tracker.set_queue_position(1));
    }

    #[test]
    fn tracker_resumes_the_node_that_ran_while_it_was_not_connected() {
        let mut tracker = tracker();
        let resumed = frame("executing", json!({"node": "9"}));
        assert!(matches!(tracker.apply(&resumed), FrameEffect::Progress));
        assert_eq!(tracker.image_role(true), Some(ImageRole::Result));
        let of_another = frame("executing", json!({"node": "3", "prompt_id": "theirs"}));
        assert!(matches!(tracker.apply(&of_another), FrameEffect::Ignored));
    }

    #[test]
    fn tracker_detects_removed_job() {
        let status = |jobs: u64| {
            let data = json!({"status": {"exec_info": {"queue_remaining": jobs}}});
            frame("status", data)
        };
        let mut removed = tracker();
        assert!(matches!(removed.apply(&status(0)), FrameEffect::Ignored));
        assert!(matches!(removed.apply(&status(2)), FrameEffect::Ignored));
        assert!(matches!(removed.apply(&status(0)), FrameEffect::Ended));
        let mut running = tracker();
        running.apply(&status(1));
        running.apply(&frame("execution_start", json!({"prompt_id": "mine"})));
        assert!(matches!(running.apply(&status(0)), FrameEffect::Ignored));
    }

    #[test]
    fn tracker_detects_end_of_job() {
        let recorded: Vec<TextFrame> =
            serde_json::from_str(include_str!("../testdata/frames-errors.json")).unwrap();
        for frame in recorded {
            let id = frame.data["prompt_id"].as_str().unwrap();
            let mut tracker = JobTracker::new(&Graph::new(), id);
            assert!(matches!(tracker.apply(&frame), FrameEffect::Failed(_)));
        }
        let over = frame("executing", json!({"node": null, "prompt_id": "mine"}));
        assert!(matches!(tracker().apply(&over), FrameEffect::Ended));
        // Frames about other jobs.
        for data in [
            json!({"node": null}),
            json!({"node": null, "prompt_id": "x"}),
        ] {
            assert!(matches!(
                tracker().apply(&frame("executing", data)),
                FrameEffect::Ignored
            ));
        }
    }

    #[test]
    fn tracker_tolerates_invalid_frames() {
        let mut tracker = tracker();
        for (frame_type, data) in [
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
                json!({"prompt_id": "mine", "node": "expanded.1", "value": 1, "max": 2}),
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
                tracker.apply(&frame(frame_type, data)),
                FrameEffect::Ignored | FrameEffect::Progress
            ));
            let fraction = tracker.progress().fraction.unwrap_or(0.0);
            assert!((0.0..=1.0).contains(&fraction));
        }
    }
}
