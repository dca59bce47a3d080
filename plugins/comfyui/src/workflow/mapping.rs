//! The operator's mapping from the values of a job to the nodes of a workflow.

use pinhole_sdk::{Error, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::detection;
use super::graph::{Graph, input_value};
use super::node_input::{InputContent, NodeInput};
use crate::settings::SettingKey;

/// One entry of the mapping.
///
/// Source: Open WebUI's `COMFYUI_WORKFLOW_NODES`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MappingEntry {
    /// The value to write, such as `prompt`; without one, `value` itself is written.
    #[serde(rename = "type")]
    value_type: Option<String>,
    /// Strings, or numbers that stand for them.
    node_ids: Option<Vec<Value>>,
    /// The input to write to; if missing or empty, the usual input of the type.
    key: Option<String>,
    value: Value,
}

/// Parses the entries in a setting; empty if the setting is unset.
pub(super) fn parse_mapping(
    settings: &Settings,
    key: &SettingKey,
) -> Result<Vec<MappingEntry>, Error> {
    let Some(text) = settings.text(key.name) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).map_err(|why| {
        let message = format!(
            "{key} must be a JSON list such as \
             [{{\"type\": \"prompt\", \"node_ids\": [\"6\"], \"key\": \"text\"}}]: {why}"
        );
        Error::invalid(key.name, message)
    })
}

/// The inputs that the mapping names; without a mapping, the detected ones.
///
/// If a mapping leaves out the prompt, its inputs are detected as well: an image that ignores the
/// prompt is useless. Fails if an entry names a node that the workflow does not have.
pub(super) fn job_inputs(
    graph: &Graph,
    entries: &[MappingEntry],
    key: &SettingKey,
) -> Result<Vec<NodeInput>, Error> {
    let mut inputs = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for input in entry.inputs(graph) {
            let node = graph.get(&input.node);
            if !node.is_some_and(|node| node.get("inputs").is_some_and(Value::is_object)) {
                let value_type = entry.value_type().map(|name| format!(" ({name})"));
                let message = format!(
                    "entry {}{} of {key} names node {:?}, \
                     but the workflow has no such node with inputs",
                    index + 1,
                    value_type.unwrap_or_default(),
                    input.node
                );
                return Err(Error::invalid(key.name, message));
            }
            inputs.push(input);
        }
    }
    let detected = detection::detect_inputs(graph).into_iter();
    if entries.is_empty() {
        inputs.extend(detected);
    } else if !inputs.iter().any(|input| input.takes("prompt")) {
        inputs.extend(detected.filter(|input| input.takes("prompt")));
    }
    Ok(inputs)
}

impl MappingEntry {
    fn value_type(&self) -> Option<&str> {
        self.value_type.as_deref().filter(|name| !name.is_empty())
    }

    fn inputs(&self, graph: &Graph) -> Vec<NodeInput> {
        let value_type = self.value_type();
        if value_type.is_none() && self.value.is_null() {
            return Vec::new();
        }
        let ids = self.node_ids.iter().flatten().map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        });
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        ids.filter(|id| !id.is_empty())
            .enumerate()
            .map(|(index, node)| NodeInput {
                content: match value_type {
                    None => InputContent::Literal(self.value.clone()),
                    Some("image") => InputContent::Source(index),
                    Some("mask") => InputContent::Mask,
                    Some(name) => InputContent::JobValue(name.to_owned()),
                },
                input: match key {
                    Some(key) => key.to_owned(),
                    None => usual_input(graph, &node, value_type.unwrap_or("prompt")).to_owned(),
                },
                node,
            })
            .collect()
    }
}

