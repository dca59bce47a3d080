//! A workflow: read from its setting, and a job written into its nodes.

pub(crate) mod find;
mod values;

use std::collections::BTreeSet;

use pinhole_sdk::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use values::Values;

/// Nodes by id, each with `class_type` and `inputs`: ComfyUI's API format.
pub(crate) type Graph = Map<String, Value>;

const DEFAULT: &str = include_str!("default_workflow.json");
const EXPORT: &str = "export it with Save (API Format)";

/// The graph of the setting; the default one when it is unset.
pub(crate) fn read(text: Option<&str>) -> Result<Graph, Error> {
    let invalid = |message: String| Error::invalid("workflow", message);
    let value: Value = serde_json::from_str(text.unwrap_or(DEFAULT))
        .map_err(|error| invalid(format!("the workflow is not JSON: {error}; {EXPORT}")))?;
    let Value::Object(graph) = value else {
        return Err(invalid(format!(
            "the workflow is not a JSON object: {EXPORT}"
        )));
    };
    if graph.get("nodes").is_some_and(Value::is_array) && graph.contains_key("links") {
        return Err(invalid(format!(
            "the workflow is in the editor's own format: {EXPORT}"
        )));
    }
    if !graph.values().any(|node| node.get("class_type").is_some()) {
        return Err(invalid(format!(
            "the workflow has no node with a class_type: {EXPORT}"
        )));
    }
    Ok(graph)
}

/// One entry of the mapping from what a job holds to the nodes of a workflow.
///
/// Source: Open WebUI's `COMFYUI_WORKFLOW_NODES`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
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
pub(crate) struct Place {
    what: What,
    node: String,
    input: String,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A value of the job, by its name.
    Named(String),
    Literal(Value),
}

/// Where the mapping wants its values; without a mapping, where they are found to belong.
///
/// A mapping that leaves out the prompt has it found, too: a picture that has nothing to do with
/// the prompt helps nobody.
pub(crate) fn places(graph: &Graph, entries: &[Entry]) -> Vec<Place> {
    let mut places: Vec<Place> = entries
        .iter()
        .flat_map(|entry| entry.places(graph))
        .collect();
    let found = find::places(graph).into_iter();
    if entries.is_empty() {
        places.extend(found);
    } else if !places.iter().any(|place| place.takes("prompt")) {
        places.extend(found.filter(|place| place.takes("prompt")));
    }
    places
}

/// The class and input of the node that takes the model.
pub(crate) fn model_input(graph: &Graph, entries: &[Entry]) -> (String, String) {
    let place = places(graph, entries)
        .into_iter()
        .find(|place| place.takes("model"));
    place
        .and_then(|place| Some((class(graph, &place.node)?.to_owned(), place.input)))
        .unwrap_or_else(|| ("CheckpointLoaderSimple".into(), "ckpt_name".into()))
}

impl Place {
    fn takes(&self, name: &str) -> bool {
        matches!(&self.what, What::Named(what) if what == name)
    }
}

impl Entry {
    fn places(&self, graph: &Graph) -> Vec<Place> {
        let kind = self.kind.as_deref().filter(|kind| !kind.is_empty());
        let what = match kind {
            Some(kind) => What::Named(kind.to_owned()),
            None if self.value.is_null() => return Vec::new(),
            None => What::Literal(self.value.clone()),
        };
        let ids = self.node_ids.iter().flatten().map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        });
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        ids.map(|node| Place {
            what: what.clone(),
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
        "n" => &["batch_size"],
        name => return name,
    };
    let inputs = graph.get(node).and_then(|node| node.get("inputs"));
    let has = |input: &&&str| inputs.is_some_and(|inputs| inputs.get(**input).is_some());
    usual
        .iter()
        .find(has)
        .or(usual.first())
        .copied()
        .unwrap_or(name)
}

/// Writes the values to their places. Fails on a place whose node the workflow does not have.
pub(crate) fn write(
    graph: &mut Graph,
    places: Vec<Place>,
    values: &Values,
) -> Result<Written, Error> {
    let mut names = BTreeSet::new();
    for place in places {
        let value = match &place.what {
            What::Literal(value) => value,
            What::Named(name) => match values.get(name) {
                Some(value) => value,
                None => continue,
            },
        };
        let inputs = graph
            .get_mut(&place.node)
            .and_then(|node| node.get_mut("inputs"));
        let Some(inputs) = inputs.and_then(Value::as_object_mut) else {
            let message = format!(
                "the workflow has no node {:?} with inputs, which the setting nodes names",
                place.node
            );
            return Err(Error::invalid("nodes", message));
        };
        inputs.insert(place.input, value.clone());
        if let What::Named(name) = place.what {
            names.insert(name);
        }
    }
    Ok(Written(names))
}

/// The names of the values that found a place.
#[derive(Debug)]
pub(crate) struct Written(BTreeSet<String>);

