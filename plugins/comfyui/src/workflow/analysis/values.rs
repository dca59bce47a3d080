//! Where the other values of a job go: seed, steps, size, number of images, model and parameters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::{LinkKind, is_image_file, is_model_file, is_seed, link_kind};
use super::network::{GUIDER, Network, Use};
use crate::workflow::graph::{Link, class, input_value, inputs, link_origin, links};
use crate::workflow::node_input::{DENOISE, InputContent, NodeInput, STRENGTH};

/// Inputs that name a model file.
pub(crate) const MODEL_INPUTS: &[&str] = &["ckpt_name", "unet_name", "model_name"];
/// Inputs that set the number of images.
pub(crate) const COUNT_INPUTS: &[&str] = &["batch_size", "amount"];
/// The same of nodes that call a remote API.
const API_COUNT_INPUTS: &[&str] = &["n", "num_images", "number_of_images"];
const STEPS: &str = "steps";
/// Inputs of a sampler that a job may set as parameters.
const SAMPLER_PARAMETERS: &[&str] = &["cfg", DENOISE, "sampler_name", "scheduler"];
/// Inputs of nodes that only hold a number for other nodes.
const VALUE_INPUTS: &[&str] = &["value", "int", "number", "seed", "float"];
/// Maximum number of consecutive nodes that only hold a value.
const MAX_VALUE_NODES: usize = 8;

/// A value, the input that uses it, and the input that holds it, which may be of a node before.
#[derive(Debug)]
struct Placed<'g> {
    name: String,
    user: (&'g str, &'g str),
    holder: (&'g str, &'g str),
}

pub(super) struct ValueSearch<'n, 'g> {
    network: &'n Network<'g>,
    placed: Vec<Placed<'g>>,
}

/// The inputs that take the values of a job other than its texts.
pub(super) fn find(network: &Network<'_>) -> Vec<NodeInput> {
    let mut search = ValueSearch {
        network,
        placed: Vec::new(),
    };
    let samplers: Vec<&str> = network.nodes_used_for(Use::Image);
    let samplers: Vec<&str> = samplers
        .into_iter()
        .filter(|id| network.is_sampler(id))
        .collect();
    search.add_seeds();
    search.add_steps();
    for id in &samplers {
        // A sampler that continues another sampler's image keeps its own size and model.
        let images = search.images_behind(id);
        if images.iter().any(|node| network.is_sampler(node)) {
            continue;
        }
        search.add_size(id, &images);
        search.add_model(id);
        search.add_parameters(id, search.starts_with_source(&images));
    }
    if samplers.is_empty() {
        search.add_values_of_other_nodes();
    }
    search.add_equal_sizes();
    search.into_inputs()
}

