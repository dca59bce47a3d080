//! Request parameters from a job.

use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value};

use crate::method::Method;

/// Fields of `predict` that a job may set: all except the prompt.
const PREDICT_FIELDS: [&str; 1] = ["parameters"];
/// Fields of the other methods that a job may set: none that holds a prompt or calls a tool.
const CONTENT_FIELDS: [&str; 2] = ["generationConfig", "safetySettings"];
/// Fields that must be objects, because they hold reserved fields. Normalized, see
/// [`normalize_name`].
const OBJECTS: [&str; 3] = ["generationconfig", "imageconfig", "parameters"];
/// Fields that the job itself sets, or that write to another place. Normalized.
const RESERVED: [&str; 7] = [
    "aspectratio",
    "candidatecount",
    "imagesize",
    "samplecount",
    "sampleimagesize",
    "seed",
    "storageuri",
];

/// The job's parameters. Parameters that the method does not accept are `invalid`.
pub(super) fn job_parameters(job: &Job, method: Method) -> Result<Map<String, Value>, Error> {
    let allowed: &[&str] = match method {
        Method::Predict => &PREDICT_FIELDS,
        Method::GenerateContent | Method::StreamGenerateContent => &CONTENT_FIELDS,
    };
    let parameters = job.parse_parameters(&[])?;
    let mut names = parameters.keys();
    if let Some(name) = names.find(|name| !allowed.contains(&name.as_str())) {
        let (method, allowed) = (method.name(), allowed.join(" and "));
        let message =
            format!("the parameters must not contain {name}: {method} accepts only {allowed}");
        return Err(Error::invalid(name, message));
    }
    check_fields(&parameters)?;
    Ok(parameters)
}

/// Rejects reserved fields at any depth.
fn check_fields(fields: &Map<String, Value>) -> Result<(), Error> {
    for (name, value) in fields {
        let normalized = normalize_name(name);
        if RESERVED.contains(&normalized.as_str()) {
            let message = format!("the parameters must not contain {name}: the job itself sets it");
            return Err(Error::invalid(name, message));
        }
        match value {
            Value::Object(inner) => check_fields(inner)?,
            _ if OBJECTS.contains(&normalized.as_str()) => {
                let message = format!("parameter {name} must be an object");
                return Err(Error::invalid(name, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lower case without underscores. The API accepts camel case and snake case.
fn normalize_name(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::wire::plan::tests::job;

    fn parse(method: Method, parameters: &Value) -> Result<Map<String, Value>, Error> {
        let job = Job {
            parameters: parameters.to_string(),
            ..job("x")
        };
        job_parameters(&job, method)
    }

    #[test]
    fn job_parameters_accept_other_fields() {
        for (method, parameters) in [
            (
                Method::GenerateContent,
                json!({
                    "generationConfig": {"temperature": 1, "imageConfig": {"personGeneration": "x"}},
                    "safetySettings": [{"category": "c", "threshold": "OFF"}],
                }),
            ),
            (
                Method::Predict,
                json!({"parameters": {"language": "de", "includeRaiReason": null}}),
            ),
            (Method::StreamGenerateContent, json!({})),
        ] {
            let parsed = parse(method, &parameters).unwrap();
            assert_eq!(Value::Object(parsed), parameters);
        }
    }

    fn check_rejected(method: Method, parameters: &Value, field: &str) {
        let error = parse(method, parameters).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some(field), "{}", error.message);
        assert!(error.message.contains(field), "{}", error.message);
    }

    #[test]
    fn job_parameters_reject_reserved_fields() {
        let content = |config: Value| json!({"generationConfig": config});
        for (config, field) in [
            (json!({"candidateCount": 8}), "candidateCount"),
            (json!({"candidate_count": 8}), "candidate_count"),
            (json!({"seed": 1}), "seed"),
            (json!({"imageConfig": {"imageSize": "4K"}}), "imageSize"),
            (
                json!({"image_config": {"aspect_ratio": "8:1"}}),
                "aspect_ratio",
            ),
            (json!({"imageConfig": null}), "imageConfig"),
            (json!(null), "generationConfig"),
            (json!(7), "generationConfig"),
        ] {
            check_rejected(Method::GenerateContent, &content(config.clone()), field);
            check_rejected(Method::StreamGenerateContent, &content(config), field);
        }
        for (parameters, field) in [
            (json!({"sampleCount": 10}), "sampleCount"),
            (json!({"storageUri": "gs://a"}), "storageUri"),
            (json!(null), "parameters"),
        ] {
            check_rejected(Method::Predict, &json!({"parameters": parameters}), field);
        }
    }

    #[test]
    fn job_parameters_reject_prompts_and_tools() {
        for field in [
            "contents",
            "systemInstruction",
            "tools",
            "cachedContent",
            "parameters",
        ] {
            check_rejected(Method::GenerateContent, &json!({field: {}}), field);
        }
        for field in ["instances", "generationConfig"] {
            check_rejected(Method::Predict, &json!({field: {}}), field);
        }
        let error = parse(Method::Predict, &json!([])).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("parameters"));
    }
}
