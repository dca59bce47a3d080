//! The default edit workflow: image to image with the nodes that every server has.

use pinhole_sdk::Size;
use serde_json::{Value, json};

use super::graph::Graph;
use super::job_values::BLOCK;
use super::loaders::MASK_SLOT;
use super::node_input::{InputContent, NodeInput};

const DEFAULT_EDIT_WORKFLOW: &str = include_str!("../default_edit_workflow.json");

// Ids of nodes in the default workflow.
const REPEATED_LATENT: &str = "5";
const DECODED: &str = "8";
const SAVED: &str = "9";
const LOADED: &str = "10";
const SCALED: &str = "11";
const ENCODED: &str = "12";
const NOISE_MASK: &str = "13";
const CROPPED_MASK: &str = "14";
/// Repeats the source for each generated image.
const REPEATED: &str = "15";
const COMPOSITE: &str = "16";

/// The graph. `masked` is the size of the image that a mask is for.
///
/// A scaled source is cropped to the requested shape, except with a mask, which would no longer fit.
/// A mask limits the noise, so that the sampler still sees the pixels that it replaces. The result is
/// then composited onto the source through the mask, because a VAE changes all pixels slightly.
pub(super) fn graph(scaled: bool, masked: Option<Size>) -> Graph {
    let mut graph: Graph = serde_json::from_str(DEFAULT_EDIT_WORKFLOW).unwrap_or_default();
    if scaled {
        let crop = if masked.is_some() {
            "disabled"
        } else {
            "center"
        };
        let inputs = json!({
            "image": [LOADED, 0], "upscale_method": "lanczos", "width": 512, "height": 512, "crop": crop,
        });
        add_node(&mut graph, SCALED, "ImageScale", &inputs);
        link_input(&mut graph, ENCODED, "pixels", SCALED);
    }
    if let Some(size) = masked {
        let source = if scaled { SCALED } else { LOADED };
        add_mask(&mut graph, source, (!scaled).then_some(size));
    }
    graph
}

/// Adds the nodes for a mask. `size` is that of the mask, unless the source is scaled to whole blocks.
fn add_mask(graph: &mut Graph, source: &str, size: Option<Size>) {
    let mut mask = json!([LOADED, MASK_SLOT]);
    let (mut x, mut y) = (0, 0);
    if let Some(size) = size {
        // If a side is not a multiple of a block, the VAE uses the center.
        let (margin_x, margin_y) = (size.width % BLOCK, size.height % BLOCK);
        (x, y) = (margin_x / 2, margin_y / 2);
        if (margin_x, margin_y) != (0, 0) {
            let inputs = json!({
                "mask": mask, "x": x, "y": y,
                "width": size.width - margin_x, "height": size.height - margin_y,
            });
            add_node(graph, CROPPED_MASK, "CropMask", &inputs);
            mask = json!([CROPPED_MASK, 0]);
        }
    }
    let noise_inputs = json!({"samples": [ENCODED, 0], "mask": mask});
    add_node(graph, NOISE_MASK, "SetLatentNoiseMask", &noise_inputs);
    link_input(graph, REPEATED_LATENT, "samples", NOISE_MASK);
    let repeat_inputs = json!({"image": [source, 0], "amount": 1});
    add_node(graph, REPEATED, "RepeatImageBatch", &repeat_inputs);
    let composite_inputs = json!({
        "destination": [REPEATED, 0], "source": [DECODED, 0],
        "x": x, "y": y, "resize_source": false, "mask": mask,
    });
    add_node(graph, COMPOSITE, "ImageCompositeMasked", &composite_inputs);
    link_input(graph, SAVED, "images", COMPOSITE);
}

/// The input that the default workflow needs in addition to a mapping or the detected inputs: a copy of
/// the source for each generated image.
pub(super) fn extra_input(graph: &Graph) -> Option<NodeInput> {
    graph.contains_key(REPEATED).then(|| NodeInput {
        content: InputContent::JobValue("n".into()),
        node: REPEATED.into(),
        input: "amount".into(),
    })
}

fn add_node(graph: &mut Graph, id: &str, class: &str, inputs: &Value) {
    graph.insert(id.into(), json!({"class_type": class, "inputs": inputs}));
}

/// Links an input to the first output of another node.
fn link_input(graph: &mut Graph, node: &str, input: &str, origin: &str) {
    let inputs = graph
        .get_mut(node)
        .and_then(|node| node.get_mut("inputs")?.as_object_mut());
    if let Some(inputs) = inputs {
        inputs.insert(input.into(), json!([origin, 0]));
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::Settings;

    use super::*;
    use crate::workflow::fixture::{SQUARE, full_job, minimal_job};
    use crate::workflow::{JobValues, Workflow};

    #[test]
    fn mask_is_part_of_default_workflow() {
        let mut workflow = Workflow::for_edit(&Settings::default(), true, SQUARE).unwrap();
        assert!(!workflow.add_mask_input().unwrap());
        let mut values = JobValues::from_job(&full_job(), 7).unwrap();
        values.mask = Some("m.png".into());
        let graph = workflow.fill(&values);
        assert_eq!(
            graph["mask1"],
            json!({"class_type": "LoadImageMask", "inputs": {"image": "m.png", "channel": "alpha"}})
        );
        assert_eq!(
            graph["13"]["inputs"],
            json!({"samples": ["12", 0], "mask": ["mask1", 0]})
        );
        assert_eq!(graph["5"]["inputs"]["samples"], json!(["13", 0]));
        assert_eq!(graph["11"]["inputs"]["crop"], "disabled");
        // The result is composited onto a copy of the source for each image.
        assert_eq!(graph["9"]["inputs"]["images"], json!(["16", 0]));
        assert_eq!(
            graph["16"]["inputs"],
            json!({"destination": ["15", 0], "source": ["8", 0], "x": 0, "y": 0,
                   "resize_source": false, "mask": ["mask1", 0]})
        );
        assert_eq!(
            graph["15"]["inputs"],
            json!({"image": ["11", 0], "amount": 2})
        );
        assert!(!graph.contains_key("14"));
    }

    #[test]
    fn mask_is_cropped_to_generated_center() {
        let odd = Some(Size::new(131, 97));
        let mut workflow = Workflow::for_edit(&Settings::default(), false, odd).unwrap();
        workflow.add_mask_input().unwrap();
        let graph = workflow.fill(&JobValues::from_job(&minimal_job(), 7).unwrap());
        assert_eq!(
            graph["14"]["inputs"],
            json!({"mask": ["mask1", 0], "x": 1, "y": 0, "width": 128, "height": 96})
        );
        assert_eq!(graph["13"]["inputs"]["mask"], json!(["14", 0]));
        let composite = &graph["16"]["inputs"];
        assert_eq!((&composite["x"], &composite["y"]), (&json!(1), &json!(0)));
        assert_eq!(composite["mask"], json!(["14", 0]));
        assert_eq!(graph["15"]["inputs"]["image"], json!(["10", 0]));
    }
}
