//! Finds the inputs that take a job's values, by what the nodes are and how they are linked.
//!
//! It begins at the samplers. Each says by its links which text is wanted and which is not, where
//! its noise, its steps and its model come from, and which empty latent image it fills.

use std::collections::{BTreeSet, VecDeque};

use super::mapping::{Place, What};
use super::{Graph, class, in_order, links, value};

/// Inputs that name a model file.
pub(super) const MODEL_INPUTS: &[&str] = &["ckpt_name", "unet_name", "model_name"];
/// Inputs that take a seed.
pub(super) const SEED_INPUTS: &[&str] = &["seed", "noise_seed"];
/// Inputs that say how many images there are to be.
pub(super) const COUNT_INPUTS: &[&str] = &["batch_size", "amount"];
/// Inputs of text encoders; some have two, for two encoders, and both get the text.
const TEXT_INPUTS: &[&str] = &["text", "text_g", "text_l", "clip_l", "t5xxl", "prompt"];
/// Inputs of nodes that only hold a value for others.
const VALUE_INPUTS: &[&str] = &["value", "text", "string"];
/// Inputs of a sampler that a job may set as parameters.
const SAMPLER_PARAMETERS: &[&str] = &["cfg", "denoise", "sampler_name", "scheduler"];
/// How many nodes that only pass a value on are followed.
const MAX_HOPS: usize = 8;

/// All that is found; nothing for values that have no node.
pub(super) fn places(graph: &Graph) -> Vec<Place> {
    let mut finder = Finder {
        graph,
        places: Vec::new(),
    };
    for id in in_order(graph.keys().filter(|id| is_sampler(graph, id))) {
        finder.sampler(id);
    }
    if !finder.places.iter().any(|place| place.takes("prompt")) {
        finder.only("prompt", TEXT_INPUTS, |class| class.contains("TextEncode"));
    }
    if !finder.places.iter().any(|place| place.takes("model")) {
        finder.only("model", MODEL_INPUTS, |class| class.contains("Load"));
    }
    finder.places
}

pub(crate) fn is_sampler(graph: &Graph, id: &str) -> bool {
    class(graph, id).is_some_and(|class| class.contains("Sampler"))
        && link(graph, id, "latent_image").is_some()
}

struct Finder<'g> {
    graph: &'g Graph,
    places: Vec<Place>,
}

impl<'g> Finder<'g> {
    fn sampler(&mut self, id: &'g str) {
        let takes_text = |graph: &Graph, node: &str| has_any(graph, node, TEXT_INPUTS);
        let positive = self.near(id, "positive", &takes_text);
        let negative = self.near(id, "negative", &takes_text);
        self.put_any("prompt", positive, TEXT_INPUTS);
        // Where nothing is unwanted, the way of the unwanted leads to the wanted text as well.
        self.put_any(
            "negative_prompt",
            negative.filter(|_| negative != positive),
            TEXT_INPUTS,
        );

        let seed = self.near(id, "noise", &|graph, node| {
            has_any(graph, node, SEED_INPUTS)
        });
        self.put_any("seed", seed, SEED_INPUTS);
        let steps = self.near(id, "sigmas", &|graph, node| {
            has_any(graph, node, &["steps"])
        });
        self.put_any("steps", steps, &["steps"]);

        // A sampler that goes on from another's picture has sizes and a model of its own, and keeps them.
        let goes_on = |graph: &Graph, node: &str| node != id && is_sampler(graph, node);
        if self.near(id, "latent_image", &goes_on).is_some() {
            return;
        }
        self.latent(id);
        let model = self.near(id, "model", &|graph, node| {
            has_any(graph, node, MODEL_INPUTS)
        });
        self.put_any("model", model, MODEL_INPUTS);
        for parameter in SAMPLER_PARAMETERS {
            self.put_any(parameter, Some(id), &[parameter]);
        }
    }

    /// The latent image that a sampler begins with: an empty one, or one made of a picture that may be
    /// scaled and repeated on its way.
    fn latent(&mut self, id: &'g str) {
        let empty = self.near(id, "latent_image", &is_empty_latent);
        let sized = empty.or_else(|| self.near(id, "latent_image", &is_sized));
        self.put_any("width", sized, &["width"]);
        self.put_any("height", sized, &["height"]);
        let repeated = empty.or_else(|| self.near(id, "latent_image", &is_repeated));
        self.put_any("n", repeated, COUNT_INPUTS);
    }