/// The input that usually takes a value of this type; of several, one that the node has.
fn usual_input<'a>(graph: &Graph, node: &str, value_type: &'a str) -> &'a str {
    let usual: &[&str] = match value_type {
        "prompt" | "negative_prompt" => &["text", "value", "prompt"],
        "model" => detection::MODEL_INPUTS,
        "seed" => detection::SEED_INPUTS,
        "n" => detection::COUNT_INPUTS,
        "image" | "mask" => &["image"],
        other => return other,
    };
    let has_input = |input: &&&str| input_value(graph, node, input).is_some();
    usual
        .iter()
        .find(has_input)
        .or(usual.first())
        .copied()
        .unwrap_or(value_type)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::workflow::fixture::{changed_inputs, full_job, settings};
    use crate::workflow::{JobValues, Workflow};

    #[track_caller]
    fn check(nodes: &Value, expected: &[&str]) {
        let workflow = Workflow::for_generation(&settings(&[("nodes", nodes)])).unwrap();
        let values = JobValues::from_job(&full_job(), 7).unwrap();
        assert_eq!(changed_inputs(&workflow, &values), expected);
    }

    #[test]
    fn mapping_selects_inputs() {
        let mapping = json!([
            {"type": "prompt", "node_ids": ["7"], "key": "text"},
            {"type": "negative_prompt", "node_ids": [6]},
            {"type": "width", "node_ids": ["5"], "key": ""},
            {"type": "height", "node_ids": ["5"], "key": null},
            {"type": "n", "node_ids": ["5", ""]},
            {"type": "steps", "node_ids": ["3"], "key": "steps"},
            {"type": "seed", "node_ids": ["3"]},
            {"type": "model", "node_ids": ["4"]},
            {"type": "image", "node_ids": ["9"], "key": "image"},
            {"type": "unknown", "node_ids": ["9"]},
            {"type": "", "node_ids": ["3"], "key": "scheduler", "value": "karras"},
            {"type": null, "node_ids": ["9"], "key": "filename_prefix", "value": "fox"},
            {"node_ids": ["3"], "key": "cfg", "value": null},
        ]);
        check(
            &mapping,
            &[
                r#"3.scheduler="karras""#,
                "3.seed=42",
                "3.steps=4",
                r#"4.ckpt_name="fox.safetensors""#,
                "5.batch_size=2",
                "5.height=64",
                "5.width=96",
                r#"6.text="blurry""#,
                r#"7.text="a red fox""#,
                r#"9.filename_prefix="fox""#,
            ],
        );
    }

    #[test]
    fn mapping_without_prompt_detects_it() {
        let mapping =
            json!([{"type": "steps", "node_ids": ["3"]}, {"type": "prompt", "node_ids": []}]);
        check(&mapping, &["3.steps=4", r#"6.text="a red fox""#]);
    }

    #[track_caller]
    fn check_refused(result: Result<Workflow, Error>, key: &str, pieces: &[&str]) {
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some(key));
        for piece in pieces {
            assert!(error.message.contains(piece), "{}", error.message);
        }
    }

    #[test]
    fn broken_mapping_is_refused_with_its_entry() {
        let two =
            json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "seed", "node_ids": ["66"]}]);
        for (nodes, [first, second]) in [
            (two, ["entry 2 (seed)", "\"66\""]),
            (
                json!([{"value": 3, "node_ids": ["x"]}]),
                ["entry 1 of", "\"x\""],
            ),
            (
                json!({"type": "prompt"}),
                ["must be a JSON list", "invalid type"],
            ),
            (json!([3]), ["must be a JSON list", "invalid type"]),
        ] {
            check_refused(
                Workflow::for_generation(&settings(&[("nodes", &nodes)])),
                "nodes",
                &[first, second, "COMFYUI_WORKFLOW_NODES"],
            );
            let edit = settings(&[("edit-nodes", &nodes)]);
            check_refused(
                Workflow::for_edit(&edit, false, None),
                "edit-nodes",
                &["IMAGES_EDIT_COMFYUI_WORKFLOW_NODES"],
            );
            // A broken edit setting does not affect generation.
            Workflow::for_generation(&edit).unwrap();
        }
    }
}
