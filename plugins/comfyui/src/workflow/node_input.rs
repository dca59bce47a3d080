//! An input of a node that a job fills.

use serde_json::Value;

/// The value that says how far an edit may differ from its source.
pub(super) const STRENGTH: &str = "strength";
/// The input of a sampler that takes it, and the name of the same value as a parameter.
pub(super) const DENOISE: &str = "denoise";

/// An input of a node, and the content that a job writes to it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInput {
    /// Which value a job writes.
    pub content: InputContent,
    /// The node's id.
    pub node: String,
    /// The name of the node's input.
    pub input: String,
}

/// What a job writes to an input.
#[derive(Clone, Debug, PartialEq)]
pub enum InputContent {
    /// The job's value of this name.
    JobValue(String),
    /// The server's name of an uploaded source image, by its index.
    Source(usize),
    /// The server's name of the uploaded mask.
    Mask,
    /// This value, for every job.
    Literal(Value),
}

impl NodeInput {
    /// Whether it takes the value of this name. What takes the strength also takes the parameter `denoise`.
    pub(super) fn takes(&self, name: &str) -> bool {
        let InputContent::JobValue(value) = &self.content else {
            return false;
        };
        value == name || value == STRENGTH && name == DENOISE
    }
}
