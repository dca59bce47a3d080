//! Progress of the nodes of a graph.

use std::collections::BTreeMap;

use crate::workflow::{Graph, class, is_sampler};

/// Weight of a sampler in the progress. Every other node has weight 1.
const SAMPLER_WEIGHT: f32 = 20.0;

/// The nodes of a graph by id, with the part of each that is done.
#[derive(Debug)]
pub(crate) struct NodeProgress(BTreeMap<String, Node>);

#[derive(Debug)]
struct Node {
    class: String,
    weight: f32,
    /// From 0 to 1.
    done: f32,
}

impl NodeProgress {
    pub(crate) fn new(graph: &Graph) -> Self {
        let nodes = graph.keys().map(|id| {
            let weight = if is_sampler(graph, id) {
                SAMPLER_WEIGHT
            } else {
                1.0
            };
            let node = Node {
                class: class(graph, id).unwrap_or_default().to_owned(),
                weight,
                done: 0.0,
            };
            (id.clone(), node)
        });
        Self(nodes.collect())
    }

    /// From 0 to 1; `None` for a graph without nodes.
    pub(crate) fn fraction(&self) -> Option<f32> {
        let (mut total, mut done) = (0.0, 0.0);
        for node in self.0.values() {
            total += node.weight;
            done += node.weight * node.done;
        }
        (total > 0.0).then(|| done / total)
    }

    /// Empty if the node has no class; `None` if there is no such node.
    pub(crate) fn class(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|node| node.class.as_str())
    }

    /// Raises the part of a node that is done. A node outside the graph has none: a node may expand into
    /// others while it runs.
    pub(crate) fn raise(&mut self, id: &str, done: f32) {
        if let Some(node) = self.0.get_mut(id) {
            node.done = node.done.max(done);
        }
    }
}
