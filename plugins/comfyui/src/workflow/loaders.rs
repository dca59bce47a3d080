//! The nodes that load source images and masks.

use pinhole_sdk::{Error, ErrorKind};
use serde_json::{Value, json};

use super::Workflow;
use super::analysis::is_image_file;
use super::graph::{Graph, all_links, class, input_value, sort_ids};
use super::node_input::{InputContent, NodeInput};
use crate::settings::WorkflowKeys;

/// The input of a loader that names its file.
pub(super) const IMAGE: &str = "image";
/// The output of an image loader that is its mask.
pub(super) const MASK_SLOT: u64 = 1;

impl Workflow {
    /// Adds inputs for source images if the mapping names none: the nodes that load an image, in the
    /// order of their ids. Nodes on which no image depends do not count.
    pub(super) fn add_source_inputs(&mut self) {
        let is_source = |input: &NodeInput| matches!(input.content, InputContent::Source(_));
        if self.inputs.iter().any(is_source) {
            return;
        }
        let loaders = self.loaders().into_iter().filter(|id| {
            let is_filled = |input: &NodeInput| input.node == *id && input.input == IMAGE;
            loads_source(&self.graph, id) && !self.inputs.iter().any(is_filled)
        });
        let sources: Vec<NodeInput> = loaders
            .enumerate()
            .map(|(index, node)| NodeInput {
                content: InputContent::Source(index),
                node: node.to_owned(),
                input: IMAGE.into(),
            })
            .collect();
        self.inputs.extend(sources);
    }

    /// The nodes that load an image or a mask on which the result depends, in the order of their ids.
    pub(super) fn loaders(&self) -> Vec<&str> {
        let nodes = self.analysis.nodes.iter().map(String::as_str);
        sort_ids(nodes.filter(|id| loads_file(&self.graph, id)))
    }
}

/// Adds an input for a mask if the mapping names none: the first node that loads a mask. If there is no
/// such node, but a node uses the mask of the first source, a new node that loads the mask is
/// inserted.
///
/// Returns true if the mask must be white, not transparent, where the image may change. Fails if the
/// workflow cannot use a mask.
pub(super) fn add_mask_input(
    graph: &mut Graph,
    inputs: &mut Vec<NodeInput>,
    keys: &WorkflowKeys,
) -> Result<bool, Error> {
    let mapped = inputs
        .iter()
        .find(|input| input.content == InputContent::Mask);
    if let Some(input) = mapped {
        return Ok(needs_white_mask(graph, &input.node));
    }
    let existing = mask_loaders(graph).first().map(ToString::to_string);
    let Some(node) = existing.or_else(|| insert_mask_loader(graph, inputs)) else {
        let WorkflowKeys { workflow, nodes } = keys;
        let message = format!(
            "the workflow has no input for a mask: use the mask of a LoadImage node or a LoadImageMask \
             node in {workflow}, or map a node with type mask in {nodes}"
        );
        return Err(Error::new(ErrorKind::Unsupported, message).with_field("mask"));
    };
    let needs_white = needs_white_mask(graph, &node);
    inputs.push(NodeInput {
        content: InputContent::Mask,
        node,
        input: IMAGE.into(),
    });
    Ok(needs_white)
}

/// Inserts a node that loads the mask, and links to it all inputs that take the mask of the first
/// source. Returns the node's id, or `None` if there is no such input.
///
/// The server can also write a mask into an uploaded image. But the result is another image, without
/// its own transparency and without its camera's orientation.
fn insert_mask_loader(graph: &mut Graph, inputs: &[NodeInput]) -> Option<String> {
    let is_first_source = |input: &&NodeInput| {
        input.content == InputContent::Source(0) && loads_source(graph, &input.node)
    };
    let source = inputs.iter().find(is_first_source)?.node.clone();
    let id = (1..)
        .map(|number| format!("mask{number}"))
        .find(|id| !graph.contains_key(id))?;
    let mut is_used = false;
    for node in graph.values_mut() {
        let node_inputs = node.get_mut("inputs").and_then(Value::as_object_mut);
        for value in node_inputs.into_iter().flat_map(|it| it.values_mut()) {
            if *value == json!([source, MASK_SLOT]) {
                *value = json!([id, 0]);
                is_used = true;
            }
        }
    }
    if !is_used {
        return None;
    }
    let loader =
        json!({"class_type": "LoadImageMask", "inputs": {"image": "", "channel": "alpha"}});
    graph.insert(id.clone(), loader);
    Some(id)
}

/// The nodes that load a mask, in the order of their ids.
fn mask_loaders(graph: &Graph) -> Vec<&str> {
    sort_ids(
        graph
            .keys()
            .map(String::as_str)
            .filter(|id| loads_mask(graph, id)),
    )
}

fn loads_source(graph: &Graph, id: &str) -> bool {
    loads_file(graph, id) && !loads_mask(graph, id)
}

pub(super) fn loads_mask(graph: &Graph, id: &str) -> bool {
    let has_mask_class = class(graph, id).is_some_and(|class| class.contains("Mask"));
    loads_file(graph, id) && (has_mask_class || gives_only_mask(graph, id))
}

