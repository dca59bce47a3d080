//! What the operator sees of a workflow: where the values of a job go, and what it does not take.

use pinhole_sdk::Placement;
use serde_json::Value;

use super::graph::{class, input_value, title};
use super::node_input::InputContent;
use super::{Workflow, job_values};

/// Values that a job can have, each with its name for people.
const VALUES: [(&str, &str); 5] = [
    ("negative_prompt", "negative prompt"),
    ("model", "model"),
    ("width", "size"),
    ("steps", "steps"),
    ("seed", "seed"),
];

impl Workflow {
    /// A row for each input that a job fills.
    pub(crate) fn placements(&self) -> Vec<Placement> {
        let setting = self.keys.workflow.name;
        self.inputs
            .iter()
            .map(|input| {
                let class = class(&self.graph, &input.node).unwrap_or_default();
                let value = input_value(&self.graph, &input.node, &input.input);
                Placement {
                    setting: setting.to_owned(),
                    role: match &input.content {
                        InputContent::JobValue(name) => name.clone(),
                        InputContent::Source(index) => format!("image {}", index + 1),
                        InputContent::Mask => "mask".to_owned(),
                        InputContent::Literal(literal) => format!("always {literal}"),
                    },
                    node: input.node.clone(),
                    title: title(&self.graph, &input.node).unwrap_or(class).to_owned(),
                    input: input.input.clone(),
                    value: describe_value(value),
                }
            })
            .collect()
    }

    /// What the workflow does not do with a job, one sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let workflow = &self.keys.workflow;
        let mut problems: Vec<String> = Vec::new();
        if !mapping_decides(self) {
            problems.extend(self.analysis.problems.iter().cloned());
        }
        if !self.takes("prompt") {
            problems.push("the workflow has no text: it does not use the prompt".to_owned());
        }
        let missing: Vec<&str> = VALUES
            .iter()
            .filter(|(name, _)| !self.takes(name))
            .map(|(_, title)| *title)
            .collect();
        if !missing.is_empty() {
            problems.push(format!(
                "no node takes: {}; map them in {} if a job must set them",
                missing.join(", "),
                self.keys.nodes
            ));
        }
        if !self.takes("n") && !self.takes("seed") {
            problems.push("a job gives one image, because no node takes n or seed".to_owned());
        }
        problems.extend(self.own_images_note());
        let in_setting = |problem: String| format!("{workflow}: {problem}");
        problems.into_iter().map(in_setting).collect()
    }
}

/// The problems of the analysis are about the inputs that it found, not about those of a mapping.
fn mapping_decides(workflow: &Workflow) -> bool {
    super::mapping::maps_prompt(&workflow.entries)
}

fn describe_value(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(link)) => match link.first().and_then(Value::as_str) {
            Some(origin) => format!("(from node {origin})"),
            None => "(list)".to_owned(),
        },
        Some(other) => other.to_string(),
    };
    pinhole_sdk::upstream_text::truncate(&text, job_values::MAX_SHOWN_BYTES)
}
