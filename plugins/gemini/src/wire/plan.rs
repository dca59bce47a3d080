//! A job as requests.

use pinhole_sdk::parameters::overlay;
use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value, json};

use super::sizes::{self, Shape};
use super::{Asked, MAX_COUNT, parameters};
use crate::settings::{Method, Setup};

/// Seeds are 32-bit numbers with a sign upstream.
const MAX_SEED: u64 = i32::MAX as u64;
/// The one field of a predict request that can be laid over.
const PREDICT_FIELD: &str = "parameters";

/// The requests of a job.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) path: String,
    /// One for each request; never empty, and at most [`MAX_COUNT`].
    pub(crate) bodies: Vec<Value>,
    /// Where in each body the source pictures go, as JSON pointers, in their order.
    pub(crate) places: Vec<String>,
    pub(crate) asked: Asked,
    /// Pictures that all requests together ask for.
    pub(super) count: usize,
    pub(super) shape: Shape,
    /// One for each request, or empty where the job names none.
    pub(super) seeds: Vec<u64>,
}

/// The requests that a job needs, with its own parameters laid over each, and the operator's last.
///
/// `sources` are the media types of the pictures to change; there are none when generating.
pub(crate) fn plan(job: &Job, sources: &[String], setup: &Setup) -> Result<Plan, Error> {
    let editing = !sources.is_empty();
    let model = model(job, editing)?;
    let method = match setup.method {
        Method::Predict if editing => Method::GenerateContent,
        method => method,
    };
    let own = parameters::checked(job, method)?;
    let shape = job.size.map(|size| sizes::shape(size, model, setup));
    let shape = shape.unwrap_or_default();
    let counts = match method {
        Method::Predict => counts(job.count, setup.predict_count),
        Method::GenerateContent | Method::StreamGenerateContent => counts(job.count, 1),
    };
    let seeds: Vec<u64> = (0_u64..)
        .zip(&counts)
        .filter_map(|(index, _)| Some(job.seed?.wrapping_add(index) & MAX_SEED))
        .collect();
    let body = |(index, count): (usize, &u32)| {
        let seed = seeds.get(index).copied();
        let mut body = match method {
            Method::Predict => predict_body(job, &shape, *count, seed),
            Method::GenerateContent | Method::StreamGenerateContent => {
                content_body(job, sources, &shape, seed)
            }
        };
        overlay(&mut body, Value::Object(own.clone()));
        overlay(&mut body, fitting(&setup.params, method));
        body
    };
    let query = match method {
        Method::StreamGenerateContent => "?alt=sse",
        Method::GenerateContent | Method::Predict => "",
    };
    Ok(Plan {
        path: format!("/models/{}:{}{query}", encoded(model), method.name()),
        bodies: counts.iter().enumerate().map(body).collect(),
        places: (1..=sources.len())
            .map(|part| format!("/contents/0/parts/{part}/inlineData/data"))
            .collect(),
        asked: Asked {
            model: model.into(),
            method,
            editing,
        },
        count: job.count as usize,
        shape,
        seeds,
    })
}

/// The model's bare name: people paste it with `models/` or `google/` before it.
fn model(job: &Job, editing: bool) -> Result<&str, Error> {
    let mut model = job.model.as_deref().unwrap_or_default().trim();
    while let Some(rest) = ["models/", "google/", "/"]
        .iter()
        .find_map(|start| model.strip_prefix(start))
    {
        model = rest;
    }
    if model.is_empty() {
        let variable = match editing {
            true => "IMAGE_EDIT_MODEL",
            false => "IMAGE_GENERATION_MODEL",
        };
        let message = format!(
            "gemini needs the name of a model: set {variable}, to gemini-3.1-flash-image for \
             example"
        );
        return Err(Error::invalid("model", message));
    }
    Ok(model)
}

/// Percent-encoded, but for the slashes that some gateways have in their names.
fn encoded(model: &str) -> String {
    let steps: Vec<String> = model.split('/').map(percent_encode).collect();
    steps.join("/")
}

