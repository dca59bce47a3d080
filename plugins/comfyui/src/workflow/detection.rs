//! Detects the inputs that take a job's values, from the classes of nodes and the links between them.
//!
//! Detection starts at the samplers. The links of a sampler lead to the prompt and the negative prompt,
//! to its noise, steps and model, and to the empty latent image that it fills.

use std::collections::{BTreeSet, VecDeque};

use super::graph::{Graph, Link, class, input_value, is_sampler, link_origin, links, sort_ids};
use super::node_input::{InputContent, NodeInput};

/// Inputs that name a model file.
pub(super) const MODEL_INPUTS: &[&str] = &["ckpt_name", "unet_name", "model_name"];
pub(super) const SEED_INPUTS: &[&str] = &["seed", "noise_seed"];
/// Inputs that set the number of images.
pub(super) const COUNT_INPUTS: &[&str] = &["batch_size", "amount"];
/// Inputs of text encoders. Some have two, for two encoders, and both take the text.
const TEXT_INPUTS: &[&str] = &["text", "text_g", "text_l", "clip_l", "t5xxl", "prompt"];
/// Inputs of nodes that only hold a value for other nodes.
const VALUE_INPUTS: &[&str] = &["value", "text", "string"];
/// Inputs of a sampler that a job may set as parameters.
const SAMPLER_PARAMETERS: &[&str] = &["cfg", "denoise", "sampler_name", "scheduler"];
/// Maximum number of consecutive nodes that only hold a value.
const MAX_VALUE_NODES: usize = 8;

/// Detects the inputs of all values. A value without a node has none.
pub(super) fn detect_inputs(graph: &Graph) -> Vec<NodeInput> {
    let mut detector = Detector {
        graph,
        inputs: Vec::new(),
    };
    for id in sort_ids(graph.keys().filter(|id| is_sampler(graph, id))) {
        detector.detect_sampler(id);
    }
    if !detector.inputs.iter().any(|input| input.takes("prompt")) {
        detector.add_only_node("prompt", TEXT_INPUTS, |class| class.contains("TextEncode"));
    }
    if !detector.inputs.iter().any(|input| input.takes("model")) {
        detector.add_only_node("model", MODEL_INPUTS, |class| class.contains("Load"));
    }
    detector.inputs
}

struct Detector<'g> {
    graph: &'g Graph,
    inputs: Vec<NodeInput>,
}

impl<'g> Detector<'g> {
    fn detect_sampler(&mut self, id: &'g str) {
        let positive = self.nearest_with_input(id, "positive", TEXT_INPUTS);
        let negative = self.nearest_with_input(id, "negative", TEXT_INPUTS);
        self.add_inputs("prompt", positive, TEXT_INPUTS);
        // Without a negative prompt, the negative link leads to the prompt as well.
        if negative != positive {
            self.add_inputs("negative_prompt", negative, TEXT_INPUTS);
        }
        let seed = self.nearest_with_input(id, "noise", SEED_INPUTS);
        self.add_inputs("seed", seed, SEED_INPUTS);
        let steps = self.nearest_with_input(id, "sigmas", &["steps"]);
        self.add_inputs("steps", steps, &["steps"]);

        // A sampler that continues another sampler's image keeps its own size and model.
        let is_other_sampler = |node: &str| node != id && is_sampler(self.graph, node);
        if self
            .nearest(id, "latent_image", &is_other_sampler)
            .is_some()
        {
            return;
        }
        self.detect_latent(id);
        let model = self.nearest_with_input(id, "model", MODEL_INPUTS);
        self.add_inputs("model", model, MODEL_INPUTS);
        for parameter in SAMPLER_PARAMETERS {
            self.add_inputs(parameter, Some(id), &[parameter]);
        }
    }