impl Written {
    /// A line for the operator about values of the job that no node takes. An error when a
    /// parameter is among them: who sends one means it.
    pub(crate) fn left_out(&self, values: &Values) -> Result<Option<String>, Error> {
        let missing = |name: &&String| !self.0.contains(*name);
        if let Some(name) = values.parameters().find(missing) {
            let message = format!(
                "no node of the workflow takes the parameter {name}: map it in the setting nodes"
            );
            return Err(Error::invalid(name, message));
        }
        let names: Vec<&str> = values.names().filter(missing).map(String::as_str).collect();
        let line = format!("no node of the workflow takes: {}", names.join(", "));
        Ok((!names.is_empty()).then_some(line))
    }

    /// A JSON object: the upstream's id, and the seed and model that were written.
    pub(crate) fn details(&self, values: &Values, prompt_id: &str) -> String {
        let mut details = Map::from_iter([("prompt_id".to_owned(), json!(prompt_id))]);
        for name in ["seed", "model"] {
            if let (true, Some(value)) = (self.0.contains(name), values.get(name)) {
                details.insert(name.to_owned(), value.clone());
            }
        }
        Value::Object(details).to_string()
    }
}

/// The nodes whose images make the answer: they take `images` and are ends of the graph, or their
/// class says that they save or show.
pub(crate) fn image_outputs(graph: &Graph) -> BTreeSet<&str> {
    let feeding: BTreeSet<&str> = graph
        .values()
        .flat_map(links)
        .map(|(_, target)| target)
        .collect();
    let is_output = |id: &str, node: &Value| {
        let class = node
            .get("class_type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let takes_image = links(node).any(|(input, _)| ["images", "image"].contains(&input));
        let keeps = class.contains("Save") || class.contains("Preview");
        takes_image && (keeps || !feeding.contains(id))
    };
    graph
        .iter()
        .filter(|(id, node)| is_output(id, node))
        .map(|(id, _)| id.as_str())
        .collect()
}

pub(crate) fn class<'g>(graph: &'g Graph, id: &str) -> Option<&'g str> {
    graph.get(id)?.get("class_type")?.as_str()
}

/// The inputs of a node that are links, and the nodes they lead to.
fn links(node: &Value) -> impl Iterator<Item = (&str, &str)> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs
        .into_iter()
        .flatten()
        .filter_map(|(input, value)| match value.as_array()?.as_slice() {
            [Value::String(id), Value::Number(_)] => Some((input.as_str(), id.as_str())),
            _ => None,
        })
}

