//! OpenAI's JSON: a job becomes a request, an answer becomes places of pictures.

mod sizes;
mod answer;
mod refusal;
mod words;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Job, Model, Settings, Size};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use answer::{Place, Reading, read};
pub(crate) use refusal::refused;

use crate::settings;
use answer::{Made, Usage};
use words::cut;

/// Images that one job may ask for, and requests that one job may need.
pub(crate) const MAX_COUNT: u32 = 10;
/// Models that are listed at most.
const MAX_MODELS: usize = 500;
/// Of the notes on a job.
const MAX_NOTES: usize = 10;
/// Of one note, in bytes.
const MAX_NOTE: usize = 300;
/// What a job says itself: its host has checked it, so its parameters may not say it again.
const JOB_FIELDS: [&str; 4] = ["model", "n", "prompt", "size"];
/// Fields that turn the answer into events.
const STREAM_FIELDS: [&str; 2] = ["stream", "partial_images"];

/// The request of a job, and how often it is sent.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) path: String,
    pub(crate) body: Map<String, Value>,
    /// 1, except for several pictures of a model that makes one a request.
    pub(crate) calls: u32,
    pub(crate) model: Option<String>,
    /// The size asked for and the one sent instead.
    resized: Option<(Size, Size)>,
}

/// The `details` of an output. What nobody said is absent.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(flatten)]
    made: Made,
    /// Of all requests together.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_size: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// The request that a job needs.
///
/// The body holds only what was set. Over it go the job's own parameters and then the operator's,
/// whose model, if they name one, is the model that everything else is decided by.
pub(crate) fn plan(job: &Job, settings: &Settings) -> Result<Plan, Error> {
    let given = parameters(job)?;
    let fixed: Map<String, Value> = settings.json(settings::PARAMS)?.unwrap_or_default();
    refuse_streams(&given, "parameters")?;
    refuse_streams(&fixed, settings::PARAMS)?;
    let model = match fixed.get("model") {
        Some(model) => model.as_str().map(str::to_owned),
        None => job.model.clone().filter(|model| !model.is_empty()),
    };
    let decided = |key| fits(&settings.text(key).unwrap_or_default(), model.as_deref());
    let families = settings.text(settings::SIZES).unwrap_or_default();
    let asked = job.size.filter(|_| !fixed.contains_key("size"));
    let size = asked
        .map(|asked| sizes::fit(asked, &families, model.as_deref()))
        .transpose()?;

    let mut body = Map::new();
    if let Some(model) = &model {
        body.insert("model".into(), json!(model));
    }
    body.insert("prompt".into(), json!(job.prompt));
    if job.count > 1 {
        body.insert("n".into(), json!(job.count));
    }
    if let Some(size) = size {
        body.insert("size".into(), json!(sizes::written(size)));
    }
    if decided(settings::RESPONSE_FORMAT_MODELS) {
        body.insert("response_format".into(), json!("b64_json"));
    }
    overlay(&mut body, given);
    overlay(&mut body, fixed);

    let mut calls = 1;
    if decided(settings::SINGLE_IMAGE_MODELS) {
        let n = body.remove("n").and_then(|n| n.as_u64()).unwrap_or(1);
        calls = u32::try_from(n).unwrap_or(MAX_COUNT).clamp(1, MAX_COUNT);
    }
    let changed = |(asked, sent): &(Size, Size)| sizes::written(*asked) != sizes::written(*sent);
    Ok(Plan {
        path: path("/images/generations", settings),
        body,
        calls,
        model,
        resized: asked.zip(size).filter(changed),
    })
}

/// A path with the API version that the operator set.
pub(crate) fn path(path: &str, settings: &Settings) -> String {
    match settings.text(settings::API_VERSION) {
        Some(version) => format!("{path}?api-version={}", percent_encode(&version)),
        None => path.into(),
    }
}

/// The parameters of a job: a JSON object without what the job says itself.
fn parameters(job: &Job) -> Result<Map<String, Value>, Error> {
    let parameters: Map<String, Value> = serde_json::from_str(&job.parameters)
        .map_err(|error| Error::invalid("parameters", format!("cannot be used: {error}")))?;
    match JOB_FIELDS
        .iter()
        .find(|field| parameters.contains_key(**field))
    {
        Some(field) => Err(Error::invalid(
            *field,
            format!("the parameters may not hold {field}: it is a field of the job itself"),
        )),
        None => Ok(parameters),
    }
}

fn refuse_streams(parameters: &Map<String, Value>, holder: &str) -> Result<(), Error> {
    match STREAM_FIELDS
        .iter()
        .find(|field| parameters.contains_key(**field))
    {
        Some(field) => Err(Error::invalid(
            *field,
            format!("this engine does not stream yet: take {field} out of {holder}"),
        )),
        None => Ok(()),
    }
}