    /// Detects the latent image that a sampler starts with: an empty one, or one from an image that may
    /// be scaled and repeated.
    fn detect_latent(&mut self, id: &'g str) {
        let nearest = |is_match: fn(&Graph, &str) -> bool| {
            self.nearest(id, "latent_image", &|node| is_match(self.graph, node))
        };
        let empty = nearest(is_empty_latent);
        let sized = empty.or_else(|| nearest(has_size));
        let repeated = empty.or_else(|| nearest(is_repeat));
        self.add_inputs("width", sized, &["width"]);
        self.add_inputs("height", sized, &["height"]);
        self.add_inputs("n", repeated, COUNT_INPUTS);
    }

    /// Adds inputs of a node that no sampler leads to, if it is the only one of its class.
    fn add_only_node(&mut self, name: &str, inputs: &[&str], is_class: impl Fn(&str) -> bool) {
        let mut ids = self.graph.keys().filter(|id| {
            class(self.graph, id).is_some_and(&is_class) && has_any_input(self.graph, id, inputs)
        });
        if let (Some(id), None) = (ids.next(), ids.next()) {
            self.add_inputs(name, Some(id), inputs);
        }
    }

    fn nearest_with_input(
        &self,
        start: &'g str,
        followed_input: &str,
        inputs: &[&str],
    ) -> Option<&'g str> {
        self.nearest(start, followed_input, &|node| {
            has_any_input(self.graph, node, inputs)
        })
    }

    /// The nearest matching node, from a sampler along its links. If a node has a link named
    /// `followed_input`, only that link is followed; a ControlNet, for example, passes both texts on.
    /// The search ends at other samplers: the nodes behind them are theirs.
    fn nearest(
        &self,
        start: &'g str,
        followed_input: &str,
        is_match: &dyn Fn(&str) -> bool,
    ) -> Option<&'g str> {
        let mut visited = BTreeSet::from([start]);
        let mut queue = VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            if is_match(id) {
                return Some(id);
            }
            if id != start && is_sampler(self.graph, id) {
                continue;
            }
            let node = self.graph.get(id)?;
            let followed: Option<Link<'_>> = links(node).find(|link| link.input == followed_input);
            for link in links(node).filter(|link| followed.is_none_or(|only| *link == only)) {
                if self.graph.contains_key(link.origin) && visited.insert(link.origin) {
                    queue.push_back(link.origin);
                }
            }
        }
        None
    }

    /// Adds those of the inputs that the node has.
    fn add_inputs(&mut self, name: &str, node: Option<&str>, inputs: &[&str]) {
        let Some(node) = node else {
            return;
        };
        for input in inputs {
            if !has_any_input(self.graph, node, &[*input]) {
                continue;
            }
            let (value_node, value_input) = follow_value_nodes(self.graph, node, input);
            let detected = NodeInput {
                content: InputContent::JobValue(name.to_owned()),
                node: value_node.to_owned(),
                input: value_input.to_owned(),
            };
            if !self.inputs.contains(&detected) {
                self.inputs.push(detected);
            }
        }
    }
}

fn is_empty_latent(graph: &Graph, id: &str) -> bool {
    has_size(graph, id) && has_any_input(graph, id, &["batch_size"])
}

fn has_size(graph: &Graph, id: &str) -> bool {
    has_any_input(graph, id, &["width"]) && has_any_input(graph, id, &["height"])
}

fn is_repeat(graph: &Graph, id: &str) -> bool {
    class(graph, id).is_some_and(|class| class.starts_with("Repeat"))
        && has_any_input(graph, id, COUNT_INPUTS)
}

fn has_any_input(graph: &Graph, id: &str, inputs: &[&str]) -> bool {
    inputs
        .iter()
        .any(|input| input_value(graph, id, input).is_some())
}

