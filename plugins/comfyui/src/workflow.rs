//! A workflow: the graph from its setting, and the inputs of its nodes that a job fills.

mod analysis;
mod default_edit;
#[cfg(test)]
mod fixture;
mod graph;
mod job_values;
mod loaders;
mod mapping;
mod node_input;
mod parameter_limits;
mod placements;
mod schema;
mod unfilled;

use std::collections::BTreeSet;

use pinhole_sdk::{Error, Image, Settings, Size};
use serde_json::{Map, Value, json};

use crate::settings::{EDIT, GENERATE, PREVIEW_METHOD, SERVER_PREVIEWS, WorkflowKeys};

use analysis::Analysis;
use graph::parse_graph;
pub use graph::{Graph, image_outputs};
pub(crate) use graph::{class, is_sampler, repeated_outputs, sort_ids};
pub use job_values::JobValues;
use mapping::MappingEntry;
pub use node_input::{InputContent, NodeInput};
pub(crate) use schema::Schemas;
pub(crate) use unfilled::JobImages;

const DEFAULT_WORKFLOW: &str = include_str!("default_workflow.json");

/// A graph, and the inputs of its nodes that a job fills.
#[derive(Debug)]
pub struct Workflow {
    graph: Graph,
    entries: Vec<MappingEntry>,
    analysis: Analysis,
    inputs: Vec<NodeInput>,
    /// The settings that it comes from.
    pub(crate) keys: &'static WorkflowKeys,
    /// `None` leaves previews to the server.
    pub(crate) preview_method: Option<String>,
    /// No setting has a graph: it is the default one.
    pub(crate) is_default: bool,
    /// It is the default edit workflow without scaling and mask.
    crops_source: bool,
}

impl Workflow {
    /// The workflow that generates images from a prompt.
    pub fn for_generation(settings: &Settings) -> Result<Self, Error> {
        let workflow = Self::for_models(settings)?;
        workflow.check_prompt(Stage::BeforeSchemas)?;
        Ok(workflow)
    }

    /// The same workflow, even if the prompt has no certain place: its models can be listed.
    pub fn for_models(settings: &Settings) -> Result<Self, Error> {
        let key = &GENERATE.workflow;
        let text = settings.text(key.name);
        let graph = parse_graph(text.as_deref().unwrap_or(DEFAULT_WORKFLOW), key)?;
        Self::new(graph, settings, GENERATE, text.is_none())
    }

    /// The workflow that edits images. The default workflow scales the source if `scaled`, and uses a
    /// mask if `masked` is the size of the image that the mask is for.
    pub fn for_edit(
        settings: &Settings,
        scaled: bool,
        masked: Option<Size>,
    ) -> Result<Self, Error> {
        let WorkflowKeys { workflow, nodes } = EDIT;
        let text = settings.text(workflow.name);
        let graph = match &text {
            Some(text) => parse_graph(text, workflow)?,
            None => default_edit::graph(scaled, masked),
        };
        let mut edit = Self::new(graph, settings, EDIT, text.is_none())?;
        if edit.is_default {
            edit.crops_source = !scaled && masked.is_none();
            edit.inputs.extend(default_edit::extra_input(&edit.graph));
        }
        edit.add_source_inputs();
        if edit.source_count() == 0 {
            let message = format!(
                "the workflow in {workflow} has no node that loads an image: add a LoadImage node, \
                 or map a node with type image in {nodes}"
            );
            return Err(Error::invalid(workflow.name, message));
        }
        edit.check_prompt(Stage::BeforeSchemas)?;
        Ok(edit)
    }

    fn new(
        graph: Graph,
        settings: &Settings,
        keys: &'static WorkflowKeys,
        is_default: bool,
    ) -> Result<Self, Error> {
        let entries = mapping::parse_mapping(settings, &keys.nodes)?;
        let analysis = Analysis::new(&graph, &Schemas::default());
        let inputs = mapping::job_inputs(&graph, &entries, &analysis, &keys.nodes)?;
        let preview_method = settings.text(PREVIEW_METHOD);
        Ok(Self {
            graph,
            entries,
            analysis,
            inputs,
            keys,
            preview_method: preview_method.filter(|method| method != SERVER_PREVIEWS),
            is_default,
            crops_source: false,
        })
    }

    /// The classes whose schemas are needed to find the place of the prompt.
    pub(crate) fn unknown_classes(&self) -> BTreeSet<String> {
        if self.has_prompt() {
            return BTreeSet::new();
        }
        self.analysis.unknown_classes.clone()
    }

