//! Jobs and settings for the tests of the workflow.

use pinhole_sdk::{Job, Settings, Size, testing};
use serde_json::{Value, json};

use super::{JobValues, Workflow};
use crate::settings;
use crate::workflow::graph::input_value;

/// The size of an image that a mask is for.
pub(super) const SQUARE: Option<Size> = Some(Size::new(64, 64));

/// A job with all fields.
pub(super) fn full_job() -> Job {
    Job {
        prompt: "a red fox".into(),
        negative_prompt: Some("blurry".into()),
        model: Some("fox.safetensors".into()),
        size: Some(Size::new(96, 70)),
        count: 2,
        steps: Some(4),
        seed: Some(42),
        strength: None,
        parameters: "{}".into(),
    }
}

/// A job with a prompt only.
pub(super) fn minimal_job() -> Job {
    Job {
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        ..full_job()
    }
}

/// Settings with these JSON documents.
pub(super) fn settings(documents: &[(&str, &Value)]) -> Settings {
    let changes: Vec<(&str, String)> = documents
        .iter()
        .map(|(key, document)| (*key, document.to_string()))
        .collect();
    testing::settings(settings::declare(), &changes)
}

/// The inputs that a job changed, as `node.input=value`, with those of added nodes.
pub(super) fn changed_inputs(workflow: &Workflow, values: &JobValues) -> Vec<String> {
    let mut changed = Vec::new();
    for (id, node) in &workflow.fill(values) {
        for (input, value) in node["inputs"].as_object().unwrap() {
            if input_value(&workflow.graph, id, input) != Some(value) {
                changed.push(format!("{id}.{input}={value}"));
            }
        }
    }
    changed
}

/// The inputs that an edit with these uploads changed, except for seed and prompt.
pub(super) fn edit_changes(settings: &Settings, job: &Job, sources: &[&str]) -> Vec<String> {
    let workflow = Workflow::for_edit(settings, job.size.is_some(), None).unwrap();
    let mut values = JobValues::from_job(job, 7).unwrap();
    values.sources = sources.iter().map(ToString::to_string).collect();
    let mut changed = changed_inputs(&workflow, &values);
    changed.retain(|line| !line.starts_with("3.seed") && !line.starts_with("6.text"));
    changed
}

/// A graph that loads two images.
pub(super) fn two_loaders() -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "b"}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    })
}
