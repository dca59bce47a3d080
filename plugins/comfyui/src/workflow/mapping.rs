//! The operator's mapping from the values of a job to the nodes of a workflow.

use pinhole_sdk::{Error, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::analysis::{Analysis, COUNT_INPUTS, MODEL_INPUTS};
use super::graph::{Graph, inputs};
use super::node_input::{InputContent, NodeInput};
use crate::settings::SettingKey;

/// The types that are not parameters of a job.
const TYPES: &[&str] = &[
    "prompt",
    "negative_prompt",
    "model",
    "width",
    "height",
    "n",
    "steps",
    "seed",
    "strength",
    "image",
    "mask",
];

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

/// The inputs that the mapping names; without a mapping, those of the analysis.
///
/// An entry without nodes stands for the inputs that the analysis finds for its type. If a mapping leaves
/// out the prompt, its inputs are found as well: an image that ignores the prompt is useless.
///
/// Fails if an entry names a type, a node or an input that does not exist.
pub(super) fn job_inputs(
    graph: &Graph,
    entries: &[MappingEntry],
    analysis: &Analysis,
    key: &SettingKey,
) -> Result<Vec<NodeInput>, Error> {
    if entries.is_empty() {
        return Ok(analysis.inputs.clone());
    }
    let mut inputs: Vec<NodeInput> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let refuse = |why: String| {
            let name = entry.value_type().map(|name| format!(" ({name})"));
            let message = format!(
                "entry {}{} of {key} {why}",
                index + 1,
                name.unwrap_or_default()
            );
            Error::invalid(key.name, message)
        };
        entry.check_type().map_err(refuse)?;
        let found = entry.inputs(graph).map_err(refuse)?;
        for input in found {
            let is_same_place =
                |other: &&NodeInput| other.node == input.node && other.input == input.input;
            if let Some(other) = inputs.iter().find(is_same_place)
                && other.content != input.content
            {
                return Err(refuse(format!(
                    "writes to input {} of node {:?}, which another entry writes to",
                    input.input, input.node
                )));
            }
            inputs.push(input);
        }
    }
    let without_nodes = entries
        .iter()
        .filter(|entry| entry.node_ids().next().is_none());
    let found_names = without_nodes
        .filter_map(MappingEntry::value_type)
        .chain(["prompt"]);
    for name in found_names {
        if inputs.iter().any(|input| input.takes(name)) {
            continue;
        }
        let is_free = |found: &&NodeInput| {
            let is_same =
                |other: &NodeInput| other.node == found.node && other.input == found.input;
            !inputs.iter().any(is_same)
        };
        let free: Vec<NodeInput> = analysis.inputs_of(name).filter(is_free).cloned().collect();
        inputs.extend(free);
    }
    Ok(inputs)
}

/// Whether the mapping names nodes for the prompt.
pub(super) fn maps_prompt(entries: &[MappingEntry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.value_type() == Some("prompt") && entry.node_ids().next().is_some())
}

/// The literals that the mapping writes: the operator knows them.
pub(super) fn writes(entries: &[MappingEntry], node: &str) -> bool {
    entries
        .iter()
        .any(|entry| entry.node_ids().any(|id| id == node))
}

impl MappingEntry {
    fn value_type(&self) -> Option<&str> {
        self.value_type.as_deref().filter(|name| !name.is_empty())
    }

