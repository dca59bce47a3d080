//! Where a text of the job goes: the inputs that hold the text of one side, positive or negative.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::{
    LinkKind, is_negative, is_other_text, is_positive, is_prompt, is_text, link_kind,
};
use super::network::{Network, Use};
use crate::workflow::graph::{class, inputs, link_origin, links, title};
use crate::workflow::schema::{InputType, Schemas};

/// Maximum number of nodes that compose a text.
const MAX_TEXT_NODES: usize = 64;
/// Names of the input of a node that only holds a text for other nodes.
const VALUES: &[&str] = &["value", "val", "content", "any", "anything", "input"];

/// An input of a node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place<'g> {
    pub(super) node: &'g str,
    pub(super) input: &'g str,
}

/// The places of the text of one side.
#[derive(Debug, Default)]
pub(super) struct TextPlaces<'g> {
    /// These take the text.
    pub(super) places: BTreeSet<Place<'g>>,
    /// Places of which one takes the text, but which one is not certain.
    pub(super) candidates: BTreeSet<Place<'g>>,
    /// Texts of unknown meaning: only the schemas of their nodes can tell.
    pub(super) unknown: BTreeSet<Place<'g>>,
    /// What a person should know about the places.
    pub(super) problems: Vec<String>,
}

pub(super) struct TextSearch<'n, 'g> {
    pub(super) network: &'n Network<'g>,
    pub(super) schemas: &'n Schemas,
}

/// The meaning of an input with a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    /// A text for a prompt.
    Prompt,
    /// An option, a file, or another text.
    Other,
    Unknown,
}

/// The texts that a link leads to.
#[derive(Debug, Default)]
struct Leaves<'g> {
    /// With whether the node holds only this text.
    texts: Vec<(Place<'g>, bool)>,
    unknown: Vec<Place<'g>>,
    /// The text depends on something else, such as an image that a model describes.
    is_computed: bool,
}

