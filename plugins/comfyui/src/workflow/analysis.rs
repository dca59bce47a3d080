//! Finds the inputs that take a job's values, by what the links of the graph lead to.
//!
//! Operators rarely say which nodes take the prompt, the seed or the size, and there are thousands of
//! classes of nodes. A closed list of classes and names fails silently: the image of an input that is not
//! recognized shows the words of the workflow's author. So the analysis follows the links backward from
//! the nodes that save images. The links of a sampler name what they lead to: the positive and the
//! negative side, the model, the latent image. Each text on the positive side takes the prompt.
//!
//! The names of inputs and links decide; where they do not, the schemas of the server do. If the place of
//! the prompt is still not certain, the workflow is refused with the candidates. A graph that a custom
//! node extends while it runs is not covered.

mod names;
mod network;
mod text;
mod values;

use std::collections::BTreeSet;

use super::graph::{Graph, class};
use super::node_input::{InputContent, NodeInput};
use super::schema::Schemas;
use network::{Network, Use};
use text::{Place, TextPlaces, TextSearch, describe};

pub(super) use names::is_image_file;
pub(super) use values::{COUNT_INPUTS, MODEL_INPUTS};

/// Maximum number of candidates in a message.
const MAX_CANDIDATES: usize = 8;

/// What the graph says about the inputs that take a job's values.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// The inputs that take values.
    pub(super) inputs: Vec<NodeInput>,
    /// The ids of the nodes that the images depend on.
    pub(super) nodes: BTreeSet<String>,
    /// Descriptions of the inputs of which one takes the prompt, if the prompt has no certain place.
    pub(super) candidates: Vec<String>,
    /// Classes whose schemas can tell the place of the prompt.
    pub(super) unknown_classes: BTreeSet<String>,
    /// Whether the graph has texts at all.
    pub(super) has_texts: bool,
    /// Sentences for the operator.
    pub(super) problems: Vec<String>,
}

impl Analysis {
    pub(super) fn new(graph: &Graph, schemas: &Schemas) -> Self {
        let network = Network::new(graph);
        let search = TextSearch {
            network: &network,
            schemas,
        };
        let mut positive = search.find(Use::Positive);
        let negative = search.find(Use::Negative);
        let mut analysis = Self {
            nodes: network.nodes().into_iter().map(str::to_owned).collect(),
            ..Self::default()
        };
        if !schemas.is_empty() && positive.places.is_empty() && positive.candidates.is_empty() {
            search.choose_unknown(&mut positive);
        }
        analysis.judge_prompt(graph, &positive);
        analysis.add_texts("prompt", &positive.places);
        let negative_places = negative
            .places
            .difference(&positive.places)
            .copied()
            .collect();
        analysis.add_texts("negative_prompt", &negative_places);
        analysis.problems.extend(positive.problems);
        analysis.inputs.extend(values::find(&network));
        analysis
    }

    /// Whether the prompt has a place of which no schema is needed.
    pub(super) fn has_prompt(&self) -> bool {
        self.candidates.is_empty() && self.inputs.iter().any(|input| input.takes("prompt"))
    }

    /// The inputs that take a value.
    pub(super) fn inputs_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a NodeInput> {
        self.inputs.iter().filter(move |input| input.takes(name))
    }

    fn judge_prompt(&mut self, graph: &Graph, positive: &TextPlaces<'_>) {
        let TextPlaces {
            places,
            candidates,
            unknown,
            ..
        } = positive;
        self.has_texts = !(places.is_empty() && candidates.is_empty() && unknown.is_empty());
        let listed: BTreeSet<Place<'_>> = if places.is_empty() {
            candidates.union(unknown).copied().collect()
        } else {
            candidates.clone()
        };
        if places.is_empty() && candidates.is_empty() {
            let classes = unknown.iter().filter_map(|place| class(graph, place.node));
            self.unknown_classes = classes.map(str::to_owned).collect();
        }
        self.candidates = listed
            .iter()
            .take(MAX_CANDIDATES)
            .map(|place| describe(graph, place.node, place.input))
            .collect();
    }

    fn add_texts(&mut self, name: &str, places: &BTreeSet<Place<'_>>) {
        self.inputs.extend(places.iter().map(|place| NodeInput {
            content: InputContent::JobValue(name.to_owned()),
            node: place.node.to_owned(),
            input: place.input.to_owned(),
        }));
    }
}

#[cfg(test)]
mod tests;
