//! Google's JSON: a job becomes requests, an answer becomes places of pictures.

mod sizes;
mod answer;
mod refusal;
mod models;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Job, Settings};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use answer::{Place, Reading, Usage, read};
pub(crate) use models::{PAGE_SIZE, list_path, page};
pub(crate) use refusal::refused;

use crate::settings;
use sizes::Shape;

/// Images that one job may ask for.
pub(crate) const MAX_COUNT: u32 = 10;
/// Of the texts that came with the pictures of a job, in bytes.
const MAX_CAPTION: usize = 2000;
/// Of the notes on a job.
const MAX_NOTES: usize = 10;
/// Of one note, in bytes.
const MAX_NOTE: usize = 300;
/// Seeds are 32-bit numbers with a sign upstream.
const MAX_SEED: u64 = i32::MAX as u64;
/// What a job's parameters may set in a request: never the prompt, and nothing that acts.
const PARAMETERS: [&str; 4] = [
    "generationConfig",
    "parameters",
    "safetySettings",
    "systemInstruction",
];
/// What they may not set there: the job says how many, and nothing is written elsewhere.
const RESERVED: [&str; 4] = [
    "/generationConfig/candidateCount",
    "/generationConfig/candidate_count",
    "/parameters/sampleCount",
    "/parameters/storageUri",
];

/// Which of its two methods a model is asked by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    /// One picture a request.
    GenerateContent,
    /// Some pictures a request.
    Predict,
}

impl Method {
    fn chosen(settings: &Settings) -> Self {
        match settings.text(settings::ENDPOINT_METHOD).as_deref() {
            Some("predict") => Self::Predict,
            _ => Self::GenerateContent,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::GenerateContent => "generateContent",
            Self::Predict => "predict",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::GenerateContent => Self::Predict,
            Self::Predict => Self::GenerateContent,
        }
    }
}

/// The requests of a job.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) path: String,
    /// One for each request; never empty, and at most [`MAX_COUNT`].
    pub(crate) bodies: Vec<Value>,
    /// Without `models/`.
    pub(crate) model: String,
    pub(crate) method: Method,
    shape: Shape,
    /// One for each request, or empty where the job names none.
    seeds: Vec<u64>,
}

/// The `details` of an output. What nobody said is absent.
#[derive(Serialize)]
struct Details<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_ids: Vec<&'a str>,
    /// What the model said beside its pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
    /// As it was asked for.
    #[serde(flatten)]
    shape: &'a Shape,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    seeds: &'a [u64],
    /// Of all requests together.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// The requests that a job needs, with its own parameters laid over each of them.
pub(crate) fn plan(job: &Job, settings: &Settings) -> Result<Plan, Error> {
    let model = model(job)?;
    let method = Method::chosen(settings);
    let parameters = parameters(job)?;
    let shape = match job.size {
        Some(size) => sizes::shape(size, model, settings)?,
        None => Shape::default(),
    };
    let counts = match method {
        Method::GenerateContent => counts(job.count, 1),
        Method::Predict => counts(job.count, predict_count(settings)),
    };
    let seeds: Vec<u64> = (0_u64..)
        .zip(&counts)
        .filter_map(|(index, _)| Some(job.seed?.wrapping_add(index) & MAX_SEED))
        .collect();
    let body = |(index, count): (usize, &u32)| {
        let seed = seeds.get(index).copied();
        let mut body = match method {
            Method::GenerateContent => content_body(job, &shape, seed),
            Method::Predict => predict_body(job, &shape, *count, seed),
        };
        overlay(&mut body, parameters.clone());
        body
    };
    Ok(Plan {
        path: format!("/models/{}:{}", encoded(model), method.name()),
        bodies: counts.iter().enumerate().map(body).collect(),
        model: model.into(),
        method,
        shape,
        seeds,
    })
}

/// The model's bare name: people paste it with `models/` or `google/` before it.
fn model(job: &Job) -> Result<&str, Error> {
    let mut model = job.model.as_deref().unwrap_or_default().trim();
    while let Some(rest) = ["models/", "google/", "/"]
        .iter()
        .find_map(|start| model.strip_prefix(start))
    {
        model = rest;
    }
    if model.is_empty() {
        let message = "gemini needs the name of a model: set IMAGE_GENERATION_MODEL, \
                       to gemini-3.1-flash-image for example";
        return Err(Error::invalid("model", message));
    }
    Ok(model)
}