    /// Finds the inputs again with the schemas of the server. Fails if the place of the prompt is still
    /// not certain.
    pub(crate) fn apply_schemas(&mut self, schemas: &Schemas) -> Result<(), Error> {
        if !self.unknown_classes().is_empty() {
            let sources: Vec<NodeInput> = self.inputs.iter().filter(is_source).cloned().collect();
            self.analysis = Analysis::new(&self.graph, schemas);
            let key = &self.keys.nodes;
            self.inputs = mapping::job_inputs(&self.graph, &self.entries, &self.analysis, key)?;
            self.inputs.retain(|input| !is_source(&input));
            self.inputs.extend(sources);
        }
        self.check_prompt(Stage::Final)
    }

    /// Whether the place of the prompt is certain.
    fn has_prompt(&self) -> bool {
        mapping::maps_prompt(&self.entries) || self.analysis.has_prompt()
    }

    /// Fails if the prompt has no certain place. Before the schemas are known, only if they cannot help.
    ///
    /// A workflow without any text, such as one that enlarges an image, may edit images.
    fn check_prompt(&self, stage: Stage) -> Result<(), Error> {
        let WorkflowKeys { workflow, nodes } = self.keys;
        let is_open = stage == Stage::BeforeSchemas && !self.unknown_classes().is_empty();
        let needs_no_text =
            self.keys.workflow.name == EDIT.workflow.name && !self.analysis.has_texts;
        if self.has_prompt() || is_open || needs_no_text {
            return Ok(());
        }
        let example = "such as {\"type\": \"prompt\", \"node_ids\": [\"6\"], \"key\": \"text\"}";
        let candidates = &self.analysis.candidates;
        let message = if candidates.is_empty() {
            format!(
                "no node of the workflow in {workflow} takes the prompt: map the input that takes it in \
                 {nodes}, {example}"
            )
        } else {
            format!(
                "it is not certain which input of the workflow in {workflow} takes the prompt: map one of \
                 these in {nodes}, {example}: {}",
                candidates.join("; ")
            )
        };
        Err(Error::invalid(workflow.name, message))
    }

    /// The graph before a job is written into it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The inputs that a job fills.
    pub fn inputs(&self) -> &[NodeInput] {
        &self.inputs
    }

    /// Number of source images that the workflow loads.
    pub(crate) fn source_count(&self) -> usize {
        let counts = self.inputs.iter().filter_map(|input| match input.content {
            InputContent::Source(index) => Some(index + 1),
            _ => None,
        });
        counts.max().unwrap_or(0)
    }

    /// A warning if the default workflow crops the source.
    pub(crate) fn crop_note(&self, sources: &[Image]) -> Option<String> {
        let size = sources.first()?.size();
        let cropped = size.round_down(job_values::BLOCK);
        let is_cropped = self.crops_source && cropped != size;
        is_cropped.then(|| {
            format!(
                "cropped the source from {size} to its center {cropped}: sides are multiples of 8"
            )
        })
    }

    /// Makes sure that an input takes the mask. Returns true if the mask must be an opaque image, white
    /// where it may change; otherwise it is transparent there.
    ///
    /// Fails if the workflow cannot use a mask.
    pub fn add_mask_input(&mut self) -> Result<bool, Error> {
        loaders::add_mask_input(&mut self.graph, &mut self.inputs, self.keys)
    }

    /// Fails if no input takes a parameter of the job, because the client relies on it, and if a
    /// parameter exceeds the limit of an input.
    pub fn validate_parameters(&self, values: &JobValues) -> Result<(), Error> {
        for name in values.parameter_names() {
            if !self.takes(name) {
                let message = format!(
                    "no node of the workflow takes parameter {name}: map it in {}",
                    self.keys.nodes
                );
                return Err(Error::invalid(name, message));
            }
            for input in self.inputs.iter().filter(|input| input.takes(name)) {
                parameter_limits::validate(&self.graph, input, name, values)?;
            }
        }
        Ok(())
    }

    /// Whether each image of a job needs a run of its own: no input takes their number, but one takes the
    /// seed, without which the server would return the same image.
    pub(crate) fn needs_runs(&self) -> bool {
        !self.takes("n") && self.takes("seed")
    }