/// Whether only the mask of a loaded image is used, while another loader gives the pixels.
fn gives_only_mask(graph: &Graph, id: &str) -> bool {
    let uses_pixels =
        |node: &str| all_links(graph).any(|link| link.origin == node && link.slot != MASK_SLOT);
    let loads_pixels = |other: &String| loads_file(graph, other) && uses_pixels(other);
    uses_mask(graph, id) && !uses_pixels(id) && graph.keys().any(loads_pixels)
}

/// Whether another node uses the mask of a loaded image.
fn uses_mask(graph: &Graph, id: &str) -> bool {
    all_links(graph).any(|link| link.origin == id && link.slot == MASK_SLOT)
}

/// Whether a node loads a file: by its class, or because its image is the name of one.
fn loads_file(graph: &Graph, id: &str) -> bool {
    let file = input_value(graph, id, IMAGE).and_then(Value::as_str);
    file.is_some_and(|file| {
        let class = class(graph, id).unwrap_or_default().to_lowercase();
        is_image_file(file) || class.contains("load") && class.contains("image")
    })
}

/// Whether a node takes a mask from colors. A mask loader has a channel. A loaded image gives its
/// colors if no other node uses its mask, which comes from its transparency.
fn needs_white_mask(graph: &Graph, id: &str) -> bool {
    if let Some(channel) = input_value(graph, id, "channel").and_then(Value::as_str) {
        return channel != "alpha";
    }
    loads_source(graph, id) && !uses_mask(graph, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Workflow;
    use crate::workflow::fixture::{SQUARE, edit_changes, minimal_job, settings, two_loaders};

    #[test]
    fn each_source_has_its_loader() {
        let graph = two_loaders();
        let job = minimal_job();
        let detected = settings(&[("edit-workflow", &graph)]);
        assert_eq!(
            edit_changes(&detected, &job, &["x", "y"]),
            [r#"1.image="x""#, r#"2.image="y""#]
        );
        let nodes = json!([{"type": "image", "node_ids": ["2", "1"]}]);
        let mapped = settings(&[("edit-workflow", &graph), ("edit-nodes", &nodes)]);
        assert_eq!(
            edit_changes(&mapped, &job, &["x", "y"]),
            [r#"1.image="y""#, r#"2.image="x""#]
        );
        let no_loader = json!({"4": {"class_type": "SaveImage", "inputs": {}}});
        let unusable = settings(&[("edit-workflow", &no_loader)]);
        let error = Workflow::for_edit(&unusable, false, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some("edit-workflow"));
        assert!(error.message.contains("LoadImage"), "{}", error.message);
    }

    /// The node that takes the mask, and whether the mask is white; `None` if no node takes it.
    fn mask_node(graph: &Value, nodes: &Value) -> Option<(String, bool)> {
        let settings = settings(&[("edit-workflow", graph), ("edit-nodes", nodes)]);
        let mut workflow = Workflow::for_edit(&settings, false, SQUARE).unwrap();
        let is_white = match workflow.add_mask_input() {
            Ok(is_white) => is_white,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unsupported);
                assert_eq!(error.field.as_deref(), Some("mask"));
                return None;
            }
        };
        let mut inputs = workflow.inputs().iter();
        let input = inputs.find(|input| input.content == InputContent::Mask);
        Some((input.unwrap().node.clone(), is_white))
    }

    #[test]
    fn mask_goes_to_node_that_takes_one() {
        let none = json!([]);
        let mut graph = two_loaders();
        assert_eq!(mask_node(&graph, &none), None);
        // A mask of the second image does not count: the job's mask is for the first.
        graph["3"]["inputs"]["mask"] = json!(["2", 1]);
        assert_eq!(mask_node(&graph, &none), None);
        graph["3"]["inputs"]["mask"] = json!(["1", 1]);
        assert_eq!(mask_node(&graph, &none), Some(("mask1".into(), false)));
        for (channel, is_white) in [("alpha", false), ("red", true)] {
            graph["7"] = json!({"class_type": "LoadImageMask", "inputs": {"image": "m", "channel": channel}});
            assert_eq!(mask_node(&graph, &none), Some(("7".into(), is_white)));
        }
        // Often, only the mask of a loaded image is used.
        let inpaint = json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
            "6": {"class_type": "LoadImage", "inputs": {"image": "b"}},
            "3": {"class_type": "Inpaint", "inputs": {"image": ["1", 0], "mask": ["6", 1]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
        });
        assert_eq!(mask_node(&inpaint, &none), Some(("6".into(), false)));
        let detected = settings(&[("edit-workflow", &inpaint)]);
        assert_eq!(
            edit_changes(&detected, &minimal_job(), &["x", "y"]),
            [r#"1.image="x""#]
        );
        // One image becomes a mask by its colors, the other by its transparency.
        let second = json!([{"type": "mask", "node_ids": ["2"]}]);
        assert_eq!(mask_node(&graph, &second), Some(("2".into(), true)));
        let first =
            json!([{"type": "mask", "node_ids": ["1"]}, {"type": "image", "node_ids": ["2"]}]);
        assert_eq!(mask_node(&graph, &first), Some(("1".into(), false)));
    }
}
