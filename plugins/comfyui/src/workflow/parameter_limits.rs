//! Limits of a job's own parameters: they must not bypass what the host has validated.

use pinhole_sdk::Error;
use serde_json::Value;

use super::JobValues;
use super::graph::{Graph, all_links};
use super::node_input::NodeInput;

/// Inputs that determine the cost of a job, with the maximum that a parameter may request: sides in
/// pixels, images of a batch, steps.
const LIMITS: [(&str, f64); 5] = [
    ("width", 4096.0),
    ("height", 4096.0),
    ("batch_size", 10.0),
    ("amount", 10.0),
    ("steps", 1000.0),
];

/// Fails if the parameter `name` selects a file of the server, or exceeds the limit of the input that
/// takes it.
pub(super) fn validate(
    graph: &Graph,
    node_input: &NodeInput,
    name: &str,
    values: &JobValues,
) -> Result<(), Error> {
    if node_input.input == "image" {
        let message =
            format!("parameter {name} selects files of the server, which no job may do: remove it");
        return Err(Error::invalid(name, message));
    }
    let Some((limited_input, limit)) = find_limit(graph, node_input) else {
        return Ok(());
    };
    let number = values.get(name).and_then(Value::as_f64);
    if number.is_some_and(|number| (0.0..=limit).contains(&number)) {
        return Ok(());
    }
    let message = format!(
        "parameter {name} is written to {limited_input} and must be a number from 0 to {limit}"
    );
    Err(Error::invalid(name, message))
}

/// The limit of the input, or of an input that takes its value from the node.
fn find_limit<'g>(graph: &'g Graph, node_input: &'g NodeInput) -> Option<(&'g str, f64)> {
    let dependent = all_links(graph)
        .filter(|link| link.origin == node_input.node)
        .map(|link| link.input);
    std::iter::once(node_input.input.as_str())
        .chain(dependent)
        .find_map(|input| {
            let (_, limit) = LIMITS.iter().find(|(limited, _)| *limited == input)?;
            Some((input, *limit))
        })
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{ErrorKind, Job};
    use serde_json::json;

    use super::*;
    use crate::workflow::Workflow;
    use crate::workflow::fixture::{full_job, settings};

    fn fill_parameters(parameters: &str, nodes: &Value) -> Result<Graph, Error> {
        let job = Job {
            parameters: parameters.into(),
            ..full_job()
        };
        let workflow = Workflow::for_generation(&settings(&[("nodes", nodes)]))?;
        let values = JobValues::from_job(&job, 7)?;
        workflow.validate_parameters(&values)?;
        Ok(workflow.fill(&values))
    }

    #[test]
    fn parameters_fill_mapped_or_sampler_inputs() {
        let sampler =
            fill_parameters(r#"{"cfg": 3.5, "scheduler": "karras"}"#, &json!([])).unwrap();
        assert_eq!(sampler["3"]["inputs"]["cfg"], 3.5);
        assert_eq!(sampler["3"]["inputs"]["scheduler"], "karras");
        let mapping = json!([{"type": "folder", "node_ids": ["9"], "key": "filename_prefix"}]);
        let mapped = fill_parameters(r#"{"folder": "x"}"#, &mapping).unwrap();
        assert_eq!(mapped["9"]["inputs"]["filename_prefix"], "x");
        for (parameters, field) in [
            (r#"{"folder": "x"}"#, "folder"),
            (r#"{"cfg": ["4", 0]}"#, "cfg"),
            (r#"{"cfg": null}"#, "cfg"),
            (r#"{"image": "of-another.png"}"#, "image"),
            (r#"{"steps": 4}"#, "steps"),
            (r#"{"batch_size": 4}"#, "batch_size"),
            ("7", "parameters"),
        ] {
            let error = fill_parameters(parameters, &json!([])).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::Invalid, Some(field))
            );
        }
    }

    #[test]
    fn mapped_parameters_obey_limits_of_their_inputs() {
        let is_refused = |parameters: &str, node: &str, key: &str| {
            let workflow = json!({
                "1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}},
                "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": ["1", 0]}},
                "3": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
                "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
            });
            let nodes = json!([
                {"type": "own", "node_ids": [node], "key": key},
                {"type": "prompt", "node_ids": ["9"], "key": "filename_prefix"},
            ]);
            let settings = settings(&[("workflow", &workflow), ("nodes", &nodes)]);
            let job = Job {
                parameters: parameters.into(),
                ..full_job()
            };
            let values = JobValues::from_job(&job, 7).unwrap();
            let mapped = Workflow::for_generation(&settings).unwrap();
            mapped.validate_parameters(&values).is_err()
        };
        assert!(!is_refused(r#"{"own": 4096}"#, "2", "width"));
        assert!(is_refused(r#"{"own": 4097}"#, "2", "width"));
        assert!(is_refused(r#"{"own": "4097"}"#, "2", "width"));
        assert!(is_refused(r#"{"own": -1}"#, "2", "height"));
        assert!(!is_refused(r#"{"own": 10}"#, "1", "value"));
        assert!(is_refused(r#"{"own": 11}"#, "1", "value"));
        assert!(is_refused(r#"{"own": "y.png"}"#, "3", "image"));
    }
}
