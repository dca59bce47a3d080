//! Progress of our job, from the frames of the socket.
//!
//! The server sends some frames about other clients' jobs to every client, so only frames with our
//! job's id count.

use pinhole_sdk::{Error, Progress};
use serde_json::Value;

use crate::error;
use crate::execution::Part;
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
    part: Part,
    nodes: NodeProgress,
    current_node: Option<String>,
    is_running: bool,
    queue_position: Option<u32>,
    /// Running and waiting jobs of all clients, by the last status.
    queue_length: u64,
    note: Option<String>,
}

impl JobTracker {
    pub(crate) fn new(graph: &Graph, prompt_id: &str, part: Part) -> Self {
        Self {
            prompt_id: prompt_id.to_owned(),
            part,
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
        let Part { index, count } = self.part;
        let note = match &self.note {
            Some(note) if count > 1 => Some(format!("image {} of {count}: {note}", index + 1)),
            note => note.clone(),
        };
        Progress {
            fraction: fraction.map(|fraction| (index as f32 + fraction) / count.max(1) as f32),
            queue_position,
            note,
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
mod tests;
