//! What a job's own parameters may set in a request.

use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value};

use crate::settings::Method;

/// For `predict`: all of its fields but the prompt.
const PREDICT: [&str; 1] = ["parameters"];
/// For the other methods: never the prompt, by whatever name, and nothing that acts.
const CONTENT: [&str; 2] = ["generationConfig", "safetySettings"];
/// Objects that hold what the job itself says beside other fields, so that nothing else may stand
/// in their place. In lower case, without underscores: the API takes both spellings.
const OBJECTS: [&str; 3] = ["generationconfig", "imageconfig", "parameters"];
/// What the job itself says, and what writes to another place. Spelled in the same way.
const RESERVED: [&str; 7] = [
    "aspectratio",
    "candidatecount",
    "imagesize",
    "samplecount",
    "sampleimagesize",
    "seed",
    "storageuri",
];

/// The parameters of a job, as far as they fit the method. Others are `invalid`.
pub(super) fn checked(job: &Job, method: Method) -> Result<Map<String, Value>, Error> {
    let allowed: &[&str] = match method {
        Method::Predict => &PREDICT,
        Method::GenerateContent | Method::StreamGenerateContent => &CONTENT,
    };
    let parameters = job.checked_parameters(&[])?;
    let mut names = parameters.keys();
    if let Some(name) = names.find(|name| !allowed.contains(&name.as_str())) {
        let (method, allowed) = (method.name(), allowed.join(" and "));
        let message = format!("the parameters may not hold {name}, for {method} only {allowed}");
        return Err(Error::invalid(name, message));
    }
    check(&parameters)?;
    Ok(parameters)
}

/// Looks for what is reserved in an object and all that it holds.
fn check(fields: &Map<String, Value>) -> Result<(), Error> {
    for (name, value) in fields {
        let plain = name.replace('_', "").to_lowercase();
        if RESERVED.contains(&plain.as_str()) {
            let message = format!("the parameters may not hold {name}: the job itself says it");
            return Err(Error::invalid(name, message));
        }
        match value {
            Value::Object(fields) => check(fields)?,
            _ if OBJECTS.contains(&plain.as_str()) => {
                let message = format!("{name} of the parameters must be an object");
                return Err(Error::invalid(name, message));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::wire::plan::tests::job;

    fn read(method: Method, parameters: &Value) -> Result<Map<String, Value>, Error> {
        let job = Job {
            parameters: parameters.to_string(),
            ..job("x")
        };
        checked(&job, method)
    }

    #[test]
    fn fields_beside_the_jobs_own_are_let_through() {
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
            let read = read(method, &parameters).unwrap();
            assert_eq!(Value::Object(read), parameters);
        }
    }

    fn check_invalid(method: Method, parameters: &Value, field: &str) {
        let error = read(method, parameters).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some(field), "{}", error.message);
        assert!(error.message.contains(field), "{}", error.message);
    }

    #[test]
    fn what_the_host_checked_cannot_be_said_again() {
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
            check_invalid(Method::GenerateContent, &content(config.clone()), field);
            check_invalid(Method::StreamGenerateContent, &content(config), field);
        }
        for (parameters, field) in [
            (json!({"sampleCount": 10}), "sampleCount"),
            (json!({"storageUri": "gs://a"}), "storageUri"),
            (json!(null), "parameters"),
        ] {
            check_invalid(Method::Predict, &json!({"parameters": parameters}), field);
        }
    }

    #[test]
    fn the_prompt_and_what_acts_are_out_of_reach() {
        for field in [
            "contents",
            "systemInstruction",
            "tools",
            "cachedContent",
            "parameters",
        ] {
            check_invalid(Method::GenerateContent, &json!({field: {}}), field);
        }
        for field in ["instances", "generationConfig"] {
            check_invalid(Method::Predict, &json!({field: {}}), field);
        }
        let error = read(Method::Predict, &json!([])).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("parameters"));
    }
}
