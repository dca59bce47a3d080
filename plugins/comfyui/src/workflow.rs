//! A workflow: read from its setting, with the places where a job is written into its nodes.

mod find;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod fuzz;
pub(crate) mod keys;
mod limits;
mod mapping;
mod pictures;
mod values;

use std::collections::BTreeSet;

use pinhole_sdk::{Error, Image, Settings, Size};
use serde_json::{Map, Value, json};

pub(crate) use find::is_sampler;
use keys::{Key, Keys};
use mapping::{Place, What};
pub(crate) use values::Values;

/// Nodes by id, each with `class_type` and `inputs`: ComfyUI's API format.
pub(crate) type Graph = Map<String, Value>;

const DEFAULT: &str = include_str!("default_workflow.json");
/// The choice of `preview-method` that leaves it to the server.
pub(crate) const BY_SERVER: &str = "server";
const EXPORT: &str = "export it with Save (API Format)";
/// Parts of the names of ComfyUI's own classes that end no workflow: the server runs none in which
/// nothing is kept or shown.
const INNER_CLASSES: [&str; 6] = [
    "VAEDecode",
    "VAEEncode",
    "Sampler",
    "TextEncode",
    "Load",
    "LatentImage",
];

/// A workflow, and where a job goes in it.
#[derive(Debug)]
pub(crate) struct Plan {
    graph: Graph,
    places: Vec<Place>,
    /// The settings it comes from.
    pub(crate) keys: &'static Keys,
    /// How previews are to be made; `None` leaves it to the server.
    pub(crate) preview_method: Option<String>,
    /// It is the default one for edits, neither scaled nor masked.
    cropping: bool,
}

impl Plan {
    /// For making pictures from a prompt.
    pub(crate) fn generate(settings: &Settings) -> Result<Self, Error> {
        let keys = keys::GENERATE;
        let text = settings.text(keys.workflow.name);
        let graph = read(text.as_deref().unwrap_or(DEFAULT), &keys.workflow)?;
        Self::new(graph, settings, keys)
    }

    /// For changing pictures. The default workflow scales them, and has a place for a mask, only
    /// where it is asked for.
    /// `masked` is the size of the picture that a mask is for.
    pub(crate) fn edit(
        settings: &Settings,
        scaled: bool,
        masked: Option<Size>,
    ) -> Result<Self, Error> {
        let keys = keys::EDIT;
        let own = settings.text(keys.workflow.name);
        let graph = match &own {
            Some(text) => read(text, &keys.workflow)?,
            None => pictures::default_graph(scaled, masked),
        };
        let mut plan = Self::new(graph, settings, keys)?;
        if own.is_none() {
            plan.cropping = !scaled && masked.is_none();
            plan.places.extend(pictures::default_places(&plan.graph));
        }
        pictures::place_sources(&plan.graph, &mut plan.places);
        if plan.sources() > 0 {
            return Ok(plan);
        }
        let Keys { workflow, nodes } = keys;
        let message = format!(
            "no node of the workflow in {workflow} loads a picture: give it a LoadImage node, \
             or name the node with type image in {nodes}"
        );
        Err(Error::invalid(workflow.name, message))
    }

    fn new(graph: Graph, settings: &Settings, keys: &'static Keys) -> Result<Self, Error> {
        let entries = mapping::read(settings, &keys.nodes)?;
        let places = mapping::places(&graph, &entries, &keys.nodes)?;
        let preview_method = settings.text("preview-method");
        Ok(Self {
            graph,
            places,
            keys,
            preview_method: preview_method.filter(|method| method != BY_SERVER),
            cropping: false,
        })
    }

    /// How many source pictures it takes.
    pub(crate) fn sources(&self) -> usize {
        let indexes = self.places.iter().filter_map(|place| match place.what {
            What::Source(index) => Some(index + 1),
            _ => None,
        });
        indexes.max().unwrap_or(0)
    }