    /// Writes to a node outside any sampler's reach, if there is just one of the kind.
    fn only(&mut self, name: &str, inputs: &[&str], is_kind: impl Fn(&str) -> bool) {
        let mut ids = self.graph.keys().filter(|id| {
            class(self.graph, id).is_some_and(&is_kind) && has_any(self.graph, id, inputs)
        });
        if let (Some(id), None) = (ids.next(), ids.next()) {
            self.put_any(name, Some(id), inputs);
        }
    }

    /// The nearest node, seen from a sampler up its links, that is wanted. Where a node has a link
    /// of the name `way`, only that is followed: a ControlNet passes both texts through, say.
    /// Other samplers end the way: what lies behind them is theirs.
    fn near(
        &self,
        from: &'g str,
        way: &str,
        is_wanted: &dyn Fn(&Graph, &str) -> bool,
    ) -> Option<&'g str> {
        let mut seen = BTreeSet::from([from]);
        let mut next = VecDeque::from([from]);
        while let Some(id) = next.pop_front() {
            if is_wanted(self.graph, id) {
                return Some(id);
            }
            if id != from && is_sampler(self.graph, id) {
                continue;
            }
            let node = self.graph.get(id)?;
            let named = links(node).find(|(input, _, _)| *input == way);
            let targets = links(node).filter(|found| named.is_none_or(|named| *found == named));
            for (_, target, _) in targets {
                if self.graph.contains_key(target) && seen.insert(target) {
                    next.push_back(target);
                }
            }
        }
        None
    }

    /// Adds a place for each of these inputs that the node has.
    fn put_any(&mut self, name: &str, node: Option<&str>, inputs: &[&str]) {
        let Some(node) = node else {
            return;
        };
        for input in inputs
            .iter()
            .filter(|input| has_any(self.graph, node, &[**input]))
        {
            let (node, input) = settle(self.graph, node, input);
            let place = Place {
                what: What::Named(name.to_owned()),
                node: node.to_owned(),
                input: input.to_owned(),
            };
            if !self.places.contains(&place) {
                self.places.push(place);
            }
        }
    }
}

fn is_empty_latent(graph: &Graph, id: &str) -> bool {
    ["width", "height", "batch_size"]
        .iter()
        .all(|input| has_any(graph, id, &[*input]))
}

fn is_sized(graph: &Graph, id: &str) -> bool {
    ["width", "height"]
        .iter()
        .all(|input| has_any(graph, id, &[*input]))
}

fn is_repeated(graph: &Graph, id: &str) -> bool {
    class(graph, id).is_some_and(|class| class.starts_with("Repeat"))
        && has_any(graph, id, COUNT_INPUTS)
}

fn has_any(graph: &Graph, id: &str, inputs: &[&str]) -> bool {
    inputs.iter().any(|input| value(graph, id, input).is_some())
}

fn link<'g>(graph: &'g Graph, id: &str, input: &str) -> Option<&'g str> {
    links(graph.get(id)?)
        .find(|(name, _, _)| *name == input)
        .map(|(_, target, _)| target)
}

/// The input to write to: where the given one is a link to a node that only holds a value, that
/// node's.
fn settle<'a>(graph: &'a Graph, node: &'a str, input: &'a str) -> (&'a str, &'a str) {
    let mut place = (node, input);
    for _ in 0..MAX_HOPS {
        let Some(target) = link(graph, place.0, place.1) else {
            return place;
        };
        let Some(held) = VALUE_INPUTS
            .iter()
            .find(|held| has_any(graph, target, &[**held]))
        else {
            break;
        };
        place = (target, held);
    }
    // A node that makes its value itself: the job's takes the place of the link.
    (node, input)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The places found, as `what:node.input`.
    #[track_caller]
    fn check(graph: Value, expected: &[&str]) {
        let found: Vec<String> = places(graph.as_object().unwrap())
            .into_iter()
            .map(|place| match place.what {
                What::Named(name) => format!("{name}:{}.{}", place.node, place.input),
                what => panic!("{what:?}"),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_custom_sampler_is_followed_to_its_parts() {
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
    fn texts_are_kept_apart_behind_a_control_net_and_followed_to_where_they_stand() {
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
    fn a_second_pass_keeps_its_size_and_model() {
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
    fn without_a_sampler_only_what_is_unmistakable_is_found() {
        let encoder = json!({"class_type": "CLIPTextEncode", "inputs": {"text": ""}});
        check(json!({"1": encoder}), &["prompt:1.text"]);
        check(json!({"1": encoder, "2": encoder}), &[]);
        check(
            json!({"1": null, "2": {"class_type": 3}, "3": {"class_type": "KSampler", "inputs": []}}),
            &[],
        );
    }

    #[test]
    fn circles_and_loose_ends_do_no_harm() {
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