impl<'g> TextSearch<'_, 'g> {
    /// The places of the text on one side.
    pub(super) fn find(&self, side: Use) -> TextPlaces<'g> {
        let mut found = TextPlaces::default();
        for id in self.network.nodes_used_for(side) {
            self.add_node(id, side, &mut found);
        }
        // Nodes that encode, sample and decode have their texts themselves, and encoders may have both.
        for id in [Use::Image, Use::Positive]
            .map(|it| self.network.nodes_used_for(it))
            .concat()
        {
            self.add_own_texts(id, side, &mut found);
        }
        if side == Use::Positive {
            self.add_prompts(&mut found);
            if found.places.is_empty() && found.candidates.is_empty() {
                self.add_only_text(&mut found);
            }
        }
        found
    }

    /// Adds the texts of a node that leads to the side.
    fn add_node(&self, id: &'g str, side: Use, found: &mut TextPlaces<'g>) {
        // The negative side of some graphs is the positive text without effect.
        let is_shared = side == Use::Negative && self.network.is_used_for(id, Use::Positive);
        let has_known = self.inputs(id).any(|(input, value)| {
            self.meaning(id, input, value) == Meaning::Prompt && !is_other_side(input, side)
        });
        for (input, value) in self.inputs(id) {
            if is_other_side(input, side) || is_shared && !is_negative(input) {
                continue;
            }
            let place = Place { node: id, input };
            match self.meaning(id, input, value) {
                Meaning::Prompt => self.add_place(place, side, found),
                Meaning::Unknown if !has_known && self.is_only_value(id) => {
                    found.places.insert(place);
                }
                Meaning::Unknown if !has_known => {
                    found.unknown.insert(place);
                }
                _ => {}
            }
        }
    }

    /// Adds the texts of a node that creates images, if their names tell the side. Those of a node that
    /// saves images are only notes.
    fn add_own_texts(&self, id: &'g str, side: Use, found: &mut TextPlaces<'g>) {
        if self.network.outputs.contains(id) {
            return;
        }
        let is_side: fn(&str) -> bool = if side == Use::Negative {
            is_negative
        } else {
            is_positive
        };
        for (input, value) in self.inputs(id) {
            let is_literal = value.is_string();
            if is_literal && is_side(input) && self.meaning(id, input, value) == Meaning::Prompt {
                found.places.insert(Place { node: id, input });
            }
        }
    }

    /// Adds the prompts of nodes that create images from a text by themselves, such as those that call a
    /// remote API. Reports those of nodes that may be something else.
    fn add_prompts(&self, found: &mut TextPlaces<'g>) {
        let has_encoder = !found.places.is_empty() || !found.candidates.is_empty();
        for id in self.network.nodes_used_for(Use::Image) {
            if self.network.is_sampler(id) || self.network.outputs.contains(id) {
                continue;
            }
            for (input, value) in self.inputs(id) {
                if !is_prompt(input) || self.meaning(id, input, value) != Meaning::Prompt {
                    continue;
                }
                if has_encoder && !self.creates_images(id) {
                    found.problems.push(format!(
                        "{} keeps its own text: map it with type prompt if it must take the prompt",
                        self.describe(Place { node: id, input })
                    ));
                    continue;
                }
                self.add_place(Place { node: id, input }, Use::Positive, found);
            }
        }
    }

    /// Adds the only text of the nodes that the image depends on; if there are several, as candidates.
    fn add_only_text(&self, found: &mut TextPlaces<'g>) {
        let mut texts = Vec::new();
        for id in self.network.nodes_used_for(Use::Image) {
            for (input, value) in self.inputs(id) {
                if self.meaning(id, input, value) == Meaning::Prompt && !is_negative(input) {
                    texts.push((Place { node: id, input }, false));
                }
            }
        }
        match self.choose(&texts) {
            Some(place) => self.add_place(place, Use::Positive, found),
            None => found
                .candidates
                .extend(texts.iter().map(|(place, _)| *place)),
        }
    }

    /// Adds an input that takes the text, or the place of the text that the input is linked to.
    fn add_place(&self, place: Place<'g>, side: Use, found: &mut TextPlaces<'g>) {
        let Some(origin) = link_origin(self.network.graph, place.node, place.input) else {
            found.places.insert(place);
            return;
        };
        let leaves = self.leaves(origin, side);
        let is_image_text = leaves.is_computed;
        let texts = if leaves.texts.is_empty() && leaves.unknown.len() == 1 {
            leaves.unknown.iter().map(|only| (*only, true)).collect()
        } else {
            leaves.texts
        };
        if is_image_text || texts.is_empty() && leaves.unknown.is_empty() {
            found.problems.push(format!(
                "the text that node {origin} computes is replaced: the job's text goes to {}",
                self.describe(place)
            ));
            found.places.insert(place);
        } else if let Some(chosen) = self.choose(&texts) {
            found.places.insert(chosen);
            for (other, _) in texts.iter().filter(|(other, _)| *other != chosen) {
                let described = self.describe(*other);
                let problem = format!("{described} adds its own text to that of the job");
                if !found.problems.contains(&problem) {
                    found.problems.push(problem);
                }
            }
        } else if texts.is_empty() {
            found.unknown.extend(leaves.unknown);
        } else {
            found.candidates.extend(texts.iter().map(|(text, _)| *text));
        }
    }

    /// The texts that a node composes its own from.
    fn leaves(&self, start: &'g str, side: Use) -> Leaves<'g> {
        let mut leaves = Leaves::default();
        let mut visited = BTreeSet::new();
        let mut pending = vec![start];
        while let Some(id) = pending.pop() {
            if visited.len() > MAX_TEXT_NODES || !visited.insert(id) {
                continue;
            }
            let own: Vec<_> = self.inputs(id).collect();
            let has_named_side = own.iter().any(|(input, _)| is_negative(input));
            let is_this_side = |input: &str| match side {
                Use::Negative if has_named_side => is_negative(input),
                _ => !is_negative(input),
            };
            let is_only = own
                .iter()
                .filter(|(_, value)| is_text_or_link(value))
                .count()
                == 1;
            for (input, value) in own {
                let place = Place { node: id, input };
                if let Some(origin) = link_origin(self.network.graph, id, input) {
                    match link_kind(input) {
                        LinkKind::Text | LinkKind::Unknown if is_this_side(input) => {
                            pending.push(origin);
                        }
                        LinkKind::Positive if side == Use::Positive => pending.push(origin),
                        LinkKind::Negative if side == Use::Negative => pending.push(origin),
                        LinkKind::Text
                        | LinkKind::Unknown
                        | LinkKind::Positive
                        | LinkKind::Negative => {}
                        _ => leaves.is_computed = true,
                    }
                    continue;
                }
                if !is_this_side(input) {
                    continue;
                }
                match self.meaning(id, input, value) {
                    Meaning::Prompt => leaves.texts.push((place, is_only)),
                    Meaning::Unknown if VALUES.contains(&input) => {
                        leaves.texts.push((place, is_only));
                    }
                    Meaning::Unknown => leaves.unknown.push(place),
                    Meaning::Other => {}
                }
            }
        }
        leaves
    }

    /// Moves the text that the schemas show to be the only one to the places.
    pub(super) fn choose_unknown(&self, found: &mut TextPlaces<'g>) {
        let is_line = |place: &&Place<'_>| {
            let class = class(self.network.graph, place.node).unwrap_or_default();
            self.schemas.input_type(class, place.input) == Some(InputType::Line)
        };
        let lines: Vec<_> = found.unknown.iter().filter(is_line).collect();
        let texts: Vec<_> = lines.iter().map(|place| (**place, false)).collect();
        if let Some(place) = self.choose(&texts) {
            found.places.insert(place);
        }
    }

    /// The one of several texts that is the prompt: the only one, or the only one that its title or name
    /// calls so, or the only one that has a node of its own.
    fn choose(&self, texts: &[(Place<'g>, bool)]) -> Option<Place<'g>> {
        let only = |selects: &dyn Fn(&(Place<'g>, bool)) -> bool| {
            let mut selected = texts.iter().filter(|text| selects(text));
            match (selected.next(), selected.next()) {
                (Some((place, _)), None) => Some(*place),
                _ => None,
            }
        };
        let has_title = |text: &(Place<'g>, bool)| {
            title(self.network.graph, text.0.node).is_some_and(is_prompt)
        };
        only(&|_| true)
            .or_else(|| only(&has_title))
            .or_else(|| only(&|text| is_prompt(text.0.input)))
            .or_else(|| only(&|text| text.1))
    }

    /// The inputs of a node that hold a text or a link.
    fn inputs(&self, id: &str) -> impl Iterator<Item = (&'g str, &'g Value)> + use<'g> {
        let node = self.network.graph.get(id);
        node.into_iter()
            .flat_map(inputs)
            .filter(|(_, value)| is_text_or_link(value))
    }

    fn meaning(&self, id: &str, input: &str, value: &Value) -> Meaning {
        let class = class(self.network.graph, id).unwrap_or_default();
        let by_type = match self.schemas.input_type(class, input) {
            Some(InputType::Text) => Some(Meaning::Prompt),
            Some(InputType::Line) => None,
            Some(InputType::Other) => return Meaning::Other,
            None => None,
        };
        if value.is_array() {
            return match link_kind(input) {
                LinkKind::Text => Meaning::Prompt,
                _ => by_type.unwrap_or(Meaning::Other),
            };
        }
        if is_other_text(input) || self.is_file(value) {
            Meaning::Other
        } else if is_text(input) {
            Meaning::Prompt
        } else {
            by_type.unwrap_or(Meaning::Unknown)
        }
    }

    fn is_file(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| {
            super::names::is_model_file(text) || super::names::is_image_file(text)
        })
    }

    /// Whether a node only holds one text for other nodes.
    fn is_only_value(&self, id: &str) -> bool {
        let node = self.network.graph.get(id);
        node.is_some_and(|node| inputs(node).count() == 1 && links(node).next().is_none())
    }

    /// Whether a node with a prompt draws an image rather than finding something in one.
    fn creates_images(&self, id: &str) -> bool {
        let class = class(self.network.graph, id).unwrap_or_default();
        let node = self.network.graph.get(id);
        self.schemas.calls_api(class)
            || node.is_some_and(|node| inputs(node).any(|(input, _)| super::names::is_seed(input)))
    }

    /// Such as `"Scene" (node 6, CLIPTextEncode, input text)`.
    pub(super) fn describe(&self, place: Place<'_>) -> String {
        describe(self.network.graph, place.node, place.input)
    }
}

/// Names an input for a person, such as `"Scene" (node 6, CLIPTextEncode, input text)`.
pub(super) fn describe(graph: &crate::workflow::Graph, node: &str, input: &str) -> String {
    let class = class(graph, node).unwrap_or("no class");
    match title(graph, node) {
        Some(title) if title != class => {
            format!("\"{title}\" (node {node}, {class}, input {input})")
        }
        _ => format!("{class} (node {node}, input {input})"),
    }
}

fn is_text_or_link(value: &Value) -> bool {
    value.is_string() || value.is_array()
}

fn is_other_side(input: &str, side: Use) -> bool {
    match side {
        Use::Negative => is_positive(input),
        _ => is_negative(input),
    }
}