    /// What an edit's workflow loads and the job does not bring.
    pub(crate) fn missing(&self, values: &Values) -> Option<String> {
        let (sources, came) = (self.sources(), values.sources.len());
        if came == 0 {
            return None;
        }
        let masks = values.mask.is_none() && pictures::loads_masks(&self.graph);
        match (sources > came, masks) {
            (true, _) => Some(format!(
                "the workflow loads {sources} pictures, and the job brought {came}"
            )),
            (false, true) => Some("the workflow loads a mask, and the job brought none".to_owned()),
            (false, false) => None,
        }
    }

    /// A note where the default workflow loses the rim of a picture.
    pub(crate) fn crops(&self, sources: &[Image]) -> Option<String> {
        let size = sources.first()?.size();
        let whole = size.rounded_down(values::BLOCK);
        let cropped = self.cropping && whole != size;
        cropped.then(|| format!("the middle {whole} of {size} was used: sides are multiples of 8"))
    }

    /// Makes sure that a mask has a place. True where the mask has to be an opaque picture, white
    /// where it may change; else it is transparent there.
    pub(crate) fn place_mask(&mut self) -> Result<bool, Error> {
        pictures::place_mask(&mut self.graph, &mut self.places, self.keys)
    }

    /// Fails on a parameter of the job that no node takes, since who sends one means it, and on one
    /// that is beyond what its input may get from a job.
    pub(crate) fn check(&self, values: &Values) -> Result<(), Error> {
        for name in values.parameters() {
            let mut taking = self.places.iter().filter(|place| place.takes(name));
            let Some(first) = taking.next() else {
                let message = format!(
                    "no node of the workflow takes the parameter {name}: map it in {}",
                    self.keys.nodes
                );
                return Err(Error::invalid(name, message));
            };
            for place in std::iter::once(first).chain(taking) {
                limits::check(&self.graph, place, name, values)?;
            }
        }
        Ok(())
    }

    /// A line about what the job named and no node takes.
    pub(crate) fn left_out(&self, values: &Values) -> Option<String> {
        let missing = |name: &&&str| !self.places.iter().any(|place| place.takes(name));
        let names: Vec<&str> = values.named().iter().filter(missing).copied().collect();
        let line = || format!("no node of the workflow takes: {}", names.join(", "));
        (!names.is_empty()).then(line)
    }

    /// The class and input of the node that takes the model.
    pub(crate) fn model_input(&self) -> (String, String) {
        let place = self.places.iter().find(|place| place.takes("model"));
        place
            .and_then(|place| {
                Some((
                    class(&self.graph, &place.node)?.to_owned(),
                    place.input.clone(),
                ))
            })
            .unwrap_or_else(|| ("CheckpointLoaderSimple".into(), "ckpt_name".into()))
    }

    /// The graph with the values in their places. What the job leaves open stays as it was.
    pub(crate) fn written(&self, values: &Values) -> Graph {
        let mut graph = self.graph.clone();
        for place in &self.places {
            let value = match &place.what {
                What::Literal(value) => Some(value.clone()),
                What::Named(name) => values.get(name).cloned(),
                What::Source(index) => values.sources.get(*index).map(|name| json!(name)),
                What::Mask => values.mask.as_ref().map(|name| json!(name)),
            };
            let node = graph.get_mut(&place.node);
            let inputs = node.and_then(|node| node.get_mut("inputs")?.as_object_mut());
            if let (Some(inputs), Some(value)) = (inputs, value) {
                inputs.insert(place.input.clone(), value);
            }
        }
        graph
    }

    /// A JSON object: the upstream's id, the seed and model that were written, and the notes.
    pub(crate) fn details(&self, values: &Values, prompt_id: &str, notes: &[String]) -> String {
        let mut details = Map::new();
        details.insert("prompt_id".to_owned(), json!(prompt_id));
        for name in ["seed", "model"] {
            let taken = self.places.iter().any(|place| place.takes(name));
            if let (true, Some(value)) = (taken, values.get(name)) {
                details.insert(name.to_owned(), value.clone());
            }
        }
        if !notes.is_empty() {
            details.insert("notes".to_owned(), json!(notes));
        }
        Value::Object(details).to_string()
    }
}