    /// A warning about explicit values of the job that no input takes.
    pub fn unused_values_note(&self, values: &JobValues) -> Option<String> {
        let unused: Vec<&str> = values
            .explicit()
            .iter()
            .copied()
            .filter(|name| !self.takes(name))
            .filter(|name| *name != "n" || !self.needs_runs())
            .collect();
        (!unused.is_empty())
            .then(|| format!("no node of the workflow takes: {}", unused.join(", ")))
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.takes(name))
    }

    /// The class and input of the node that takes the model.
    pub fn model_input(&self) -> (String, String) {
        self.inputs
            .iter()
            .find(|input| input.takes("model"))
            .and_then(|input| {
                let class = class(&self.graph, &input.node)?;
                Some((class.to_owned(), input.input.clone()))
            })
            .unwrap_or_else(|| ("CheckpointLoaderSimple".into(), "ckpt_name".into()))
    }

    /// The graph with the values in its inputs. An input without a value stays as it is.
    pub fn fill(&self, values: &JobValues) -> Graph {
        let mut graph = self.graph.clone();
        for target in &self.inputs {
            let value = match &target.content {
                InputContent::Literal(value) => Some(value.clone()),
                InputContent::JobValue(name) => values.get(name).cloned(),
                InputContent::Source(index) => values.sources.get(*index).map(|name| json!(name)),
                InputContent::Mask => values.mask.as_ref().map(|name| json!(name)),
            };
            let node = graph.get_mut(&target.node);
            let inputs = node.and_then(|node| node.get_mut("inputs")?.as_object_mut());
            if let (Some(inputs), Some(value)) = (inputs, value) {
                inputs.insert(target.input.clone(), value);
            }
        }
        graph
    }

    /// A JSON object with the upstream's id, and the seed and model that were written.
    pub fn details(&self, values: &JobValues, prompt_id: &str) -> String {
        let mut details = Map::new();
        details.insert("prompt_id".to_owned(), json!(prompt_id));
        for name in ["seed", "model"] {
            if let (true, Some(value)) = (self.takes(name), values.get(name)) {
                details.insert(name.to_owned(), value.clone());
            }
        }
        Value::Object(details).to_string()
    }
}

/// Whether the schemas of the server are known.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    BeforeSchemas,
    Final,
}

fn is_source(input: &&NodeInput) -> bool {
    matches!(input.content, InputContent::Source(_))
}

#[cfg(test)]
mod tests {
    use super::fixture::{changed_inputs, edit_changes, full_job, minimal_job, settings};
    use super::*;

    #[track_caller]
    fn check(job: &pinhole_sdk::Job, expected: &[&str]) {
        let workflow = Workflow::for_generation(&settings(&[])).unwrap();
        let values = JobValues::from_job(job, 7).unwrap();
        assert_eq!(changed_inputs(&workflow, &values), expected);
    }

    #[test]
    fn default_workflow_takes_full_job() {
        check(
            &full_job(),
            &[
                "3.seed=42",
                "3.steps=4",
                r#"4.ckpt_name="fox.safetensors""#,
                "5.batch_size=2",
                "5.height=64",
                "5.width=96",
                r#"6.text="a red fox""#,
                r#"7.text="blurry""#,
            ],
        );
    }

    #[test]
    fn fill_keeps_inputs_without_value() {
        check(&minimal_job(), &["3.seed=7", r#"6.text="a red fox""#]);
    }

    #[test]
    fn default_edit_workflow_takes_full_job() {
        let none = Settings::default();
        assert_eq!(
            edit_changes(&none, &full_job(), &["a.png", "b.png"]),
            [
                r#"10.image="a.png""#,
                "11.height=64",
                "11.width=96",
                "3.steps=4",
                r#"4.ckpt_name="fox.safetensors""#,
                "5.amount=2",
                r#"7.text="blurry""#,
            ]
        );
        assert_eq!(
            edit_changes(&none, &minimal_job(), &["a.png"]),
            [r#"10.image="a.png""#]
        );
        let workflow = Workflow::for_edit(&none, false, None).unwrap();
        assert_eq!(workflow.source_count(), 1);
    }

    #[test]
    fn details_and_unused_values_match_written_inputs() {
        let mapping =
            json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "seed", "node_ids": ["3"]}]);
        let workflow = Workflow::for_generation(&settings(&[("nodes", &mapping)])).unwrap();
        let values = JobValues::from_job(&full_job(), 7).unwrap();
        assert_eq!(
            workflow.details(&values, "id"),
            r#"{"prompt_id":"id","seed":42}"#
        );
        assert_eq!(
            workflow.unused_values_note(&values).as_deref(),
            Some("no node of the workflow takes: negative_prompt, model, width, height, steps")
        );
    }

    #[test]
    fn model_input_follows_mapping() {
        let model_input = |nodes: &Value| {
            let workflow = Workflow::for_generation(&settings(&[("nodes", nodes)])).unwrap();
            workflow.model_input()
        };
        let default = ("CheckpointLoaderSimple".to_owned(), "ckpt_name".to_owned());
        assert_eq!(model_input(&json!([])), default);
        let without = json!([{"type": "prompt", "node_ids": ["6"]}]);
        assert_eq!(model_input(&without), default);
        let mapped = json!([{"type": "model", "node_ids": ["3"], "key": "sampler_name"}]);
        assert_eq!(
            model_input(&mapped),
            ("KSampler".into(), "sampler_name".into())
        );
    }
}
