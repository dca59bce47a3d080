//! The nodes that the result of a workflow depends on, and what each is used for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::names::{LinkKind, is_seed, link_kind};
use crate::workflow::graph::{Graph, Link, image_outputs, inputs, links, sort_ids};

/// The input of a sampler whose node has the texts and the model.
pub(super) const GUIDER: &str = "guider";

/// What a node is used for. A node can have several uses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Use {
    /// Creates or changes the image.
    Image,
    /// Describes what the image shows.
    Positive,
    /// Describes what the image must not show.
    Negative,
    Noise,
    Sigmas,
    Model,
    /// Composes a text.
    Text,
    /// Anything else, such as the file of a VAE.
    Other,
}

/// The nodes that the images of a workflow depend on. Others do not run, or change nothing.
#[derive(Debug)]
pub(super) struct Network<'g> {
    pub(super) graph: &'g Graph,
    /// The nodes that save or preview the result.
    pub(super) outputs: BTreeSet<&'g str>,
    /// By node id.
    uses: BTreeMap<&'g str, BTreeSet<Use>>,
}

impl<'g> Network<'g> {
    /// Follows the links backward from the nodes whose images form the result.
    pub(super) fn new(graph: &'g Graph) -> Self {
        let outputs = image_outputs(graph);
        let mut network = Self {
            graph,
            outputs,
            uses: BTreeMap::new(),
        };
        let mut queue: VecDeque<(&str, Use)> = VecDeque::new();
        queue.extend(network.roots().into_iter().map(|id| (id, Use::Image)));
        while let Some((id, node_use)) = queue.pop_front() {
            let Some((id, node)) = graph.get_key_value(id) else {
                continue;
            };
            if !network
                .uses
                .entry(id.as_str())
                .or_default()
                .insert(node_use)
            {
                continue;
            }
            for link in followed_links(node, node_use) {
                queue.push_back((link.origin, use_behind(link.input, node_use)));
            }
        }
        network
    }

    /// The nodes whose images form the result; if none is known, those from which no other node takes a
    /// value.
    fn roots(&self) -> BTreeSet<&'g str> {
        if !self.outputs.is_empty() {
            return self.outputs.clone();
        }
        let links = self.graph.values().flat_map(links);
        let origins: BTreeSet<&str> = links.map(|link| link.origin).collect();
        let ends = self.graph.keys().map(String::as_str);
        ends.filter(|id| !origins.contains(id)).collect()
    }

    /// The ids of the nodes with this use, in order.
    pub(super) fn nodes_used_for(&self, node_use: Use) -> Vec<&'g str> {
        let ids = self
            .uses
            .iter()
            .filter(|(_, uses)| uses.contains(&node_use))
            .map(|(id, _)| *id);
        sort_ids(ids)
    }

    /// The ids of all nodes that the images depend on, in order.
    pub(super) fn nodes(&self) -> Vec<&'g str> {
        sort_ids(self.uses.keys().copied())
    }

    pub(super) fn is_used_for(&self, id: &str, node_use: Use) -> bool {
        self.uses
            .get(id)
            .is_some_and(|uses| uses.contains(&node_use))
    }

    /// The nodes behind a node, nearest first, along the links that `follows` selects. The search does
    /// not go beyond nodes for which `ends` is true.
    pub(super) fn behind(
        &self,
        start: &'g str,
        follows: impl Fn(&Link<'g>) -> bool,
        ends: impl Fn(&str) -> bool,
    ) -> Vec<&'g str> {
        let mut visited = BTreeSet::from([start]);
        let mut queue = VecDeque::from([start]);
        let mut found = Vec::new();
        while let Some(id) = queue.pop_front() {
            if id != start {
                found.push(id);
                if ends(id) {
                    continue;
                }
            }
            let followed = self.graph.get(id).into_iter().flat_map(links);
            for link in followed.filter(|link| follows(link)) {
                if self.graph.contains_key(link.origin) && visited.insert(link.origin) {
                    queue.push_back(link.origin);
                }
            }
        }
        found
    }

    /// Whether the node creates an image from noise, under the guidance of a text.
    pub(super) fn is_sampler(&self, id: &str) -> bool {
        let Some(node) = self.graph.get(id) else {
            return false;
        };
        let has = |kind: LinkKind| links(node).any(|link| link_kind(link.input) == kind);
        let is_guided = has(LinkKind::Positive) || has(LinkKind::Conditioning);
        let denoises = has(LinkKind::Model)
            || has(LinkKind::Noise)
            || has(LinkKind::Sigmas)
            || inputs(node).any(|(name, _)| is_seed(name));
        let has_guider = links(node).any(|link| link.input == GUIDER);
        self.is_used_for(id, Use::Image)
            && has(LinkKind::Image)
            && (has_guider || is_guided && denoises)
    }
}

/// The links of a node that its use depends on. A ControlNet, for example, passes on both texts, of which
/// the positive side uses only one.
fn followed_links(node: &Value, node_use: Use) -> impl Iterator<Item = Link<'_>> {
    let is_other_side = move |link: &Link<'_>| {
        matches!(
            (node_use, link_kind(link.input)),
            (Use::Positive, LinkKind::Negative) | (Use::Negative, LinkKind::Positive)
        )
    };
    let has_own_side = links(node).any(|link| {
        matches!(
            link_kind(link.input),
            LinkKind::Positive | LinkKind::Negative
        )
    });
    links(node).filter(move |link| !(has_own_side && is_other_side(link)))
}

/// What the node behind a link is used for, if the node before it has this use.
fn use_behind(input: &str, node_use: Use) -> Use {
    match (link_kind(input), node_use) {
        (LinkKind::Positive, Use::Image | Use::Positive) => Use::Positive,
        (LinkKind::Negative, Use::Image | Use::Negative) => Use::Negative,
        (LinkKind::Conditioning, Use::Image) => Use::Positive,
        (LinkKind::Conditioning | LinkKind::Unknown, _) => node_use,
        (LinkKind::Text, _) => Use::Text,
        (LinkKind::Image, Use::Image) => Use::Image,
        (LinkKind::Model, Use::Image | Use::Model) => Use::Model,
        (LinkKind::Noise, _) => Use::Noise,
        (LinkKind::Sigmas, _) => Use::Sigmas,
        _ => Use::Other,
    }
}