/// The graph in the text of a setting.
fn read(text: &str, key: &Key) -> Result<Graph, Error> {
    let invalid = |what: String| Error::invalid(key.name, format!("the workflow in {key} {what}"));
    let value: Value = serde_json::from_str(text)
        .map_err(|error| invalid(format!("is not JSON: {error}; {EXPORT}")))?;
    let Value::Object(graph) = value else {
        return Err(invalid(format!("is not a JSON object: {EXPORT}")));
    };
    if graph.get("nodes").is_some_and(Value::is_array) && graph.contains_key("links") {
        return Err(invalid(format!("is in the editor's own format: {EXPORT}")));
    }
    if !graph.values().any(|node| node.get("class_type").is_some()) {
        return Err(invalid(format!("has no node with a class_type: {EXPORT}")));
    }
    if !has_output(&graph) {
        return Err(invalid(
            "has no node that keeps or shows an image: add a SaveImage node".into(),
        ));
    }
    Ok(graph)
}

/// Has it a node that may be an output? Custom ones are not known, so it is one that nothing
/// follows, and not known to be something else.
fn has_output(graph: &Graph) -> bool {
    let feeding = feeding(graph);
    graph.keys().any(|id| {
        let class = class(graph, id).unwrap_or_default();
        let inner = INNER_CLASSES.iter().any(|inner| class.contains(inner));
        keeps_or_shows(class) || !class.is_empty() && !inner && !feeding.contains(id.as_str())
    })
}

/// The nodes whose images make the answer: they take `images` and are ends of the graph, or their
/// class says that they save or show. Those that only show count where none is left that saves.
pub(crate) fn image_outputs(graph: &Graph) -> BTreeSet<&str> {
    let feeding = feeding(graph);
    let is_output = |id: &str, node: &Value| {
        let takes_image = links(node).any(|(input, _, _)| ["images", "image"].contains(&input));
        let class = class(graph, id).unwrap_or_default();
        takes_image && (keeps_or_shows(class) || !feeding.contains(id))
    };
    let outputs: BTreeSet<&str> = graph
        .iter()
        .filter(|(id, node)| is_output(id, node))
        .map(|(id, _)| id.as_str())
        .collect();
    let shows = |id: &&str| class(graph, id).is_some_and(|class| class.contains("Preview"));
    let (shown, kept): (BTreeSet<&str>, BTreeSet<&str>) = outputs.into_iter().partition(shows);
    if kept.is_empty() { shown } else { kept }
}

fn keeps_or_shows(class: &str) -> bool {
    class.contains("Save") || class.contains("Preview")
}

/// The nodes that another one takes something from.
fn feeding(graph: &Graph) -> BTreeSet<&str> {
    graph
        .values()
        .flat_map(links)
        .map(|(_, target, _)| target)
        .collect()
}

pub(crate) fn class<'g>(graph: &'g Graph, id: &str) -> Option<&'g str> {
    graph.get(id)?.get("class_type")?.as_str()
}

/// The inputs of a node that are links: the input, the node it leads to, and which of its outputs.
fn links(node: &Value) -> impl Iterator<Item = (&str, &str, u64)> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs
        .into_iter()
        .flatten()
        .filter_map(|(input, value)| match value.as_array()?.as_slice() {
            [Value::String(id), Value::Number(slot)] => {
                Some((input.as_str(), id.as_str(), slot.as_u64().unwrap_or(0)))
            }
            _ => None,
        })
}

/// The value of a node's input.
fn value<'g>(graph: &'g Graph, id: &str, input: &str) -> Option<&'g Value> {
    graph.get(id)?.get("inputs")?.get(input)
}

/// The ids of nodes in the order that a person would give them.
pub(crate) fn in_order<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = ids.map(String::as_str).collect();
    ids.sort_unstable_by_key(|id| node_order(id));
    ids
}

/// `9` is before `10`, and `10:2` after it.
fn node_order(id: &str) -> (u64, &str) {
    let digits = id.split(|letter: char| !letter.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    (number.unwrap_or(u64::MAX), id)
}

#[cfg(test)]
mod tests;
