//! A workflow's graph: parsing it, and reading its nodes and links.

use std::collections::BTreeSet;

use pinhole_sdk::Error;
use serde_json::{Map, Value};

use crate::settings::SettingKey;

/// Nodes by id, each with `class_type` and `inputs`: ComfyUI's API format.
pub type Graph = Map<String, Value>;

const EXPORT_HINT: &str = "export it with Save (API Format)";
/// Parts of the names of ComfyUI's own classes that never end a workflow. The server rejects a graph
/// in which no node saves or previews anything.
const INNER_CLASSES: [&str; 6] = [
    "VAEDecode",
    "VAEEncode",
    "Sampler",
    "TextEncode",
    "Load",
    "LatentImage",
];

/// Parts of the names of classes whose nodes save or preview something else than an image, with what they make.
const OTHER_OUTPUTS: [(&str, &str); 7] = [
    ("Video", "a video"),
    ("WEBM", "a video"),
    ("Audio", "audio"),
    ("GLB", "a 3D model"),
    ("3D", "a 3D model"),
    ("PreviewAny", "a text"),
    ("SaveLatent", "a latent image"),
];
/// Maximum number of nodes in a message.
const MAX_NAMED_NODES: usize = 3;

/// An input that takes its value from another node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link<'g> {
    pub(super) input: &'g str,
    /// The node that gives the value.
    pub(super) origin: &'g str,
    /// The index of that node's output.
    pub(super) slot: u64,
}

/// Parses the graph in the text of a setting.
pub(super) fn parse_graph(text: &str, key: &SettingKey) -> Result<Graph, Error> {
    let invalid = |what: String| Error::invalid(key.name, format!("the workflow in {key} {what}"));
    let value: Value = serde_json::from_str(text)
        .map_err(|error| invalid(format!("is not JSON: {error}; {EXPORT_HINT}")))?;
    let Value::Object(graph) = value else {
        return Err(invalid(format!("is not a JSON object: {EXPORT_HINT}")));
    };
    if graph.get("nodes").is_some_and(Value::is_array) && graph.contains_key("links") {
        return Err(invalid(format!(
            "is in the editor's own format: {EXPORT_HINT}"
        )));
    }
    if !graph.values().any(|node| node.get("class_type").is_some()) {
        return Err(invalid(format!(
            "has no node with a class_type: {EXPORT_HINT}"
        )));
    }
    let outputs = possible_outputs(&graph);
    if outputs.is_empty() {
        return Err(invalid(
            "has no node that saves or previews an image: add a SaveImage node".into(),
        ));
    }
    let others: Vec<String> = outputs
        .iter()
        .filter_map(|id| describe_other_output(&graph, id))
        .collect();
    if others.len() == outputs.len() {
        let named = others.get(..MAX_NAMED_NODES).unwrap_or(&others);
        return Err(invalid(format!(
            "makes no image: {}; add a SaveImage node",
            named.join(", ")
        )));
    }
    Ok(graph)
}

/// The nodes that may be an output. The classes of custom nodes are unknown, so that is any node from which
/// no other node takes a value, unless its class is known to be an inner one.
fn possible_outputs(graph: &Graph) -> Vec<&str> {
    let link_origins = link_origins(graph);
    let outputs = graph.keys().map(String::as_str).filter(|id| {
        let class = class(graph, id).unwrap_or_default();
        let is_inner = INNER_CLASSES.iter().any(|inner| class.contains(inner));
        saves_or_previews(class) || !class.is_empty() && !is_inner && !link_origins.contains(id)
    });
    sort_ids(outputs)
}

/// Such as `"Result" (node 9, SaveVideo) makes a video`, if the node's class says that it makes no image.
fn describe_other_output(graph: &Graph, id: &str) -> Option<String> {
    let class = class(graph, id)?;
    // Such as a node that saves the images of a video.
    if ["Image", "Frame"].iter().any(|word| class.contains(word)) {
        return None;
    }
    let mut others = OTHER_OUTPUTS.iter();
    let (_, what) = others.find(|(part, _)| class.contains(part))?;
    let name = match title(graph, id) {
        Some(title) if title != class => format!("\"{title}\" (node {id}, {class})"),
        _ => format!("{class} (node {id})"),
    };
    Some(format!("{name} makes {what}"))
}