/// Sorts node ids as a person would: `9` before `10`, and `10:2` after it.
pub(crate) fn node_order(id: &str) -> (u64, &str) {
    let digits = id.split(|letter: char| !letter.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    (number.unwrap_or(u64::MAX), id)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{ErrorKind, Job, Size};

    use super::*;

    fn job() -> Job {
        Job {
            prompt: "a red fox".into(),
            negative_prompt: Some("blurry".into()),
            model: Some("fox.safetensors".into()),
            size: Some(Size {
                width: 96,
                height: 70,
            }),
            count: 2,
            steps: Some(4),
            seed: Some(42),
            parameters: "{}".into(),
        }
    }

    fn entries(list: Value) -> Vec<Entry> {
        serde_json::from_value(list).unwrap()
    }

    /// The graph's inputs after the job was written, as `node.input=value`, of those that changed.
    #[track_caller]
    fn check(mut graph: Graph, entries: &[Entry], job: &Job, expected: &[&str]) {
        let before = graph.clone();
        let values = Values::of(job, 7).unwrap();
        let places = places(&graph, entries);
        write(&mut graph, places, &values).unwrap();
        let mut changed = Vec::new();
        for (id, node) in &graph {
            for (input, value) in node["inputs"].as_object().unwrap() {
                if before[id]["inputs"].get(input) != Some(value) {
                    changed.push(format!("{id}.{input}={value}"));
                }
            }
        }
        assert_eq!(changed, expected);
    }

    fn default() -> Graph {
        read(None).unwrap()
    }

    #[test]
    fn the_default_workflow_takes_a_whole_job() {
        check(
            default(),
            &[],
            &job(),
            &[
                "3.seed=42",
                "3.steps=4",
                r#"4.ckpt_name="fox.safetensors""#,
                "5.batch_size=2",
                "5.height=64",
                "5.width=96",
                r#"6.text="a red fox""#,
                r#"7.text="blurry""#,
            ],
        );
    }

    #[test]
    fn what_a_job_leaves_open_stays() {
        let bare = Job {
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            ..job()
        };
        check(
            default(),
            &[],
            &bare,
            &["3.seed=7", r#"6.text="a red fox""#],
        );
    }

    #[test]
    fn a_mapping_says_where() {
        let mapping = entries(json!([
            {"type": "prompt", "node_ids": ["7"], "key": "text"},
            {"type": "negative_prompt", "node_ids": [6]},
            {"type": "width", "node_ids": ["5"], "key": ""},
            {"type": "height", "node_ids": ["5"], "key": null},
            {"type": "n", "node_ids": ["5"]},
            {"type": "steps", "node_ids": ["3"], "key": "steps"},
            {"type": "seed", "node_ids": ["3"]},
            {"type": "model", "node_ids": ["4"]},
            {"type": "image", "node_ids": ["nowhere"], "key": "image"},
            {"type": "unheard-of", "node_ids": ["nowhere"]},
            {"type": "", "node_ids": ["3"], "key": "scheduler", "value": "karras"},
            {"type": null, "node_ids": ["9"], "key": "filename_prefix", "value": "fox"},
            {"node_ids": ["3"], "key": "cfg", "value": null},
        ]));
        check(
            default(),
            &mapping,
            &job(),
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
    fn a_mapping_without_the_prompt_has_it_found() {
        let mapping = entries(
            json!([{"type": "steps", "node_ids": ["3"]}, {"type": "prompt", "node_ids": []}]),
        );
        check(
            default(),
            &mapping,
            &job(),
            &["3.steps=4", r#"6.text="a red fox""#],
        );
    }

    #[test]
    fn an_unknown_node_is_named() {
        let mut graph = default();
        let mapping = entries(json!([{"type": "prompt", "node_ids": ["66"]}]));
        let values = Values::of(&job(), 7).unwrap();
        let places = places(&graph, &mapping);
        let error = write(&mut graph, places, &values).unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some("nodes"))
        );
        assert!(error.message.contains("\"66\""), "{}", error.message);
    }

    #[test]
    fn what_is_no_workflow_is_refused() {
        for (text, hint) in [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            (
                r#"{"nodes": [], "links": [], "last_node_id": 9}"#,
                "editor's own format",
            ),
            ("{}", "no node"),
            (
                r#"{"prompt": {"3": {"class_type": "KSampler"}}}"#,
                "no node",
            ),
        ] {
            let error = read(Some(text)).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::Invalid, Some("workflow"))
            );
            assert!(
                error.message.contains(hint) && error.message.contains(EXPORT),
                "{}",
                error.message
            );
        }
    }

    fn parameters(text: &str, entries: &[Entry]) -> Result<Graph, Error> {
        let job = Job {
            parameters: text.into(),
            ..job()
        };
        let mut graph = default();
        let values = Values::of(&job, 7)?;
        let places = places(&graph, entries);
        write(&mut graph, places, &values)?.left_out(&values)?;
        Ok(graph)
    }

    #[test]
    fn parameters_go_where_the_mapping_or_the_sampler_takes_them() {
        let graph = parameters(r#"{"cfg": 3.5, "steps": 9}"#, &[]).unwrap();
        assert_eq!(graph["3"]["inputs"]["cfg"], 3.5);
        assert_eq!(graph["3"]["inputs"]["steps"], 9);
        let mapping =
            entries(json!([{"type": "folder", "node_ids": ["9"], "key": "filename_prefix"}]));
        let graph = parameters(r#"{"folder": "x"}"#, &mapping).unwrap();
        assert_eq!(graph["9"]["inputs"]["filename_prefix"], "x");
        for (text, field) in [
            (r#"{"folder": "x"}"#, "folder"),
            (r#"{"cfg": ["4", 0]}"#, "cfg"),
            (r#"{"cfg": null}"#, "cfg"),
            (r#"{"image": "of-another.png"}"#, "image"),
            ("7", "parameters"),
        ] {
            let error = parameters(text, &[]).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::Invalid, Some(field))
            );
        }
    }

    #[test]
    fn details_and_leftovers_tell_what_was_written() {
        let mut graph = default();
        let values = Values::of(&job(), 7).unwrap();
        let mapping = entries(
            json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "seed", "node_ids": ["3"]}]),
        );
        let places = places(&graph, &mapping);
        let written = write(&mut graph, places, &values).unwrap();
        assert_eq!(
            written.details(&values, "id"),
            r#"{"prompt_id":"id","seed":42}"#
        );
        let left_out = written.left_out(&values).unwrap();
        assert_eq!(
            left_out.as_deref(),
            Some("no node of the workflow takes: height, model, n, negative_prompt, steps, width")
        );
    }

    #[test]
    fn the_node_that_takes_the_model_is_known() {
        let input = |entries: &[Entry]| model_input(&default(), entries);
        let default = ("CheckpointLoaderSimple".to_owned(), "ckpt_name".to_owned());
        assert_eq!(input(&[]), default);
        assert_eq!(
            input(&entries(json!([{"type": "model", "node_ids": ["gone"]}]))),
            default
        );
        let mapped = entries(json!([{"type": "model", "node_ids": ["3"], "key": "sampler_name"}]));
        assert_eq!(input(&mapped), ("KSampler".into(), "sampler_name".into()));
    }

    #[test]
    fn outputs_are_what_saves_or_shows_images() {
        let graph = json!({
            "1": {"class_type": "EmptyImage", "inputs": {}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
            "5": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "6": {"class_type": "Somebodys Keeper", "inputs": {"images": ["5", 0]}},
            "7": null,
        });
        let found: Vec<&str> = image_outputs(graph.as_object().unwrap())
            .into_iter()
            .collect();
        assert_eq!(found, ["3", "4", "6"]);
    }

    #[test]
    fn nodes_are_ordered_as_numbers() {
        let mut ids = ["x", "10", "9", "10:2", ""];
        ids.sort_by_key(|id| node_order(id));
        assert_eq!(ids, ["9", "10", "10:2", "", "x"]);
    }
}