/// Percent-encoded, but for the slashes that some gateways have in their names.
fn encoded(model: &str) -> String {
    let steps: Vec<String> = model.split('/').map(percent_encode).collect();
    steps.join("/")
}

/// The parameters of a job: a JSON object of what [`PARAMETERS`] allows.
fn parameters(job: &Job) -> Result<Value, Error> {
    let parameters: Map<String, Value> = serde_json::from_str(&job.parameters)
        .map_err(|error| Error::invalid("parameters", format!("cannot be used: {error}")))?;
    let strange = parameters
        .keys()
        .find(|key| !PARAMETERS.contains(&key.as_str()));
    if let Some(key) = strange {
        let message = format!(
            "the parameters may not hold {key}, only {}",
            PARAMETERS.join(", ")
        );
        return Err(Error::invalid("parameters", message));
    }
    let parameters = Value::Object(parameters);
    match RESERVED
        .iter()
        .find(|pointer| parameters.pointer(pointer).is_some())
    {
        Some(pointer) => Err(Error::invalid(
            "parameters",
            format!("the parameters may not hold {pointer}"),
        )),
        None => Ok(parameters),
    }
}

fn predict_count(settings: &Settings) -> u32 {
    let count = settings.integer(settings::PREDICT_COUNT).unwrap_or(1);
    u32::try_from(count).unwrap_or(1).clamp(1, MAX_COUNT)
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

fn content_body(job: &Job, shape: &Shape, seed: Option<u64>) -> Value {
    let mut config = json!({"responseModalities": ["TEXT", "IMAGE"]});
    let mut image = json!({});
    set(&mut image, "aspectRatio", shape.aspect_ratio.as_deref());
    set(&mut image, "imageSize", shape.image_size.as_deref());
    if image != json!({}) {
        set(&mut config, "imageConfig", Some(image));
    }
    set(&mut config, "seed", seed);
    json!({
        "contents": [{"role": "user", "parts": [{"text": job.prompt}]}],
        "generationConfig": config,
    })
}

fn predict_body(job: &Job, shape: &Shape, count: u32, seed: Option<u64>) -> Value {
    let mut parameters = json!({"sampleCount": count});
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

/// Lays one value over another, object by object; null takes a field out.
fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(&key);
                } else {
                    overlay(under.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (under, over) => *under = over,
    }
}

/// What a person should know of a job that gave other than what it asked for.
pub(crate) fn notes(
    plan: &Plan,
    missing: usize,
    left_out: usize,
    readings: &[Reading],
    errors: &[Error],
) -> Vec<String> {
    let mut notes = Vec::new();
    if missing > 0 {
        let why = match plan.method {
            Method::GenerateContent => "did not come",
            Method::Predict => "did not come: the upstream leaves out those that it filtered",
        };
        notes.push(format!("{missing} of the images asked for {why}"));
    }
    if left_out > 0 {
        notes.push(format!(
            "{left_out} images beyond {MAX_COUNT} were left out"
        ));
    }
    let held_back = readings.iter().flat_map(|reading| &reading.notes);
    let failed = errors.iter().map(|error| &error.message);
    notes.extend(held_back.chain(failed).map(|note| cut(note, MAX_NOTE)));
    notes.truncate(MAX_NOTES);
    notes
}

/// The JSON object kept beside the images.
pub(crate) fn details(plan: &Plan, readings: &[Reading], notes: &[String]) -> String {
    let captions: Vec<&str> = readings
        .iter()
        .filter_map(|reading| reading.caption.as_deref())
        .collect();
    let usages = readings.iter().filter_map(|reading| reading.usage);
    let details = Details {
        model: &plan.model,
        model_version: readings
            .iter()
            .find_map(|reading| reading.model_version.as_deref()),
        response_ids: readings
            .iter()
            .filter_map(|reading| reading.response_id.as_deref())
            .collect(),
        caption: (!captions.is_empty()).then(|| cut(&captions.join("\n"), MAX_CAPTION)),
        shape: &plan.shape,
        seeds: &plan.seeds,
        usage: usages.reduce(Usage::plus),
        notes,
    };
    json!(details).to_string()
}

/// A field by its name in camel case, or in the snake case that some gateways write.
fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).or_else(|| value.get(snake_case(key)))
}

fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 2);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    field(value, key)?.as_str().filter(|text| !text.is_empty())
}

/// A list; empty where there is none.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = field(value, key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// At most so many bytes of a text.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{ErrorKind, Size};

    use super::*;

    fn job(model: &str) -> Job {
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
            size: Some(Size { width, height }),
            ..job
        }
    }

    fn planned(job: &Job, method: &str) -> Plan {
        let settings = settings::with(&[("endpoint-method", method.into())]);
        plan(job, &settings).unwrap()
    }

    fn check_content(job: &Job, config: Value) {
        let plan = planned(job, "generateContent");
        let contents = json!([{"role": "user", "parts": [{"text": "a red fox"}]}]);
        let expected = json!({"contents": contents, "generationConfig": config});
        assert_eq!(plan.bodies, [expected]);
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
            &sized(2048, 2048, job("gemini-3.1-flash-image")),
            json!({
                "responseModalities": both,
                "imageConfig": {"aspectRatio": "1:1", "imageSize": "2K"},
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
            "parameters": {"sampleCount": 4, "aspectRatio": "9:16", "sampleImageSize": "2K"},
        });
        assert_eq!(plan.bodies, [expected]);
        assert_eq!(plan.path, "/models/imagen-4.0-generate-001:predict");
        assert_eq!(counts(9, 4), [4, 4, 1]);
        assert_eq!(counts(0, 0), [1]);
        let count = |count: i64| predict_count(&settings::with(&[("predict-count", count.into())]));
        assert_eq!([count(-1), count(0), count(1), count(99)], [1, 1, 1, 10]);
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

    fn check_invalid(job: &Job, field: &str, words: &str) {
        let error = plan(job, &settings::with(&[])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some(field));
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn a_job_that_cannot_be_asked_for_says_why() {
        let unnamed = Job {
            model: None,
            ..job("x")
        };
        check_invalid(&unnamed, "model", "IMAGE_GENERATION_MODEL");
        check_invalid(&job("models/"), "model", "IMAGE_GENERATION_MODEL");
        let with = |parameters: &str| Job {
            parameters: parameters.into(),
            ..job("x")
        };
        check_invalid(&with("[]"), "parameters", "cannot be used");
        check_invalid(&with(r#"{"contents": []}"#), "parameters", "contents");
        let count = r#"{"generationConfig": {"candidateCount": 8}}"#;
        check_invalid(&with(count), "parameters", "candidateCount");
    }

    fn answer(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_details_are_what_was_asked_and_answered() {
        let asked = sized(1920, 1080, job("models/gemini-3.1-flash-image"));
        let plan = planned(
            &Job {
                seed: Some(7),
                ..asked
            },
            "generateContent",
        );
        let success = answer(include_str!("../testdata/success.json"));
        let read = || read(plan.method, &success).unwrap();
        let one = json!({
            "model": "gemini-3.1-flash-image", "model_version": "gemini-2.5-flash-image",
            "response_ids": ["r1"], "caption": "Here is your image.",
            "aspect_ratio": "16:9", "image_size": "2K", "seeds": [7],
            "usage": {"input_tokens": 8, "output_tokens": 1290, "total_tokens": 1298},
        });
        assert_eq!(answer(&details(&plan, &[read()], &[])), one);
        let two = answer(&details(&plan, &[read(), read()], &["slow down".into()]));
        assert_eq!(two["usage"]["total_tokens"], 2596);
        assert_eq!(two["notes"], json!(["slow down"]));
    }

    #[test]
    fn a_count_that_differs_is_noted() {
        let blocked = [Error::new(ErrorKind::Blocked, "held back")];
        let content = planned(&job("x"), "generateContent");
        assert_eq!(
            notes(&content, 1, 0, &[], &blocked),
            ["1 of the images asked for did not come", "held back"]
        );
        let predict = planned(&job("x"), "predict");
        assert_eq!(
            notes(&predict, 2, 1, &[], &[]),
            [
                "2 of the images asked for did not come: the upstream leaves out those that it filtered",
                "1 images beyond 10 were left out",
            ]
        );
        assert!(notes(&content, 0, 0, &[], &[]).is_empty());
    }
}
