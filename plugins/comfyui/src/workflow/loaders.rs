//! Where the pictures of an edit go: its sources, and its mask.

use pinhole_sdk::{Error, ErrorKind, Size};
use serde_json::{Value, json};

use super::keys::Keys;
use super::mapping::{Place, What};
use super::values::BLOCK;
use super::{Graph, class, in_order, links, value};

const DEFAULT: &str = include_str!("../default_edit_workflow.json");
/// In the default workflow: the picture, as often as it is drawn over.
const REPEATED: &str = "15";
/// The output of a loader of pictures that is its mask.
const MASK_SLOT: u64 = 1;

/// The default workflow: image to image with the nodes of every server. `masked` is the size of the
/// picture that a mask is for.
///
/// Scaled, the picture is cropped to the shape asked for, but not below a mask, which would not
/// fit any more. Masked, only the noise is masked, so that the sampler still sees what it changes;
/// and what it drew is laid over the picture through the mask, since no VAE leaves pixels as they were.
pub(super) fn default_graph(scaled: bool, masked: Option<Size>) -> Graph {
    let mut graph: Graph = serde_json::from_str(DEFAULT).unwrap_or_default();
    if scaled {
        let crop = if masked.is_some() {
            "disabled"
        } else {
            "center"
        };
        let inputs = json!({
            "image": ["10", 0], "upscale_method": "lanczos", "width": 512, "height": 512, "crop": crop,
        });
        add(&mut graph, "11", "ImageScale", &inputs);
        link(&mut graph, "12", "pixels", "11");
    }
    if let Some(size) = masked {
        let picture = if scaled { "11" } else { "10" };
        // Of sides that are no whole blocks the VAE takes the middle.
        let cut = |side: u32| if scaled { 0 } else { side % BLOCK };
        let (wide, high) = (cut(size.width), cut(size.height));
        let (x, y) = (wide / 2, high / 2);
        let mut mask = json!(["10", MASK_SLOT]);
        if (wide, high) != (0, 0) {
            let inputs = json!({
                "mask": mask, "x": x, "y": y,
                "width": size.width - wide, "height": size.height - high,
            });
            add(&mut graph, "14", "CropMask", &inputs);
            mask = json!(["14", 0]);
        }
        let inputs = json!({"samples": ["12", 0], "mask": mask});
        add(&mut graph, "13", "SetLatentNoiseMask", &inputs);
        link(&mut graph, "5", "samples", "13");
        let inputs = json!({"image": [picture, 0], "amount": 1});
        add(&mut graph, REPEATED, "RepeatImageBatch", &inputs);
        let inputs = json!({
            "destination": [REPEATED, 0], "source": ["8", 0],
            "x": x, "y": y, "resize_source": false, "mask": mask,
        });
        add(&mut graph, "16", "ImageCompositeMasked", &inputs);
        link(&mut graph, "9", "images", "16");
    }
    graph
}

/// What the default workflow needs beside a mapping or what is found: as many pictures to lay over
/// as are drawn.
pub(super) fn default_places(graph: &Graph) -> Option<Place> {
    graph.contains_key(REPEATED).then(|| Place {
        what: What::Named("n".into()),
        node: REPEATED.into(),
        input: "amount".into(),
    })
}

fn add(graph: &mut Graph, id: &str, class: &str, inputs: &Value) {
    graph.insert(id.into(), json!({"class_type": class, "inputs": inputs}));
}

/// Makes an input take the first output of another node.
fn link(graph: &mut Graph, node: &str, input: &str, from: &str) {
    let node = graph.get_mut(node).and_then(|node| node.get_mut("inputs"));
    if let Some(inputs) = node.and_then(Value::as_object_mut) {
        inputs.insert(input.into(), json!([from, 0]));
    }
}

/// Adds places for source pictures where the mapping names none: the nodes that load a picture, in
/// the order of their ids.
pub(super) fn place_sources(graph: &Graph, places: &mut Vec<Place>) {
    let taken = |place: &Place| matches!(place.what, What::Source(_));
    if places.iter().any(taken) {
        return;
    }
    let loaders = loaders(graph, loads_picture);
    let sources = loaders.into_iter().enumerate();
    places.extend(sources.map(|(index, node)| Place {
        what: What::Source(index),
        node: node.to_owned(),
        input: "image".into(),
    }));
}

