//! Nodes that load an image which the job does not have.
//!
//! They name a file that only the workflow's author knows. If the server has it, it would become part of
//! another person's image without a word. So these nodes are left out, with those that need them, if the
//! rest of the workflow works without them. Otherwise the job is refused.

use std::collections::BTreeSet;

use pinhole_sdk::Error;
use serde_json::Value;

use super::graph::{class, image_outputs, input_value, links};
use super::loaders::{IMAGE, loads_mask};
use super::node_input::InputContent;
use super::{Workflow, mapping};

/// The images that a job has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobImages {
    /// Number of source images.
    pub(crate) sources: usize,
    pub(crate) has_mask: bool,
}

impl Workflow {
    /// Leaves out the nodes that load an image or a mask that the job does not have. `is_optional`
    /// returns whether a class of node works without an input. Returns warnings.
    ///
    /// Fails if the rest of the workflow needs them.
    pub(crate) fn leave_out_unfilled(
        &mut self,
        job: JobImages,
        mut is_optional: impl FnMut(&str, &str) -> Result<bool, Error>,
    ) -> Result<Vec<String>, Error> {
        let unfilled = self.unfilled_loaders(job);
        if unfilled.is_empty() {
            return Ok(Vec::new());
        }
        let outputs: BTreeSet<String> = image_outputs(&self.graph)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut removed: BTreeSet<String> = BTreeSet::new();
        let mut cut: Vec<(String, String)> = Vec::new();
        let mut pending: Vec<String> = unfilled.iter().cloned().collect();
        while let Some(id) = pending.pop() {
            if outputs.contains(&id) {
                return Err(self.missing_images(job, &unfilled));
            }
            if !removed.insert(id.clone()) {
                continue;
            }
            for (user, input) in self.users_of(&id) {
                if outputs.contains(&user) {
                    return Err(self.missing_images(job, &unfilled));
                }
                let class = class(&self.graph, &user).unwrap_or_default();
                if is_optional(class, &input)? {
                    cut.push((user, input));
                } else {
                    pending.push(user);
                }
            }
        }
        for (node, input) in cut {
            let inputs = self
                .graph
                .get_mut(&node)
                .and_then(|it| it.get_mut("inputs"));
            if let Some(inputs) = inputs.and_then(Value::as_object_mut) {
                inputs.remove(&input);
            }
        }
        self.graph.retain(|id, _| !removed.contains(id));
        self.inputs.retain(|input| !removed.contains(&input.node));
        let ids: Vec<&str> = unfilled.iter().map(String::as_str).collect();
        Ok(vec![format!(
            "left out what loads further images, because the job has none for it: node {}",
            ids.join(", ")
        )])
    }

    /// A warning about the images of its own that the workflow loads. An entry of the mapping that writes
    /// the file shows that the operator knows it.
    pub(crate) fn own_images_note(&self) -> Option<String> {
        let own: Vec<String> = self
            .loaders()
            .into_iter()
            .filter(|id| !self.inputs.iter().any(|input| input.node == **id))
            .filter(|id| !mapping::writes(&self.entries, id))
            .map(|id| {
                let file = input_value(&self.graph, id, IMAGE).and_then(Value::as_str);
                format!("{} (node {id})", file.unwrap_or_default())
            })
            .collect();
        (!own.is_empty())
            .then(|| format!("the workflow uses images of its own: {}", own.join(", ")))
    }

    /// The loaders that the job has no image for.
    fn unfilled_loaders(&self, job: JobImages) -> BTreeSet<String> {
        let lacks_source = |content: &InputContent| match content {
            InputContent::Source(index) => *index >= job.sources,
            InputContent::Mask => !job.has_mask,
            _ => false,
        };
        let inputs = self.inputs.iter();
        let unfilled = inputs
            .filter(|input| lacks_source(&input.content))
            .map(|input| input.node.clone());
        let is_mapped = |id: &str| {
            mapping::writes(&self.entries, id) || self.inputs.iter().any(|input| input.node == id)
        };
        let masks = self
            .loaders()
            .into_iter()
            .filter(|id| !job.has_mask && loads_mask(&self.graph, id) && !is_mapped(id))
            .map(str::to_owned);
        unfilled.chain(masks).collect()
    }

    /// The inputs that take a value from a node.
    fn users_of(&self, id: &str) -> Vec<(String, String)> {
        let nodes = self.graph.iter().filter(|(user, _)| {
            // What the result does not depend on does not run.
            self.analysis.nodes.contains(*user)
        });
        nodes
            .flat_map(|(user, node)| {
                links(node)
                    .filter(|link| link.origin == id)
                    .map(|link| (user.clone(), link.input.to_owned()))
            })
            .collect()
    }

    fn missing_images(&self, job: JobImages, unfilled: &BTreeSet<String>) -> Error {
        let (loaded, given) = (self.source_count(), job.sources);
        let ids: Vec<&str> = unfilled.iter().map(String::as_str).collect();
        let (field, what) = if loaded > given {
            (
                "image",
                format!("the workflow loads {loaded} images, but the job has {given}"),
            )
        } else {
            (
                "mask",
                "the workflow loads a mask, but the job has no mask".to_owned(),
            )
        };
        let message = format!(
            "{what}, and the workflow in {} needs node {}: send the missing image, or leave the node out \
             of the workflow",
            self.keys.workflow,
            ids.join(", ")
        );
        Error::invalid(field, message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workflow::JobValues;
    use crate::workflow::fixture::{minimal_job, settings, two_loaders};

    /// The ids of the nodes that remain for one source, and the inputs of node 3.
    fn leave_out(graph: &Value, optional: &[&str]) -> Result<(Vec<String>, Vec<String>), Error> {
        let settings = settings(&[("edit-workflow", graph)]);
        let mut workflow = Workflow::for_edit(&settings, false, None)?;
        let mut values = JobValues::from_job(&minimal_job(), 7)?;
        values.sources = vec!["x.png".into()];
        let images = JobImages {
            sources: 1,
            has_mask: false,
        };
        let is_optional = |_: &str, input: &str| Ok(optional.contains(&input));
        let warnings = workflow.leave_out_unfilled(images, is_optional)?;
        assert_eq!(warnings.len(), 1);
        let filled = workflow.fill(&values);
        let ids = filled.keys().cloned().collect();
        let inputs = filled["3"]["inputs"].as_object().unwrap();
        Ok((ids, inputs.keys().cloned().collect()))
    }

    #[test]
    fn unfilled_loader_is_left_out_if_its_input_is_optional() {
        let (ids, inputs) = leave_out(&two_loaders(), &["image2"]).unwrap();
        assert_eq!(ids, ["1", "3", "4"]);
        assert_eq!(inputs, ["image1"]);
    }

    #[test]
    fn nodes_that_need_unfilled_loader_are_left_out_with_it() {
        let mut graph = two_loaders();
        graph["5"] = json!({"class_type": "ImageScale", "inputs": {"image": ["2", 0], "width": 8}});
        graph["3"]["inputs"]["image2"] = json!(["5", 0]);
        let (ids, inputs) = leave_out(&graph, &["image2"]).unwrap();
        assert_eq!(ids, ["1", "3", "4"]);
        assert_eq!(inputs, ["image1"]);
    }

    #[test]
    fn job_is_refused_if_workflow_needs_unfilled_loader() {
        let error = leave_out(&two_loaders(), &[]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("image"));
        for piece in ["loads 2 images, but the job has 1", "node 2"] {
            assert!(error.message.contains(piece), "{}", error.message);
        }
    }
}
