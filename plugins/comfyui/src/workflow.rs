//! A workflow: read from its setting, and a job written into its nodes.

pub(crate) mod find;

use std::collections::{BTreeMap, BTreeSet};

use pinhole_sdk::{Error, Job};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Nodes by id, each with `class_type` and `inputs`: ComfyUI's API format.
pub(crate) type Graph = Map<String, Value>;

const DEFAULT: &str = include_str!("default_workflow.json");
const EXPORT: &str = "export it with Save (API Format)";
/// Sides are rounded down to a multiple of so many pixels: latent images have an eighth of a picture's.
const BLOCK: u32 = 8;
/// Seeds we draw stay below this: beyond, JSON numbers lose digits in many programs.
const SEED_BITS: u32 = 53;

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

/// What a job brings, by the names that a mapping uses. What it leaves open is not there, and the
/// workflow keeps its own.
#[derive(Debug)]
pub(crate) struct Values {
    values: BTreeMap<String, Value>,
    /// Those that came as parameters: each must have a place.
    parameters: BTreeSet<String>,
}

impl Values {
    /// `random` makes the seed of a job that has none.
    pub(crate) fn of(job: &Job, random: u64) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        let mut set = |name: &str, value: Value| values.insert(name.to_owned(), value);
        set("prompt", json!(job.prompt));
        set("n", json!(job.count));
        set("seed", json!(job.seed.unwrap_or(random % (1 << SEED_BITS))));
        if let Some(text) = &job.negative_prompt {
            set("negative_prompt", json!(text));
        }
        if let Some(model) = &job.model {
            set("model", json!(model));
        }
        if let Some(size) = job.size {
            set("width", json!(whole_blocks(size.width)));
            set("height", json!(whole_blocks(size.height)));
        }
        if let Some(steps) = job.steps {
            set("steps", json!(steps));
        }
        let own = own_parameters(&job.parameters)?;
        let parameters = own.keys().cloned().collect();
        values.extend(own);
        Ok(Self { values, parameters })
    }
}

fn whole_blocks(pixels: u32) -> u32 {
    (pixels - pixels % BLOCK).max(BLOCK)
}

/// The job's parameters: names that a mapping may use as types, with plain values. Lists would be
/// links, and objects nodes: the graph is the operator's.
fn own_parameters(text: &str) -> Result<Map<String, Value>, Error> {
    let parameters: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        Error::invalid("parameters", format!("they are not a JSON object: {error}"))
    })?;
    if parameters.contains_key("image") {
        let message = "the files of the server are not for a job to choose: leave image out";
        return Err(Error::invalid("image", message));
    }
    match parameters.iter().find(|(_, value)| !is_plain(value)) {
        Some((name, _)) => {
            let message = format!("parameter {name} is neither a text, a number nor a boolean");
            Err(Error::invalid(name, message))
        }
        None => Ok(parameters),
    }
}

fn is_plain(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
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
            What::Named(name) => match values.values.get(name) {
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
        if let Some(name) = values.parameters.iter().find(missing) {
            let message = format!(
                "no node of the workflow takes the parameter {name}: map it in the setting nodes"
            );
            return Err(Error::invalid(name, message));
        }
        let names: Vec<&str> = values
            .values
            .keys()
            .filter(missing)
            .map(String::as_str)
            .collect();
        let line = format!("no node of the workflow takes: {}", names.join(", "));
        Ok((!names.is_empty()).then_some(line))
    }

    /// A JSON object: the upstream's id, and the seed and model that were written.
    pub(crate) fn details(&self, values: &Values, prompt_id: &str) -> String {
        let mut details = Map::from_iter([("prompt_id".to_owned(), json!(prompt_id))]);
        for name in ["seed", "model"] {
            if let (true, Some(value)) = (self.0.contains(name), values.values.get(name)) {
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