/// The nodes whose images form the result: they take images, and end the graph or have the class of a
/// node that saves or previews. Nodes that preview count only if no node saves.
pub fn image_outputs(graph: &Graph) -> BTreeSet<&str> {
    let link_origins = link_origins(graph);
    let is_output = |id: &str, node: &Value| {
        let takes_image = links(node).any(|link| ["images", "image"].contains(&link.input));
        let class = class(graph, id).unwrap_or_default();
        takes_image && (saves_or_previews(class) || !link_origins.contains(id))
    };
    let (previews, saved): (BTreeSet<&str>, BTreeSet<&str>) = graph
        .iter()
        .filter(|(id, node)| is_output(id, node))
        .map(|(id, _)| id.as_str())
        .partition(|id| class(graph, id).is_some_and(|class| class.contains("Preview")));
    if saved.is_empty() { previews } else { saved }
}

/// The nodes of the result that save an image which a node before them saves as well.
pub(crate) fn repeated_outputs(graph: &Graph) -> BTreeSet<&str> {
    let mut saved = BTreeSet::new();
    sort_ids(image_outputs(graph).into_iter())
        .into_iter()
        .filter(|id| {
            let node = graph.get(*id).into_iter();
            let mut images = node
                .flat_map(links)
                .filter(|link| ["images", "image"].contains(&link.input));
            images
                .next()
                .is_some_and(|link| !saved.insert((link.origin, link.slot)))
        })
        .collect()
}

fn saves_or_previews(class: &str) -> bool {
    class.contains("Save") || class.contains("Preview")
}

/// The nodes from which another node takes a value.
fn link_origins(graph: &Graph) -> BTreeSet<&str> {
    all_links(graph).map(|link| link.origin).collect()
}

/// Whether the node is a sampler, which denoises a latent image.
pub(crate) fn is_sampler(graph: &Graph, id: &str) -> bool {
    class(graph, id).is_some_and(|class| class.contains("Sampler"))
        && link_origin(graph, id, "latent_image").is_some()
}

pub(crate) fn class<'g>(graph: &'g Graph, id: &str) -> Option<&'g str> {
    graph.get(id)?.get("class_type")?.as_str()
}

/// The links of all nodes.
pub(super) fn all_links(graph: &Graph) -> impl Iterator<Item = Link<'_>> {
    graph.values().flat_map(links)
}

/// The inputs of a node that are links.
pub(super) fn links(node: &Value) -> impl Iterator<Item = Link<'_>> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs
        .into_iter()
        .flatten()
        .filter_map(|(input, value)| match value.as_array()?.as_slice() {
            [Value::String(origin), Value::Number(slot)] => Some(Link {
                input,
                origin,
                slot: slot.as_u64().unwrap_or(0),
            }),
            _ => None,
        })
}

/// The node from which an input takes its value.
pub(super) fn link_origin<'g>(graph: &'g Graph, id: &str, input: &str) -> Option<&'g str> {
    links(graph.get(id)?)
        .find(|link| link.input == input)
        .map(|link| link.origin)
}

pub(super) fn input_value<'g>(graph: &'g Graph, id: &str, input: &str) -> Option<&'g Value> {
    graph.get(id)?.get("inputs")?.get(input)
}

/// The inputs of a node, with values or links.
pub(super) fn inputs(node: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

/// The title of a node in the editor.
pub(super) fn title<'g>(graph: &'g Graph, id: &str) -> Option<&'g str> {
    graph.get(id)?.get("_meta")?.get("title")?.as_str()
}

/// Sorts ids of nodes by their leading number.
pub(crate) fn sort_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut sorted: Vec<&str> = ids.collect();
    sorted.sort_unstable_by_key(|id| id_order(id));
    sorted
}

