//! The requests that a job needs.

use pinhole_sdk::parameters::merge_patch;
use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value};

use super::sizes::{self, ImageShape};
use super::{MAX_COUNT, RequestTarget, body, parameters};
use crate::method::Method;
use crate::settings::Options;

/// The API's seeds are signed 32-bit numbers.
const MAX_SEED: u64 = i32::MAX as u64;
/// The only field of the operator's parameters that applies to predict requests.
const PREDICT_FIELD: &str = "parameters";

#[derive(Debug)]
pub(crate) struct RequestPlan {
    pub(crate) path: String,
    /// One body per request, from 1 to [`MAX_COUNT`].
    pub(crate) bodies: Vec<Value>,
    /// JSON pointers in each body to the source images, in their order.
    pub(crate) source_pointers: Vec<String>,
    pub(crate) target: RequestTarget,
    /// Images that all requests together ask for.
    pub(super) requested_images: usize,
    pub(super) shape: ImageShape,
    /// One seed per request; empty if the job has no seed.
    pub(crate) seeds: Vec<u64>,
}

/// The requests that a job needs. The job's parameters are merged into each body, then the
/// operator's.
///
/// `source_types` are the media types of the source images; a generation has none.
pub(crate) fn plan(
    job: &Job,
    source_types: &[String],
    options: &Options,
) -> Result<RequestPlan, Error> {
    let is_edit = !source_types.is_empty();
    let model = model_name(job, is_edit)?;
    let method = match options.method {
        Method::Predict if is_edit => Method::GenerateContent,
        method => method,
    };
    let job_parameters = parameters::job_parameters(job, method)?;
    let operator_parameters = operator_parameters(&options.params, method);
    let shape = job
        .size
        .map(|size| sizes::nearest_shape(size, model, options))
        .unwrap_or_default();
    let counts = match method {
        Method::Predict => split_count(job.count, options.predict_count),
        Method::GenerateContent | Method::StreamGenerateContent => split_count(job.count, 1),
    };
    let seeds = request_seeds(job.seed, counts.len());
    let request_body = |(index, count): (usize, &u32)| {
        let seed = seeds.get(index).copied();
        let mut body = match method {
            Method::Predict => body::predict_body(job, &shape, *count, seed),
            Method::GenerateContent | Method::StreamGenerateContent => {
                body::content_body(job, source_types, &shape, seed)
            }
        };
        merge_patch(&mut body, Value::Object(job_parameters.clone()));
        merge_patch(&mut body, Value::Object(operator_parameters.clone()));
        body
    };
    Ok(RequestPlan {
        path: request_path(model, method),
        bodies: counts.iter().enumerate().map(request_body).collect(),
        source_pointers: body::source_pointers(source_types.len()),
        target: RequestTarget {
            model: model.into(),
            method,
            is_edit,
        },
        requested_images: job.count as usize,
        shape,
        seeds,
    })
}

/// The job's model without the prefixes `models/` and `google/`, which users may copy with it.
fn model_name(job: &Job, is_edit: bool) -> Result<&str, Error> {
    let mut model = job.model.as_deref().unwrap_or_default().trim();
    while let Some(rest) = ["models/", "google/", "/"]
        .iter()
        .find_map(|prefix| model.strip_prefix(prefix))
    {
        model = rest;
    }
    if model.is_empty() {
        let variable = if is_edit {
            "IMAGE_EDIT_MODEL"
        } else {
            "IMAGE_GENERATION_MODEL"
        };
        let message = format!(
            "gemini needs a model name: set {variable}, for example to gemini-3.1-flash-image"
        );
        return Err(Error::invalid("model", message));
    }
    Ok(model)
}

/// Percent-encodes the model, except for slashes: some gateways use them in model names.
fn request_path(model: &str, method: Method) -> String {
    let segments: Vec<String> = model.split('/').map(percent_encode).collect();
    let query = match method {
        Method::StreamGenerateContent => "?alt=sse",
        Method::GenerateContent | Method::Predict => "",
    };
    format!("/models/{}:{}{query}", segments.join("/"), method.name())
}