/// Makes sure that a mask has a place: where the mapping names none, that is the first node that
/// loads a mask. Where there is none of those either, but something takes the mask of the first
/// source, a node that loads the mask is put in between.
///
/// True where the mask has to be white, not transparent, where the picture may change. Fails where
/// the workflow has no use for a mask.
pub(super) fn place_mask(
    graph: &mut Graph,
    places: &mut Vec<Place>,
    keys: &Keys,
) -> Result<bool, Error> {
    let mapped = places.iter().find(|place| place.what == What::Mask);
    if let Some(place) = mapped {
        return Ok(wants_white(graph, &place.node));
    }
    let found = loaders(graph, loads_mask).first().map(ToString::to_string);
    let Some(node) = found.or_else(|| divert(graph, places)) else {
        let Keys { workflow, nodes } = keys;
        let message = format!(
            "the workflow has no place for a mask: use the mask of a LoadImage node or a LoadImageMask \
             node in {workflow}, or name a node with type mask in {nodes}"
        );
        return Err(Error::new(ErrorKind::Unsupported, message).with_field("mask"));
    };
    let white = wants_white(graph, &node);
    places.push(Place {
        what: What::Mask,
        node,
        input: "image".into(),
    });
    Ok(white)
}

/// Does it load a mask from a file of its own?
pub(super) fn loads_masks(graph: &Graph) -> bool {
    !loaders(graph, loads_mask).is_empty()
}

/// Has all that takes the mask of the first source take it from a new node, and gives that node's
/// id; `None` where nothing takes it.
///
/// The server has a call that writes a mask into an uploaded picture, but that picture is another
/// one then: its own transparency is gone, and what its camera said of its orientation.
fn divert(graph: &mut Graph, places: &[Place]) -> Option<String> {
    let first = |place: &&Place| place.what == What::Source(0) && loads_picture(graph, &place.node);
    let source = places.iter().find(first)?.node.clone();
    let id = (1..)
        .map(|n| format!("mask{n}"))
        .find(|id| !graph.contains_key(id))?;
    let mut diverted = false;
    for node in graph.values_mut() {
        let inputs = node.get_mut("inputs").and_then(Value::as_object_mut);
        for input in inputs.into_iter().flat_map(|inputs| inputs.values_mut()) {
            if *input == json!([source, MASK_SLOT]) {
                *input = json!([id, 0]);
                diverted = true;
            }
        }
    }
    let loader =
        json!({"class_type": "LoadImageMask", "inputs": {"image": "", "channel": "alpha"}});
    diverted.then(|| {
        graph.insert(id.clone(), loader);
        id
    })
}

/// The nodes that load a file from an input of their own, in the order of their ids.
fn loaders(graph: &Graph, wanted: impl Fn(&Graph, &str) -> bool) -> Vec<&str> {
    in_order(graph.keys().filter(|id| wanted(graph, id)))
}

fn loads_picture(graph: &Graph, id: &str) -> bool {
    loads(graph, id) && !loads_mask(graph, id)
}

fn loads_mask(graph: &Graph, id: &str) -> bool {
    let named = class(graph, id).is_some_and(|class| class.contains("Mask"));
    loads(graph, id) && (named || gives_only_mask(graph, id))
}

/// Does it load a picture of which nothing but the mask is taken, while another gives its pixels?
fn gives_only_mask(graph: &Graph, id: &str) -> bool {
    let takes = |from: &str, wanted: bool| {
        let mut taken = graph.values().flat_map(links);
        taken.any(|(_, target, slot)| target == from && (slot == MASK_SLOT) == wanted)
    };
    let picture = |other: &String| loads(graph, other) && takes(other, false);
    takes(id, true) && !takes(id, false) && graph.keys().any(picture)
}

fn loads(graph: &Graph, id: &str) -> bool {
    class(graph, id).is_some_and(|class| class.starts_with("LoadImage"))
        && value(graph, id, "image").is_some_and(Value::is_string)
}

/// Does this node take a mask from colours? A loader of masks says it; one of pictures whose own
/// mask, which comes from what is transparent, nobody takes, gives a picture.
fn wants_white(graph: &Graph, id: &str) -> bool {
    if let Some(channel) = value(graph, id, "channel").and_then(Value::as_str) {
        return channel != "alpha";
    }
    let mut taken = graph.values().flat_map(links);
    loads_picture(graph, id) && !taken.any(|(_, target, slot)| target == id && slot == MASK_SLOT)
}