impl<'g> ValueSearch<'_, 'g> {
    /// Adds the seeds of all nodes that create or change the image, and of their noise.
    fn add_seeds(&mut self) {
        let uses = [Use::Image, Use::Noise];
        for id in uses.map(|it| self.network.nodes_used_for(it)).concat() {
            for (input, value) in self.inputs(id) {
                if is_seed(input) && (value.is_number() || value.is_array()) {
                    self.add("seed", id, input);
                }
            }
        }
    }

    /// Adds the steps of all samplers and of their schedules.
    fn add_steps(&mut self) {
        let uses = [Use::Image, Use::Sigmas];
        for id in uses.map(|it| self.network.nodes_used_for(it)).concat() {
            let is_schedule = self.network.is_used_for(id, Use::Sigmas);
            if is_schedule || self.network.is_sampler(id) {
                self.add_if_present("steps", id, &[STEPS]);
            }
        }
    }

    /// The nodes that a sampler's first image comes from, nearest first.
    fn images_behind(&self, sampler: &'g str) -> Vec<&'g str> {
        let follows = |link: &Link<'g>| {
            matches!(link_kind(link.input), LinkKind::Image | LinkKind::Unknown)
                && link.input != GUIDER
        };
        self.network
            .behind(sampler, follows, |id| self.network.is_sampler(id))
    }

    /// Whether a sampler starts with a loaded image, and not with an empty latent image: that has a size and a number
    /// of its own.
    fn starts_with_source(&self, images: &[&'g str]) -> bool {
        let is_empty =
            |id: &&str| self.size_inputs(id).is_some() && self.has_any(id, &["batch_size"]);
        let loads_file = |id: &&str| {
            let is_loader =
                class(self.network.graph, id).is_some_and(|it| it.contains("LoadImage"));
            let is_file = |value: &Value| value.as_str().is_some_and(is_image_file);
            is_loader || self.inputs(id).any(|(_, value)| is_file(value))
        };
        images.iter().any(loads_file) && !images.iter().any(is_empty)
    }

    /// Adds the size of the latent image that a sampler starts with: an empty one, or one from an image
    /// that may be scaled and repeated.
    fn add_size(&mut self, sampler: &'g str, images: &[&'g str]) {
        let nodes = || images.iter().copied().chain([sampler]);
        let has_count = |id: &str| {
            let repeats =
                || class(self.network.graph, id).is_some_and(|it| it.starts_with("Repeat"));
            self.has_any(id, &["batch_size"]) || self.has_any(id, COUNT_INPUTS) && repeats()
        };
        let empty = nodes().find(|id| self.size_inputs(id).is_some() && has_count(id));
        let sized = empty.or_else(|| nodes().find(|id| self.size_inputs(id).is_some()));
        let counted = empty.or_else(|| nodes().find(|id| has_count(id)));
        if let Some((id, [width, height])) = sized.and_then(|id| Some((id, self.size_inputs(id)?)))
        {
            self.add("width", id, width);
            self.add("height", id, height);
        }
        if let Some(id) = counted {
            self.add_if_present("n", id, COUNT_INPUTS);
        }
    }

    /// Adds the file of the nearest loader on the way of a sampler's model.
    fn add_model(&mut self, sampler: &'g str) {
        let follows = |link: &Link<'g>| {
            let kind = link_kind(link.input);
            kind == LinkKind::Model || kind == LinkKind::Unknown
        };
        let models = self
            .network
            .behind(sampler, follows, |id| self.network.is_sampler(id));
        let found = models.into_iter().find_map(|id| {
            let input = self.model_input(id)?;
            Some((id, input))
        });
        if let Some((id, input)) = found {
            self.add("model", id, input);
        }
    }

    /// The input of a loader that names its model: one of the usual names, or else the only one with a
    /// model file.
    fn model_input(&self, id: &str) -> Option<&'g str> {
        let named = self
            .inputs(id)
            .find(|(input, _)| MODEL_INPUTS.contains(input));
        if let Some((input, _)) = named {
            return Some(input);
        }
        let has_model_link = |link: Link<'_>| link_kind(link.input) == LinkKind::Model;
        let node = self.network.graph.get(id)?;
        if links(node).any(has_model_link) {
            return None;
        }
        let is_file = |value: &Value| value.as_str().is_some_and(is_model_file);
        let is_part = |input: &str| {
            ["lora", "vae", "clip", "control"]
                .iter()
                .any(|part| input.contains(part))
        };
        let mut files = self
            .inputs(id)
            .filter(|(input, value)| is_file(value) && !is_part(input));
        match (files.next(), files.next()) {
            (Some((input, _)), None) => Some(input),
            _ => None,
        }
    }

    /// Adds the sampler's own inputs that a job may set as parameters, and those of its guider, its
    /// method and its schedule.
    ///
    /// If the sampler starts with a source image, how much it changes the image is the strength of the edit.
    fn add_parameters(&mut self, sampler: &'g str, starts_with_source: bool) {
        let parts = [GUIDER, "sampler", "sigmas"]
            .into_iter()
            .filter_map(|input| link_origin(self.network.graph, sampler, input));
        let nodes: Vec<&str> = std::iter::once(sampler).chain(parts).collect();
        for parameter in SAMPLER_PARAMETERS {
            let holder = nodes.iter().find(|id| self.has_any(id, &[parameter]));
            if let Some(id) = holder.copied() {
                let is_strength = *parameter == DENOISE && starts_with_source;
                let name = if is_strength { STRENGTH } else { parameter };
                self.add_if_present(name, id, &[parameter]);
            }
        }
    }

    /// Adds size, number and model of nodes that create images without a sampler, such as those that
    /// call a remote API.
    fn add_values_of_other_nodes(&mut self) {
        for id in self.network.nodes_used_for(Use::Image) {
            if !self.inputs(id).any(|(input, _)| is_seed(input)) {
                continue;
            }
            if let Some([width, height]) = self.size_inputs(id) {
                self.add("width", id, width);
                self.add("height", id, height);
            }
            let counts = [COUNT_INPUTS, API_COUNT_INPUTS].concat();
            self.add_if_present("n", id, &counts);
            let is_model = |(input, value): &(&str, &Value)| *input == "model" && value.is_string();
            if let Some((input, _)) = self.inputs(id).find(is_model) {
                self.add("model", id, input);
            }
        }
    }

    /// Adds every other size that equals a detected one: a workflow repeats its size, such as for the
    /// model, the texts, and an image that guides the sampler.
    fn add_equal_sizes(&mut self) {
        let sizes: Vec<[f64; 2]> = self.sizes();
        if sizes.is_empty() {
            return;
        }
        for id in self.network.nodes() {
            for [width, height] in self.all_size_inputs(id) {
                let size = [self.number(id, width), self.number(id, height)];
                if let [Some(wide), Some(high)] = size
                    && sizes.contains(&[wide, high])
                {
                    self.add("width", id, width);
                    self.add("height", id, height);
                }
            }
        }
    }

    /// The workflow's own values of the detected sizes.
    fn sizes(&self) -> Vec<[f64; 2]> {
        let of = |name: &str| -> Vec<Option<f64>> {
            let placed = self.placed.iter().filter(|placed| placed.name == name);
            placed
                .map(|placed| self.number(placed.user.0, placed.user.1))
                .collect()
        };
        let sides = of("width").into_iter().zip(of("height"));
        sides
            .filter_map(|(width, height)| Some([width?, height?]))
            .collect()
    }

    /// The inputs of a node for width and height.
    fn size_inputs(&self, id: &str) -> Option<[&'g str; 2]> {
        self.all_size_inputs(id).into_iter().next()
    }

    /// All such pairs: an input may have a prefix, such as `target_width`.
    fn all_size_inputs(&self, id: &str) -> Vec<[&'g str; 2]> {
        let widths = self.inputs(id).filter(|(input, value)| {
            input.ends_with("width") && (value.is_number() || value.is_array())
        });
        let mut pairs: Vec<[&str; 2]> = widths
            .filter_map(|(width, _)| {
                let prefix = width.strip_suffix("width")?;
                let is_height =
                    |(input, _): &(&str, &Value)| input.strip_suffix("height") == Some(prefix);
                let (height, _) = self.inputs(id).find(is_height)?;
                Some([width, height])
            })
            .collect();
        pairs.sort_by_key(|[width, _]| width.len());
        pairs
    }

    fn inputs(&self, id: &str) -> impl Iterator<Item = (&'g str, &'g Value)> + use<'g> {
        self.network.graph.get(id).into_iter().flat_map(inputs)
    }

    fn has_any(&self, id: &str, names: &[&str]) -> bool {
        self.inputs(id).any(|(input, _)| names.contains(&input))
    }

    /// The workflow's own number in an input, which may be in a node before.
    fn number(&self, node: &'g str, input: &'g str) -> Option<f64> {
        let (node, input) = self.holder(node, input);
        input_value(self.network.graph, node, input)?.as_f64()
    }

    /// Adds those of the inputs that the node has.
    fn add_if_present(&mut self, name: &str, id: &'g str, names: &[&str]) {
        let present: BTreeSet<&str> = self
            .inputs(id)
            .map(|(input, _)| input)
            .filter(|input| names.contains(input))
            .collect();
        for input in present {
            self.add(name, id, input);
        }
    }

    fn add(&mut self, name: &str, node: &'g str, input: &'g str) {
        let user = (node, input);
        let is_known = |placed: &Placed<'_>| placed.name == name && placed.user == user;
        if !self.placed.iter().any(is_known) {
            let holder = self.holder(node, input);
            self.placed.push(Placed {
                name: name.to_owned(),
                user,
                holder,
            });
        }
    }

    /// The input that holds the value of an input: of a node that only holds a value, if there is one.
    fn holder(&self, node: &'g str, input: &'g str) -> (&'g str, &'g str) {
        let mut current = (node, input);
        for _ in 0..MAX_VALUE_NODES {
            let Some(origin) = link_origin(self.network.graph, current.0, current.1) else {
                return current;
            };
            let own: Vec<(&str, &Value)> = self.inputs(origin).collect();
            let named = own.iter().find(|(name, _)| VALUE_INPUTS.contains(name));
            current = match (own.as_slice(), named) {
                ([(only, _)], _) => (origin, *only),
                (_, Some((name, _))) => (origin, *name),
                _ => break,
            };
        }
        // The node computes its value: the job's value replaces the link.
        (node, input)
    }

    /// A node that holds one number for two values cannot take both: these replace their links.
    fn into_inputs(self) -> Vec<NodeInput> {
        let is_shared = |placed: &Placed<'_>| {
            self.placed
                .iter()
                .any(|other| other.holder == placed.holder && other.name != placed.name)
        };
        let mut taken = BTreeSet::new();
        let mut result = Vec::new();
        for placed in &self.placed {
            let (node, input) = if is_shared(placed) {
                placed.user
            } else {
                placed.holder
            };
            if taken.insert((node, input)) {
                result.push(NodeInput {
                    content: InputContent::JobValue(placed.name.clone()),
                    node: node.to_owned(),
                    input: input.to_owned(),
                });
            }
        }
        result
    }
}