/// What the operator lays over requests of this method.
fn fitting(params: &Map<String, Value>, method: Method) -> Value {
    let fits = |name: &str| (name == PREDICT_FIELD) == (method == Method::Predict);
    let fields = params.iter().filter(|(name, _)| fits(name));
    Value::Object(
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// How many pictures each request asks for, at most `each`.
fn counts(total: u32, each: u32) -> Vec<u32> {
    let mut counts = Vec::new();
    let mut left = total.clamp(1, MAX_COUNT);
    while left > 0 {
        let count = left.min(each.max(1));
        counts.push(count);
        left -= count;
    }
    counts
}

fn content_body(job: &Job, sources: &[String], shape: &Shape, seed: Option<u64>) -> Value {
    let mut config = json!({"responseModalities": ["TEXT", "IMAGE"]});
    let mut image = json!({});
    set(&mut image, "aspectRatio", shape.aspect_ratio.as_deref());
    set(&mut image, "imageSize", shape.image_size.as_deref());
    if image != json!({}) {
        set(&mut config, "imageConfig", Some(image));
    }
    set(&mut config, "seed", seed);
    let mut parts = vec![json!({"text": job.prompt})];
    // The host writes each picture in the place of its null.
    let source = |kind: &String| json!({"inlineData": {"mimeType": kind, "data": null}});
    parts.extend(sources.iter().map(source));
    json!({
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": config,
    })
}

fn predict_body(job: &Job, shape: &Shape, count: u32, seed: Option<u64>) -> Value {
    // Without a word of it, filtered pictures are missing for no reason.
    let mut parameters = json!({"sampleCount": count, "includeRaiReason": true});
    set(
        &mut parameters,
        "aspectRatio",
        shape.aspect_ratio.as_deref(),
    );
    set(
        &mut parameters,
        "sampleImageSize",
        shape.image_size.as_deref(),
    );
    set(&mut parameters, "seed", seed);
    json!({
        "instances": [{"prompt": job.prompt}],
        "parameters": parameters,
    })
}

fn set(object: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.into(), value.into());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pinhole_sdk::{ErrorKind, Size};

    use super::*;
    use crate::settings::with;

    pub(in crate::wire) fn job(model: &str) -> Job {
        Job {
            prompt: "a red fox".into(),
            negative_prompt: None,
            model: Some(model.into()),
            size: None,
            count: 1,
            steps: None,
            seed: None,
            parameters: "{}".into(),
        }
    }

    fn sized(width: u32, height: u32, job: Job) -> Job {
        Job {
            size: Some(Size::new(width, height)),
            ..job
        }
    }

    fn planned_with(job: &Job, sources: &[&str], changes: &[(&str, Value)]) -> Plan {
        let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
        plan(job, &sources, &Setup::read(&with(changes)).unwrap()).unwrap()
    }

    pub(in crate::wire) fn planned(job: &Job, method: &str) -> Plan {
        planned_with(job, &[], &[("endpoint-method", method.into())])
    }

    fn check_content(job: &Job, config: Value) {
        let plan = planned(job, "generateContent");
        let contents = json!([{"role": "user", "parts": [{"text": "a red fox"}]}]);
        let expected = json!({"contents": contents, "generationConfig": config});
        assert_eq!(plan.bodies, [expected]);
        assert!(plan.places.is_empty());
    }

    #[test]
    fn content_is_asked_for_with_what_was_set() {
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
    fn sources_follow_the_prompt_under_their_own_types() {
        let plan = planned_with(&job("x"), &["image/png", "image/webp"], &[]);
        assert_eq!(plan.path, "/models/x:generateContent");
        let parts = json!([
            {"text": "a red fox"},
            {"inlineData": {"mimeType": "image/png", "data": null}},
            {"inlineData": {"mimeType": "image/webp", "data": null}},
        ]);
        assert_eq!(plan.bodies[0]["contents"][0]["parts"], parts);
        assert_eq!(plan.places.len(), 2);
        for place in &plan.places {
            assert_eq!(plan.bodies[0].pointer(place), Some(&Value::Null), "{place}");
        }
    }

    #[test]
    fn edits_are_never_asked_by_predict() {
        let path = |method: &str| {
            let method = ("endpoint-method", method.into());
            planned_with(&job("x"), &["image/png"], &[method]).path
        };
        assert_eq!(path("predict"), "/models/x:generateContent");
        assert_eq!(path("generateContent"), "/models/x:generateContent");
        let stream = "/models/x:streamGenerateContent?alt=sse";
        assert_eq!(path("streamGenerateContent"), stream);
    }

    #[test]
    fn the_operators_parameters_win_and_go_where_they_belong() {
        let params = json!({
            "generationConfig": {"responseModalities": null, "candidateCount": 2},
            "safetySettings": [1],
            "parameters": {"sampleCount": 2, "includeRaiReason": null},
        });
        let params = ("params", params.to_string().into());
        let own = Job {
            parameters: json!({"safetySettings": [2]}).to_string(),
            ..job("x")
        };
        let plan = planned_with(&own, &[], std::slice::from_ref(&params));
        let contents = json!([{"role": "user", "parts": [{"text": "a red fox"}]}]);
        let expected = json!({
            "contents": contents,
            "generationConfig": {"candidateCount": 2},
            "safetySettings": [1],
        });
        assert_eq!(plan.bodies, [expected]);
        let predict = ("endpoint-method", "predict".into());
        let plan = planned_with(&job("x"), &[], &[params, predict]);
        let expected = json!({
            "instances": [{"prompt": "a red fox"}],
            "parameters": {"sampleCount": 2},
        });
        assert_eq!(plan.bodies, [expected]);
    }

    #[test]
    fn several_images_are_several_requests_with_seeds_of_their_own() {
        let three = Job {
            count: 3,
            seed: Some(MAX_SEED),
            ..job("x")
        };
        let plan = planned(&three, "generateContent");
        let seeds: Vec<&Value> = plan
            .bodies
            .iter()
            .map(|body| &body["generationConfig"]["seed"])
            .collect();
        assert_eq!(seeds, [&json!(MAX_SEED), &json!(0), &json!(1)]);
        let endless = Job {
            count: u32::MAX,
            seed: Some(u64::MAX),
            ..job("x")
        };
        let plan = planned(&endless, "generateContent");
        assert_eq!(plan.bodies.len(), MAX_COUNT as usize);
    }

    #[test]
    fn predict_takes_some_images_a_request() {
        let four = Job {
            count: 4,
            ..sized(1080, 1920, job("imagen-4.0-generate-001"))
        };
        let plan = planned(&four, "predict");
        let expected = json!({
            "instances": [{"prompt": "a red fox"}],
            "parameters": {
                "sampleCount": 4, "includeRaiReason": true, "aspectRatio": "9:16",
                "sampleImageSize": "2K",
            },
        });
        assert_eq!(plan.bodies, [expected]);
        assert_eq!(plan.path, "/models/imagen-4.0-generate-001:predict");
        assert_eq!(counts(9, 4), [4, 4, 1]);
        assert_eq!(counts(0, 0), [1]);
    }

    #[test]
    fn a_model_is_named_in_any_of_its_ways() {
        let path = |model: &str| planned(&job(model), "generateContent").path;
        assert_eq!(path("x"), "/models/x:generateContent");
        assert_eq!(path("models/x"), "/models/x:generateContent");
        assert_eq!(path("google/x"), "/models/x:generateContent");
        assert_eq!(path(" google/models/x "), "/models/x:generateContent");
        assert_eq!(path("a/b?c"), "/models/a/b%3Fc:generateContent");
    }

    #[test]
    fn a_model_has_to_be_named() {
        let setup = Setup::read(&with(&[])).unwrap();
        let check = |model: Option<&str>, sources: &[String], words: &str| {
            let unnamed = Job {
                model: model.map(str::to_owned),
                ..job("x")
            };
            let error = plan(&unnamed, sources, &setup).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert_eq!(error.field.as_deref(), Some("model"));
            assert!(error.message.contains(words), "{}", error.message);
        };
        check(None, &[], "IMAGE_GENERATION_MODEL");
        check(Some("models/"), &[], "IMAGE_GENERATION_MODEL");
        check(None, &["image/png".into()], "IMAGE_EDIT_MODEL");
    }
}
