//! Properties of the engine `comfyui` for any workflow and mapping.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic reports a broken property"
)]

use pinhole_comfyui::workflow::{
    Graph, InputContent, JobValues, NodeInput, Workflow, image_outputs,
};
use pinhole_sdk::{Job, SettingValue, Settings, Size};
use serde_json::{Value, json};

/// Lines: the job's parameters as a JSON object, a mapping (may be empty), a workflow.
///
/// The engine refuses the workflow, or writes the job into it. Then the result has the same nodes and
/// is JSON, only inputs that the job fills have changed, and no value of the job has become a link or a
/// node. An edit may add one node, with links to it.
pub fn workflow(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [parameters, mapping, workflow] = lines[..] else {
        return;
    };
    let job = Job {
        prompt: "a red fox, \"quoted\" \\ and [\"1\", 0]".into(),
        negative_prompt: Some("blurry".into()),
        model: Some("../fox.safetensors".into()),
        size: Some(Size::new(96, 70)),
        count: 2,
        steps: Some(4),
        seed: Some(42),
        strength: None,
        parameters: parameters.to_owned(),
    };
    let Ok(mut values) = JobValues::from_job(&job, 7) else {
        return;
    };
    let settings = settings(mapping, workflow);
    if let Ok(generation) = Workflow::for_generation(&settings) {
        let graph = generation.graph().clone();
        // An empty setting selects the default workflow.
        let parsed = serde_json::from_str::<Graph>(workflow).ok();
        assert!(workflow.is_empty() || parsed.as_ref() == Some(&graph));
        check(&generation, &values, &graph, 0);
    }
    values.sources = vec!["first.png".into(), "second.png".into()];
    for masked in [None, Some(Size::new(65, 64))] {
        let Ok(mut edit) = Workflow::for_edit(&settings, true, masked) else {
            return;
        };
        let graph = edit.graph().clone();
        let mut max_added = 0;
        if masked.is_some() && edit.add_mask_input().is_ok() {
            values.mask = Some("mask.png".into());
            max_added = 1;
        }
        check(&edit, &values, &graph, max_added);
    }
}

fn settings(mapping: &str, workflow: &str) -> Settings {
    let values = [
        ("workflow", workflow),
        ("nodes", mapping),
        ("edit-workflow", workflow),
        ("edit-nodes", mapping),
    ]
    .map(|(key, text)| SettingValue {
        key: key.to_owned(),
        value: json!(text).to_string(),
    });
    Settings::new(values.into())
}

/// Checks the result of writing a job into `graph`, to which at most `max_added` nodes may be added.
fn check(workflow: &Workflow, values: &JobValues, graph: &Graph, max_added: usize) {
    workflow.unused_values_note(values);
    workflow.model_input();
    let details = workflow.details(values, "id");
    assert!(serde_json::from_str::<Graph>(&details).is_ok(), "{details}");
    assert!(
        image_outputs(graph)
            .iter()
            .all(|id| graph.contains_key(*id))
    );
    if workflow.validate_parameters(values).is_err() {
        return;
    }
    let filled = workflow.fill(values);
    let text = serde_json::to_string(&filled).unwrap();
    assert!(serde_json::from_str::<Graph>(&text).is_ok(), "{text}");
    let added: Vec<&String> = filled
        .keys()
        .filter(|id| !graph.contains_key(*id))
        .collect();
    assert!(added.len() <= max_added, "added {added:?}");
    for (id, before) in graph {
        let after = filled.get(id).expect("no node is lost");
        let (Value::Object(before), Value::Object(after)) = (before, after) else {
            assert_eq!(before, after, "node {id}");
            continue;
        };
        for (field, value) in after.iter().filter(|(field, _)| *field != "inputs") {
            assert_eq!(before.get(field), Some(value), "{field} of node {id}");
        }
        assert_eq!(before.len(), after.len(), "fields of node {id}");
        let node_inputs: Vec<&NodeInput> = workflow
            .inputs()
            .iter()
            .filter(|input| input.node == *id)
            .collect();
        check_inputs(
            &node_inputs,
            before.get("inputs"),
            after.get("inputs"),
            &added,
        );
    }
}

/// Checks the inputs of a node: a changed value is a scalar for an input that the job fills, or a link to
/// an added node.
fn check_inputs(
    node_inputs: &[&NodeInput],
    before: Option<&Value>,
    after: Option<&Value>,
    added: &[&String],
) {
    let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) else {
        return assert_eq!(before, after, "inputs of {node_inputs:?}");
    };
    assert!(before.keys().all(|input| after.contains_key(input)));
    for (input, value) in after
        .iter()
        .filter(|(input, value)| before.get(*input) != Some(value))
    {
        let links_to = |id: &&String| value == &json!([id, 0]) || value == &json!([id, 1]);
        if added.iter().any(links_to) {
            continue;
        }
        let node_input = node_inputs
            .iter()
            .rfind(|candidate| candidate.input == *input)
            .unwrap_or_else(|| panic!("no job fills {input}, only {node_inputs:?}"));
        match &node_input.content {
            InputContent::Literal(literal) => assert_eq!(value, literal),
            content => assert!(
                !value.is_array() && !value.is_object(),
                "{content:?} became {value}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_workflow_is_not_refused() {
        // The properties must not hold only because every workflow is refused.
        let text = include_str!("../../../plugins/comfyui/src/default_workflow.json");
        let settings = settings("", text);
        assert!(Workflow::for_generation(&settings).is_ok());
    }
}
