//! The operator's mapping from what a job holds to the nodes of a workflow.

use pinhole_sdk::{Error, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::keys::Key;
use super::{Graph, find, value};

/// One entry of the mapping.
///
/// Source: Open WebUI's `COMFYUI_WORKFLOW_NODES`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// What to write, such as `prompt`; without one, `value` itself is written.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Strings, or numbers that mean them.
    node_ids: Option<Vec<Value>>,
    /// The input to write to; a missing or empty one means the usual input of the type.
    key: Option<String>,
    value: Value,
}

/// An input of a node, and what belongs there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) what: What,
    pub(super) node: String,
    pub(super) input: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A value of the job, by its name.
    Named(String),
    /// The name of an uploaded source picture, by its number from 0.
    Source(usize),
    /// The name of the uploaded mask.
    Mask,
    Literal(Value),
}

impl Place {
    pub(super) fn takes(&self, name: &str) -> bool {
        matches!(&self.what, What::Named(what) if what == name)
    }
}

/// The entries in the text of a setting; none when it is unset.
pub(super) fn read(settings: &Settings, key: &Key) -> Result<Vec<Entry>, Error> {
    let invalid = |why: String| {
        let message = format!(
            "{key} must be a JSON list such as \
             [{{\"type\": \"prompt\", \"node_ids\": [\"6\"], \"key\": \"text\"}}]: {why}"
        );
        Error::invalid(key.name, message)
    };
    let Some(text) = settings.text(key.name) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))
}

/// Where the mapping wants its values; without a mapping, where they are found to belong.
///
/// A mapping that leaves out the prompt has it found, too: a picture that has nothing to do with
/// the prompt helps nobody. Fails on an entry that names a node which the workflow does not have.
pub(super) fn places(graph: &Graph, entries: &[Entry], key: &Key) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for place in entry.places(graph) {
            let node = graph.get(&place.node);
            if !node.is_some_and(|node| node.get("inputs").is_some_and(Value::is_object)) {
                let (number, node) = (index + 1, &place.node);
                let kind = entry.kind().map(|kind| format!(" ({kind})"));
                let message = format!(
                    "entry {number}{} of {key} names node {node:?}, \
                     but the workflow has no such node with inputs",
                    kind.unwrap_or_default()
                );
                return Err(Error::invalid(key.name, message));
            }
            places.push(place);
        }
    }
    let found = find::places(graph).into_iter();
    if entries.is_empty() {
        places.extend(found);
    } else if !places.iter().any(|place| place.takes("prompt")) {
        places.extend(found.filter(|place| place.takes("prompt")));
    }
    Ok(places)
}

impl Entry {
    fn kind(&self) -> Option<&str> {
        self.kind.as_deref().filter(|kind| !kind.is_empty())
    }

    fn places(&self, graph: &Graph) -> Vec<Place> {
        let kind = self.kind();
        if kind.is_none() && self.value.is_null() {
            return Vec::new();
        }
        let ids = self.node_ids.iter().flatten().map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        });
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        ids.filter(|id| !id.is_empty())
            .enumerate()
            .map(|(index, node)| Place {
                what: match kind {
                    None => What::Literal(self.value.clone()),
                    Some("image") => What::Source(index),
                    Some("mask") => What::Mask,
                    Some(name) => What::Named(name.to_owned()),
                },
                input: match key {
                    Some(key) => key.to_owned(),
                    None => usual_input(graph, &node, kind.unwrap_or("prompt")).to_owned(),
                },
                node,
            })
            .collect()
    }
}

/// The input that takes a value of this name: of several usual ones, that which the node has.
fn usual_input<'a>(graph: &Graph, node: &str, name: &'a str) -> &'a str {
    let usual: &[&str] = match name {
        "prompt" | "negative_prompt" => &["text", "value", "prompt"],
        "model" => find::MODEL_INPUTS,
        "seed" => find::SEED_INPUTS,
        "n" => find::COUNT_INPUTS,
        "image" | "mask" => &["image"],
        name => return name,
    };
    let has = |input: &&&str| value(graph, node, input).is_some();
    usual
        .iter()
        .find(has)
        .or(usual.first())
        .copied()
        .unwrap_or(name)
}
