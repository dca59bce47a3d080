//! What has to hold for any workflow and mapping. Called by a fuzz target, and with the files of its
//! corpus by an ordinary test.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken property is shown by a panic"
)]

use pinhole_sdk::{Job, SettingValue, Settings, Size};
use serde_json::{Value, json};

use super::{Graph, Plan, Values, image_outputs, keys};

/// In lines: a job's parameters as a JSON object, a mapping (empty for none), a workflow.
///
/// The workflow is refused, or a job is written into it: then all nodes are there and no other,
/// nothing has changed but inputs that a place names, nothing that the job brought has become a link
/// or a node, and the result is JSON. For an edit one node may be added, and links lead to it.
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
        parameters: parameters.to_owned(),
    };
    let Ok(mut values) = Values::of(&job, 7) else {
        return;
    };
    let settings = settings(mapping, workflow);
    if let Ok(plan) = Plan::generate(&settings) {
        let graph = plan.graph.clone();
        // Without one it is the default.
        let read = serde_json::from_str::<Graph>(workflow).ok();
        assert!(workflow.is_empty() || read.as_ref() == Some(&graph));
        check(&plan, &values, &graph, 0);
    }
    values.sources = vec!["first.png".into(), "second.png".into()];
    for masked in [None, Some(Size::new(65, 64))] {
        let Ok(mut plan) = Plan::edit(&settings, true, masked) else {
            return;
        };
        let graph = plan.graph.clone();
        let mut added = 0;
        if masked.is_some() && plan.place_mask().is_ok() {
            values.mask = Some("mask.png".into());
            added = 1;
        }
        check(&plan, &values, &graph, added);
    }
}

fn settings(mapping: &str, workflow: &str) -> Settings {
    let values = [keys::GENERATE, keys::EDIT].iter().flat_map(|keys| {
        [(&keys.workflow, workflow), (&keys.nodes, mapping)].map(|(key, text)| SettingValue {
            key: key.name.to_owned(),
            value: json!(text).to_string(),
        })
    });
    Settings::new(values.collect())
}

fn check(plan: &Plan, values: &Values, graph: &Graph, may_be_added: usize) {
    plan.left_out(values);
    plan.missing(values);
    plan.model_input();
    let details = plan.details(values, "id", &["a note".to_owned()]);
    assert!(serde_json::from_str::<Graph>(&details).is_ok(), "{details}");
    assert!(
        image_outputs(graph)
            .iter()
            .all(|id| graph.contains_key(*id))
    );
    if plan.check(values).is_err() {
        return;
    }
    let written = plan.written(values);
    let text = serde_json::to_string(&written).unwrap();
    assert!(serde_json::from_str::<Graph>(&text).is_ok(), "{text}");
    let added: Vec<&String> = written
        .keys()
        .filter(|id| !graph.contains_key(*id))
        .collect();
    assert!(added.len() <= may_be_added, "added {added:?}");
    for (id, node) in graph {
        let now = written.get(id).expect("no node is lost");
        let (Value::Object(node), Value::Object(now)) = (node, now) else {
            assert_eq!(node, now, "node {id}");
            continue;
        };
        for (field, value) in now.iter().filter(|(field, _)| *field != "inputs") {
            assert_eq!(node.get(field), Some(value), "{field} of node {id}");
        }
        assert_eq!(node.len(), now.len(), "fields of node {id}");
        check_inputs(plan, id, node.get("inputs"), now.get("inputs"), &added);
    }
}

/// What differs among the inputs of a node is plain and has a place there, or leads to the added
/// node.
fn check_inputs(
    plan: &Plan,
    id: &str,
    before: Option<&Value>,
    now: Option<&Value>,
    added: &[&String],
) {
    let (Some(Value::Object(before)), Some(Value::Object(now))) = (before, now) else {
        return assert_eq!(before, now, "inputs of node {id}");
    };
    assert!(before.keys().all(|input| now.contains_key(input)));
    for (input, value) in now
        .iter()
        .filter(|(input, value)| before.get(*input) != Some(value))
    {
        let leads = |id: &&String| value == &json!([id, 0]) || value == &json!([id, 1]);
        if added.iter().any(leads) {
            continue;
        }
        let mut places = plan.places.iter();
        let place = places.rfind(|place| place.node == id && place.input == *input);
        let place = place.unwrap_or_else(|| panic!("{input} of node {id} has no place"));
        match &place.what {
            super::What::Literal(literal) => assert_eq!(value, literal),
            what => assert!(
                !value.is_array() && !value.is_object(),
                "{what:?} wrote {value}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "a test reads the files beside it"
    )]
    fn every_file_of_the_corpus_keeps_its_properties() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/workflow");
        let mut files = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            workflow(&bytes);
            // What is cut anywhere is nearly a workflow.
            for end in (0..bytes.len()).step_by(7) {
                workflow(&bytes[..end]);
            }
            files += 1;
        }
        assert!(files >= 5, "{files} files in {corpus}");
    }

    #[test]
    fn a_workflow_is_written_into() {
        // So that the properties are not held by refusing everything.
        let settings = settings("", include_str!("../default_workflow.json"));
        assert!(Plan::generate(&settings).is_ok());
    }
}