/// `9` sorts before `10`, and `10:2` after it.
fn id_order(id: &str) -> (u64, &str) {
    let digits = id.split(|letter: char| !letter.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    (number.unwrap_or(u64::MAX), id)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{ErrorKind, testing};
    use serde_json::json;

    use super::*;
    use crate::settings::{EDIT, GENERATE, declare};
    use crate::workflow::Workflow;

    #[test]
    fn workflow_setting_must_hold_api_format_graph() {
        let save = "add a SaveImage node";
        for (text, pieces) in [
            ("{", ["not JSON", EXPORT_HINT]),
            ("[]", ["not a JSON object", EXPORT_HINT]),
            (
                r#"{"nodes": [], "links": [], "last_node_id": 9}"#,
                ["editor's own format", EXPORT_HINT],
            ),
            ("{}", ["no node", EXPORT_HINT]),
            (
                r#"{"prompt": {"3": {"class_type": "KSampler"}}}"#,
                ["no node", EXPORT_HINT],
            ),
            (
                r#"{"3": {"class_type": "KSampler", "inputs": {}}}"#,
                ["saves or previews", save],
            ),
            (
                r#"{"1": {"class_type": "LoadImage", "inputs": {}}, "2": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0]}}}"#,
                ["saves or previews", save],
            ),
        ] {
            let refuse = |key: &SettingKey, result: Result<Workflow, Error>| {
                let error = result.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Invalid);
                assert_eq!(error.field.as_deref(), Some(key.name));
                for piece in pieces.iter().chain(&[key.variable]) {
                    assert!(error.message.contains(piece), "{}", error.message);
                }
            };
            let settings = |key: &SettingKey| testing::settings(declare(), &[(key.name, text)]);
            let (generate, edit) = (&GENERATE.workflow, &EDIT.workflow);
            refuse(generate, Workflow::for_generation(&settings(generate)));
            refuse(edit, Workflow::for_edit(&settings(edit), false, None));
        }
    }

    #[test]
    fn workflow_without_image_is_refused_with_its_node() {
        let refusal = |outputs: Value| {
            let mut graph = outputs;
            graph["1"] = json!({"class_type": "VAEDecode", "inputs": {}});
            let parsed = parse_graph(&graph.to_string(), &GENERATE.workflow);
            parsed.err().map(|error| error.message)
        };
        let node = |class: &str, input: &str| {
            let inputs = json!({input: ["1", 0]});
            json!({"class_type": class, "inputs": inputs, "_meta": {"title": "Result"}})
        };
        for (class, input, what) in [
            ("VHS_VideoCombine", "images", "a video"),
            ("SaveVideo", "video", "a video"),
            ("SaveWEBM", "images", "a video"),
            ("SaveAudioMP3", "audio", "audio"),
            ("PreviewAudio", "audio", "audio"),
            ("SaveGLB", "mesh", "a 3D model"),
            ("PreviewAny", "source", "a text"),
        ] {
            let message = refusal(json!({"9": node(class, input)})).unwrap();
            let expected = format!(
                "makes no image: \"Result\" (node 9, {class}) makes {what}; add a SaveImage node"
            );
            assert!(message.ends_with(&expected), "{message}");
            // Another output may be an image.
            for other in ["SaveImage", "PreviewImage", "Custom Output"] {
                let outputs = json!({"9": node(class, input), "10": node(other, "images")});
                assert_eq!(refusal(outputs), None, "{class} {other}");
            }
        }
        for class in ["SaveAnimatedWEBP", "VideoSaveImages", "Save Video Frames"] {
            assert_eq!(
                refusal(json!({"9": node(class, "images")})),
                None,
                "{class}"
            );
        }
        let many = json!({"2": node("SaveVideo", "video"), "10": node("SaveAudio", "audio")});
        let message = refusal(many).unwrap();
        assert!(
            message.contains("SaveVideo) makes a video, \"Result\" (node 10"),
            "{message}"
        );
    }

    #[test]
    fn image_outputs_prefer_saving_over_previewing_nodes() {
        let mut graph = json!({
            "1": {"class_type": "EmptyImage", "inputs": {}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
            "5": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "6": {"class_type": "Custom Output", "inputs": {"images": ["5", 0]}},
            "7": null,
        });
        let outputs = |value: &Value| -> Vec<String> {
            let ids = image_outputs(value.as_object().unwrap());
            ids.into_iter().map(str::to_owned).collect()
        };
        assert_eq!(outputs(&graph), ["3", "6"]);
        graph["6"] = Value::Null;
        graph["5"] = Value::Null;
        graph["3"]["class_type"] = "PreviewImage".into();
        assert_eq!(outputs(&graph), ["3", "4"]);
    }

    #[test]
    fn ids_sort_as_numbers() {
        let mut ids = ["x", "10", "9", "10:2", ""];
        ids.sort_by_key(|id| id_order(id));
        assert_eq!(ids, ["9", "10", "10:2", "", "x"]);
    }
}