/// The node and input to write to: if the input is a link to a node that only holds a value, that
/// node's input.
fn follow_value_nodes<'a>(graph: &'a Graph, node: &'a str, input: &'a str) -> (&'a str, &'a str) {
    let mut current = (node, input);
    for _ in 0..MAX_VALUE_NODES {
        let Some(origin) = link_origin(graph, current.0, current.1) else {
            return current;
        };
        let Some(value_input) = VALUE_INPUTS
            .iter()
            .find(|value_input| has_any_input(graph, origin, &[**value_input]))
        else {
            break;
        };
        current = (origin, value_input);
    }
    // The node computes its value: the job's value replaces the link.
    (node, input)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The detected inputs, as `value:node.input`.
    #[track_caller]
    fn check(graph: Value, expected: &[&str]) {
        let detected: Vec<String> = detect_inputs(graph.as_object().unwrap())
            .into_iter()
            .map(|input| match input.content {
                InputContent::JobValue(name) => format!("{name}:{}.{}", input.node, input.input),
                content => panic!("{content:?}"),
            })
            .collect();
        assert_eq!(detected, expected);
    }

    #[test]
    fn detection_follows_custom_sampler_to_its_parts() {
        check(
            json!({
                "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
                "6": {"class_type": "CLIPTextEncodeFlux", "inputs": {"clip_l": "", "t5xxl": "", "guidance": 3, "clip": ["11", 0]}},
                "8": {"class_type": "VAEDecode", "inputs": {"samples": ["13", 0]}},
                "11": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "a", "clip_name2": "b"}},
                "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux"}},
                "13": {"class_type": "SamplerCustomAdvanced", "inputs": {
                    "noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0], "latent_image": ["5", 0]}},
                "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
                "17": {"class_type": "BasicScheduler", "inputs": {"steps": 4, "scheduler": "simple", "model": ["12", 0]}},
                "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["6", 0]}},
                "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 1}},
            }),
            &[
                "prompt:6.clip_l",
                "prompt:6.t5xxl",
                "seed:25.noise_seed",
                "steps:17.steps",
                "width:5.width",
                "height:5.height",
                "n:5.batch_size",
                "model:12.unet_name",
            ],
        );
    }

    #[test]
    fn detection_separates_texts_behind_control_net() {
        check(
            json!({
                "1": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": ""}},
                "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["1", 0]}},
                "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}},
                "4": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["2", 0], "negative": ["3", 0], "image": ["9", 0]}},
                "5": {"class_type": "KSamplerAdvanced", "inputs": {
                    "noise_seed": 1, "steps": 2, "positive": ["4", 0], "negative": ["4", 1], "latent_image": ["6", 0]}},
                "6": {"class_type": "VAEEncode", "inputs": {"pixels": ["9", 0]}},
                "9": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            }),
            &[
                "prompt:1.value",
                "negative_prompt:3.text",
                "seed:5.noise_seed",
                "steps:5.steps",
            ],
        );
    }

    #[test]
    fn detection_keeps_size_and_model_of_second_pass() {
        check(
            json!({
                "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base"}},
                "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "refiner"}},
                "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
                "4": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
                "5": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["4", 0]}},
                "6": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "l"}},
                "7": {"class_type": "KSampler", "inputs": {
                    "model": ["6", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["3", 0], "seed": 1, "cfg": 1}},
                "8": {"class_type": "LatentUpscale", "inputs": {"samples": ["7", 0], "width": 16, "height": 16}},
                "10": {"class_type": "KSampler", "inputs": {
                    "model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["8", 0], "seed": 1, "cfg": 1}},
            }),
            &[
                "prompt:4.text",
                "seed:7.seed",
                "width:3.width",
                "height:3.height",
                "n:3.batch_size",
                "model:1.ckpt_name",
                "cfg:7.cfg",
                "seed:10.seed",
            ],
        );
    }

    #[test]
    fn detection_without_sampler_needs_unique_node() {
        let encoder = json!({"class_type": "CLIPTextEncode", "inputs": {"text": ""}});
        check(json!({"1": encoder}), &["prompt:1.text"]);
        check(json!({"1": encoder, "2": encoder}), &[]);
        check(
            json!({"1": null, "2": {"class_type": 3}, "3": {"class_type": "KSampler", "inputs": []}}),
            &[],
        );
    }

    #[test]
    fn detection_tolerates_circles_and_missing_nodes() {
        check(
            json!({
                "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["9", 0], "latent_image": ["1", 0]}},
                "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}},
                "3": {"class_type": "Text", "inputs": {"value": ["3", 0]}},
            }),
            &["prompt:2.text"],
        );
    }
}