/// The operator's parameters that apply to a method.
fn operator_parameters(params: &Map<String, Value>, method: Method) -> Map<String, Value> {
    let is_predict = method == Method::Predict;
    params
        .iter()
        .filter(|(name, _)| (*name == PREDICT_FIELD) == is_predict)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Splits a job's count into the counts of its requests, each at most `max_per_request`.
fn split_count(total: u32, max_per_request: u32) -> Vec<u32> {
    let mut counts = Vec::new();
    let mut remaining = total.clamp(1, MAX_COUNT);
    while remaining > 0 {
        let count = remaining.min(max_per_request.max(1));
        counts.push(count);
        remaining -= count;
    }
    counts
}

/// Consecutive seeds, one per request; empty if the job has no seed.
fn request_seeds(seed: Option<u64>, requests: usize) -> Vec<u64> {
    let Some(first) = seed else {
        return Vec::new();
    };
    (0_u64..)
        .take(requests)
        .map(|index| first.wrapping_add(index) & MAX_SEED)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use pinhole_sdk::{ErrorKind, Size};
    use serde_json::json;

    use super::*;
    use crate::settings::settings_with;

    pub(in crate::wire) fn job(model: &str) -> Job {
        Job {
            prompt: "a red fox".into(),
            model: Some(model.into()),
            ..Job::default()
        }
    }

    fn sized(width: u32, height: u32, job: Job) -> Job {
        Job {
            size: Some(Size::new(width, height)),
            ..job
        }
    }

    fn plan_with(job: &Job, source_types: &[&str], changes: &[(&str, Value)]) -> RequestPlan {
        let source_types: Vec<String> = source_types.iter().map(ToString::to_string).collect();
        let options = Options::from_settings(&settings_with(changes)).unwrap();
        plan(job, &source_types, &options).unwrap()
    }

    pub(in crate::wire) fn plan_with_method(job: &Job, method: &str) -> RequestPlan {
        plan_with(job, &[], &[("endpoint-method", method.into())])
    }

    fn check_content(job: &Job, config: Value) {
        let plan = plan_with_method(job, "generateContent");
        let contents = json!([{"role": "user", "parts": [{"text": "a red fox"}]}]);
        let expected = json!({"contents": contents, "generationConfig": config});
        assert_eq!(plan.bodies, [expected]);
        assert!(plan.source_pointers.is_empty());
    }

    #[test]
    fn plan_sends_only_set_content_fields() {
        let both = json!(["TEXT", "IMAGE"]);
        check_content(
            &job("gemini-3-pro-image"),
            json!({"responseModalities": both}),
        );
        check_content(
            &sized(1280, 720, job("gemini-3.1-flash-image")),
            json!({
                "responseModalities": both,
                "imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"},
            }),
        );
        check_content(
            &sized(2048, 2048, job("gemini-2.5-flash-image")),
            json!({"responseModalities": both, "imageConfig": {"aspectRatio": "1:1"}}),
        );
        let parameters =
            json!({"generationConfig": {"responseModalities": ["IMAGE"], "temperature": 1}});
        check_content(
            &Job {
                seed: Some(7),
                parameters: parameters.to_string(),
                ..job("x")
            },
            json!({"responseModalities": ["IMAGE"], "seed": 7, "temperature": 1}),
        );
    }

    #[test]
    fn plan_adds_sources_after_prompt_with_media_types() {
        let plan = plan_with(&job("x"), &["image/png", "image/webp"], &[]);
        assert_eq!(plan.path, "/models/x:generateContent");
        let parts = json!([
            {"text": "a red fox"},
            {"inlineData": {"mimeType": "image/png", "data": null}},
            {"inlineData": {"mimeType": "image/webp", "data": null}},
        ]);
        assert_eq!(plan.bodies[0]["contents"][0]["parts"], parts);
        assert_eq!(plan.source_pointers.len(), 2);
        for pointer in &plan.source_pointers {
            let data = plan.bodies[0].pointer(pointer);
            assert_eq!(data, Some(&Value::Null), "{pointer}");
        }
    }

    #[test]
    fn plan_never_uses_predict_for_edits() {
        let path = |method: &str| {
            let method = ("endpoint-method", method.into());
            plan_with(&job("x"), &["image/png"], &[method]).path
        };
        assert_eq!(path("predict"), "/models/x:generateContent");
        assert_eq!(path("generateContent"), "/models/x:generateContent");
        let stream = "/models/x:streamGenerateContent?alt=sse";
        assert_eq!(path("streamGenerateContent"), stream);
    }

    #[test]
    fn plan_merges_operator_parameters_by_method() {
        let params_json = json!({
            "generationConfig": {"responseModalities": null, "candidateCount": 2},
            "safetySettings": [1],
            "parameters": {"sampleCount": 2, "includeRaiReason": null},
        });
        let params = ("params", params_json.to_string().into());
        let job_with_parameters = Job {
            parameters: json!({"safetySettings": [2]}).to_string(),
            ..job("x")
        };
        let content = plan_with(&job_with_parameters, &[], std::slice::from_ref(&params));
        let content_body = json!({
            "contents": [{"role": "user", "parts": [{"text": "a red fox"}]}],
            "generationConfig": {"candidateCount": 2},
            "safetySettings": [1],
        });
        assert_eq!(content.bodies, [content_body]);
        let method = ("endpoint-method", "predict".into());
        let predict = plan_with(&job("x"), &[], &[params, method]);
        let predict_body = json!({
            "instances": [{"prompt": "a red fox"}],
            "parameters": {"sampleCount": 2},
        });
        assert_eq!(predict.bodies, [predict_body]);
    }

    #[test]
    fn plan_sends_consecutive_seeds() {
        let three = Job {
            count: 3,
            seed: Some(MAX_SEED),
            ..job("x")
        };
        let plan = plan_with_method(&three, "generateContent");
        let seeds: Vec<&Value> = plan
            .bodies
            .iter()
            .map(|body| &body["generationConfig"]["seed"])
            .collect();
        assert_eq!(seeds, [&json!(MAX_SEED), &json!(0), &json!(1)]);
        let maximum = Job {
            count: u32::MAX,
            seed: Some(u64::MAX),
            ..job("x")
        };
        let bodies = plan_with_method(&maximum, "generateContent").bodies;
        assert_eq!(bodies.len(), MAX_COUNT as usize);
    }

    #[test]
    fn plan_splits_count_of_predict_requests() {
        let four = Job {
            count: 4,
            ..sized(1080, 1920, job("imagen-4.0-generate-001"))
        };
        let plan = plan_with_method(&four, "predict");
        let expected = json!({
            "instances": [{"prompt": "a red fox"}],
            "parameters": {
                "sampleCount": 4, "includeRaiReason": true, "aspectRatio": "9:16",
                "sampleImageSize": "2K",
            },
        });
        assert_eq!(plan.bodies, [expected]);
        assert_eq!(plan.path, "/models/imagen-4.0-generate-001:predict");
        assert_eq!(split_count(9, 4), [4, 4, 1]);
        assert_eq!(split_count(0, 0), [1]);
    }

    #[test]
    fn plan_removes_model_prefixes() {
        let path = |model: &str| plan_with_method(&job(model), "generateContent").path;
        assert_eq!(path("x"), "/models/x:generateContent");
        assert_eq!(path("models/x"), "/models/x:generateContent");
        assert_eq!(path("google/x"), "/models/x:generateContent");
        assert_eq!(path(" google/models/x "), "/models/x:generateContent");
        assert_eq!(path("a/b?c"), "/models/a/b%3Fc:generateContent");
    }

    #[test]
    fn plan_requires_model() {
        let options = Options::from_settings(&settings_with(&[])).unwrap();
        let check = |model: Option<&str>, source_types: &[String], variable: &str| {
            let job = Job {
                model: model.map(str::to_owned),
                ..job("x")
            };
            let error = plan(&job, source_types, &options).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert_eq!(error.field.as_deref(), Some("model"));
            assert!(error.message.contains(variable), "{}", error.message);
        };
        check(None, &[], "IMAGE_GENERATION_MODEL");
        check(Some("models/"), &[], "IMAGE_GENERATION_MODEL");
        check(None, &["image/png".into()], "IMAGE_EDIT_MODEL");
    }
}