/// Lays fields over a body; null takes one out.
fn overlay(body: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        if value.is_null() {
            body.remove(&name);
        } else {
            body.insert(name, value);
        }
    }
}

/// Does one of these beginnings, with commas between them, fit the model? `*` fits always.
fn fits(beginnings: &str, model: Option<&str>) -> bool {
    let fit = |beginning: &str| match beginning {
        "" => false,
        "*" => true,
        _ => model.is_some_and(|model| model.starts_with(beginning)),
    };
    beginnings.split(',').map(str::trim).any(fit)
}

fn items(answer: &Value) -> &[Value] {
    let data = answer.get("data").and_then(Value::as_array);
    data.map(Vec::as_slice).unwrap_or_default()
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// What a person should know of a job that gave other than what it asked for.
pub(crate) fn notes(asked: usize, came: usize, left_out: usize, errors: &[Error]) -> Vec<String> {
    let mut notes = Vec::new();
    if came < asked {
        notes.push(format!("{came} of {asked} images came"));
    }
    if left_out > 0 {
        notes.push(format!(
            "{left_out} images beyond {MAX_COUNT} were left out"
        ));
    }
    notes.extend(errors.iter().map(|error| cut(&error.message, MAX_NOTE)));
    notes.truncate(MAX_NOTES);
    notes
}

/// The JSON object kept beside the images.
pub(crate) fn details(plan: &Plan, readings: &[Reading], notes: &[String]) -> String {
    let usages = readings.iter().filter_map(|reading| reading.usage);
    let details = Details {
        model: plan.model.as_deref(),
        made: readings
            .first()
            .map(|reading| reading.made.clone())
            .unwrap_or_default(),
        usage: usages.reduce(Usage::plus),
        asked_size: plan.resized.map(|(asked, _)| sizes::written(asked)),
        sent_size: plan.resized.map(|(_, sent)| sizes::written(sent)),
        notes,
    };
    json!(details).to_string()
}

/// The models of a list, as far as the operator wants them, in the upstream's order.
pub(crate) fn models(answer: &Value, settings: &Settings) -> Result<Vec<Model>, Error> {
    if !answer.get("data").is_some_and(Value::is_array) {
        return Err(Error::protocol("the upstream's list of models has no data"));
    }
    let beginnings = settings.text(settings::LISTED_MODELS);
    let listed = |id: &str| match &beginnings {
        Some(beginnings) => fits(beginnings, Some(id)),
        None => true,
    };
    let ids = items(answer).iter().filter_map(|item| text(item, "id"));
    let models = ids
        .filter(|id| listed(id))
        .take(MAX_MODELS)
        .map(|id| Model {
            id: id.into(),
            name: id.into(),
        });
    Ok(models.collect())
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;

    fn job(model: &str) -> Job {
        Job {
            prompt: "a red fox".into(),
            negative_prompt: None,
            model: Some(model.into()).filter(|model: &String| !model.is_empty()),
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

    fn check(job: &Job, changes: &[(&str, &str)], calls: u32, expected: Value) {
        let plan = plan(job, &settings::with(changes)).unwrap();
        assert_eq!((json!(plan.body), plan.calls), (expected, calls));
    }

    fn check_invalid(job: &Job, changes: &[(&str, &str)], field: &str) {
        let error = plan(job, &settings::with(changes)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some(field), "{}", error.message);
    }

    #[test]
    fn only_what_was_set_is_sent() {
        check(
            &job("gpt-image-2"),
            &[],
            1,
            json!({"model": "gpt-image-2", "prompt": "a red fox"}),
        );
        check(&job(""), &[], 1, json!({"prompt": "a red fox"}));
        let full = Job {
            count: 2,
            parameters: json!({
                "quality": "high", "background": "transparent",
                "output_format": "webp", "output_compression": 80,
            })
            .to_string(),
            ..sized(1536, 1024, job("gpt-image-2"))
        };
        check(
            &full,
            &[],
            1,
            json!({
                "model": "gpt-image-2", "prompt": "a red fox", "n": 2, "size": "1536x1024",
                "quality": "high", "background": "transparent",
                "output_format": "webp", "output_compression": 80,
            }),
        );
    }

    #[test]
    fn the_dialect_of_dall_e_is_a_setting() {
        let body = |model: &str| json!({"model": model, "prompt": "a red fox", "response_format": "b64_json"});
        check(&job("dall-e-3"), &[], 1, body("dall-e-3"));
        let changed = [("response-format-models", "flux, sd")];
        check(&job("sd-turbo"), &changed, 1, body("sd-turbo"));
        check(
            &job("any"),
            &[("response-format-models", "*")],
            1,
            body("any"),
        );
        let plain = json!({"model": "dall-e-3", "prompt": "a red fox"});
        check(
            &job("dall-e-3"),
            &[("response-format-models", "")],
            1,
            plain,
        );
    }

    #[test]
    fn several_images_of_a_model_that_makes_one_are_several_requests() {
        let three = |model| Job {
            count: 3,
            ..job(model)
        };
        let one = json!({
            "model": "dall-e-3", "prompt": "a red fox", "response_format": "b64_json",
        });
        check(&three("dall-e-3"), &[], 3, one.clone());
        check(
            &three("dall-e-3"),
            &[("params", r#"{"n": 99}"#)],
            MAX_COUNT,
            one,
        );
        let two = json!({
            "model": "dall-e-2", "prompt": "a red fox", "response_format": "b64_json", "n": 3,
        });
        check(&three("dall-e-2"), &[], 1, two);
    }

    #[test]
    fn the_operators_parameters_have_the_last_word() {
        let asked = Job {
            parameters: r#"{"quality": "high", "style": "vivid"}"#.into(),
            ..sized(64, 64, job("dall-e-3"))
        };
        let params = r#"{"model": "gpt-image-1", "quality": "low", "n": 2, "style": null}"#;
        check(
            &asked,
            &[("params", params)],
            1,
            json!({
                "model": "gpt-image-1", "prompt": "a red fox", "quality": "low", "n": 2,
                "size": "1024x1024",
            }),
        );
        let params = r#"{"size": "auto", "response_format": null}"#;
        check(
            &asked,
            &[("params", params)],
            1,
            json!({
                "model": "dall-e-3", "prompt": "a red fox", "quality": "high",
                "style": "vivid", "size": "auto",
            }),
        );
    }

    #[test]
    fn parameters_that_cannot_be_used_are_named() {
        let with = |parameters: &str| Job {
            parameters: parameters.into(),
            ..job("gpt-image-2")
        };
        check_invalid(&with("[]"), &[], "parameters");
        check_invalid(&with(r#"{"n": 10}"#), &[], "n");
        check_invalid(&with(r#"{"model": "x"}"#), &[], "model");
        check_invalid(&with(r#"{"stream": true}"#), &[], "stream");
        check_invalid(&job("x"), &[("params", "[1]")], "params");
        check_invalid(
            &job("x"),
            &[("params", r#"{"partial_images": 1}"#)],
            "partial_images",
        );
    }

    #[test]
    fn the_api_version_is_percent_encoded() {
        let path = |version| {
            let settings = settings::with(&[("api-version", version)]);
            plan(&job("x"), &settings).unwrap().path
        };
        assert_eq!(path(""), "/images/generations");
        assert_eq!(
            path("2025-04-01"),
            "/images/generations?api-version=2025-04-01"
        );
        assert_eq!(path("a&b=c"), "/images/generations?api-version=a%26b%3Dc");
    }

    fn answer(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_details_are_what_the_upstream_answered() {
        let plan = plan(&sized(512, 512, job("gpt-image-1.5")), &settings::with(&[])).unwrap();
        let read = || read(&answer(include_str!("../testdata/success.json"))).unwrap();
        let one = json!({
            "model": "gpt-image-1.5", "size": "1024x1024", "quality": "medium",
            "background": "opaque", "output_format": "png",
            "usage": {"input_tokens": 50, "output_tokens": 50, "total_tokens": 100},
            "asked_size": "512x512", "sent_size": "1024x1024",
        });
        assert_eq!(answer(&details(&plan, &[read()], &[])), one);
        let two = answer(&details(
            &plan,
            &[read(), read()],
            &["1 of 3 images came".into()],
        ));
        assert_eq!(two["usage"]["total_tokens"], 200);
        assert_eq!(two["notes"], json!(["1 of 3 images came"]));
    }

    #[test]
    fn a_count_that_differs_is_noted() {
        let failed = [Error::protocol("slow down")];
        assert_eq!(notes(3, 2, 0, &failed), ["2 of 3 images came", "slow down"]);
        assert_eq!(notes(1, 1, 4, &[]), ["4 images beyond 10 were left out"]);
        assert!(notes(2, 2, 0, &[]).is_empty());
    }

    fn check_models(listed: &str, expected: &[&str]) {
        let settings = settings::with(&[("listed-models", listed)]);
        let list = answer(include_str!("../testdata/models.json"));
        let models = models(&list, &settings).unwrap();
        let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn the_models_wanted_are_listed_in_order() {
        let images = [
            "gpt-image-2",
            "dall-e-3",
            "chatgpt-image-latest",
            "gpt-image-1.5",
        ];
        check_models("gpt-image-,chatgpt-image-,dall-e-", &images);
        check_models("dall-e-", &["dall-e-3"]);
        check_models(
            "",
            &[
                "gpt-5",
                "gpt-image-2",
                "dall-e-3",
                "text-embedding-3-small",
                "chatgpt-image-latest",
                "gpt-image-1.5",
            ],
        );
        assert!(models(&json!({}), &settings::with(&[])).is_err());
    }
}