    fn node_ids(&self) -> impl Iterator<Item = String> {
        let ids = self.node_ids.iter().flatten().map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        });
        ids.filter(|id| !id.is_empty())
    }

    /// Fails if the type is nearly one of the known ones. Others are parameters of a job.
    fn check_type(&self) -> Result<(), String> {
        let Some(name) = self.value_type() else {
            return Ok(());
        };
        match nearest(name, TYPES.iter().copied()) {
            Some(near) if near != name && !TYPES.contains(&name) => Err(format!(
                "has the unknown type {name:?}: did you mean {near:?}?"
            )),
            _ => Ok(()),
        }
    }

    /// The inputs that the entry names.
    fn inputs(&self, graph: &Graph) -> Result<Vec<NodeInput>, String> {
        let value_type = self.value_type();
        if value_type.is_none() && self.value.is_null() {
            return Ok(Vec::new());
        }
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        let to_input = |(index, node): (usize, String)| {
            let own: Vec<&str> = match graph.get(&node) {
                Some(value) if value.get("inputs").is_some_and(Value::is_object) => {
                    inputs(value).map(|(input, _)| input).collect()
                }
                _ => {
                    let ids = graph.keys().map(String::as_str);
                    let hint = hint(nearest(&node, ids));
                    return Err(format!(
                        "names node {node:?}, but the workflow has no such node with inputs{hint}"
                    ));
                }
            };
            let input = match key {
                Some(key) if own.contains(&key) => key,
                Some(key) => {
                    let near = nearest(key, own.iter().copied());
                    return Err(format!(
                        "names input {key:?}, which node {node:?} does not have{}",
                        near.map_or_else(
                            || format!(": it has {}", own.join(", ")),
                            |near| format!(": did you mean {near:?}?")
                        )
                    ));
                }
                None => usual_input(&own, value_type.unwrap_or("prompt")).ok_or_else(|| {
                    format!(
                        "has no key, and node {node:?} has no usual input for it: \
                         set \"key\" to one of {}",
                        own.join(", ")
                    )
                })?,
            };
            Ok(NodeInput {
                content: match value_type {
                    None => InputContent::Literal(self.value.clone()),
                    Some("image") => InputContent::Source(index),
                    Some("mask") => InputContent::Mask,
                    Some(name) => InputContent::JobValue(name.to_owned()),
                },
                input: input.to_owned(),
                node,
            })
        };
        self.node_ids().enumerate().map(to_input).collect()
    }
}

/// The input that usually takes a value of this type; of several, the first that the node has.
fn usual_input<'a>(own: &[&'a str], value_type: &str) -> Option<&'a str> {
    let alone = [value_type];
    let usual: &[&str] = match value_type {
        "prompt" | "negative_prompt" => &["text", "value", "prompt"],
        "model" => MODEL_INPUTS,
        "seed" => &["seed", "noise_seed"],
        "n" => COUNT_INPUTS,
        "strength" => &["denoise", "strength"],
        "image" | "mask" => &["image"],
        _ => &alone,
    };
    let holds_value = usual.iter().chain(&["value"]);
    holds_value
        .filter_map(|input| own.iter().find(|name| *name == input))
        .next()
        .copied()
}

/// The name that a typing error may have meant.
fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let max = (wrong.chars().count() / 3).clamp(1, 2);
    names
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(": did you mean {near:?}?"))
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
            {"type": "image", "node_ids": ["9"], "key": "images"},
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
    fn mapping_without_prompt_finds_it() {
        let mapping = json!([{"type": "steps", "node_ids": ["3"]}]);
        check(&mapping, &["3.steps=4", r#"6.text="a red fox""#]);
    }

    #[test]
    fn entries_without_nodes_are_found() {
        // Open WebUI stores such entries until its form is filled in.
        let mapping = json!([
            {"type": "prompt", "key": "text", "node_ids": [""]},
            {"type": "width", "node_ids": []},
            {"type": "height"},
            {"type": "steps", "node_ids": []},
            {"type": "seed", "node_ids": null},
        ]);
        check(
            &mapping,
            &[
                "3.seed=42",
                "3.steps=4",
                "5.height=64",
                "5.width=96",
                r#"6.text="a red fox""#,
            ],
        );
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
            (
                json!([{"type": "prompz", "node_ids": ["6"]}]),
                ["entry 1 (prompz)", "did you mean \"prompt\"?"],
            ),
            (
                json!([{"type": "prompt", "node_ids": ["6"], "key": "txt"}]),
                [
                    "entry 1 (prompt)",
                    "names input \"txt\", which node \"6\" does not have: did you mean \"text\"?",
                ],
            ),
            (
                json!([{"type": "prompt", "node_ids": ["6"], "key": "quite_another"}]),
                ["names input \"quite_another\"", "it has clip, text"],
            ),
            (
                json!([{"type": "seed", "node_ids": ["6"]}]),
                ["entry 1 (seed)", "set \"key\" to one of clip, text"],
            ),
            (
                json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "negative_prompt", "node_ids": ["6"]}]),
                ["entry 2 (negative_prompt)", "which another entry writes to"],
            ),
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
