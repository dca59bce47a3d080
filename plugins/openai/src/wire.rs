//! OpenAI's JSON: a job becomes a request, an answer becomes places of pictures.

mod answer;
mod event;
mod keys;
pub(crate) mod parameters;
mod prompt;
mod refusal;
pub(crate) mod sizes;

use pinhole_sdk::families::begins;
use pinhole_sdk::parameters::overlay_fields;
use pinhole_sdk::words::cut;
use pinhole_sdk::{Answer, Error, Job, Model, Progress, Settings, Size};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use answer::{Reading, read};
pub(crate) use event::{Event, read as event};
pub(crate) use refusal::refused;

use crate::settings::{LISTED_MODELS, Operation, Options};
use answer::{Made, Usage};

/// Images that one job may ask for, and requests that one job may need.
pub(crate) const MAX_COUNT: u32 = 10;
/// Models that are listed at most.
const MAX_MODELS: usize = 500;
/// Length of the upstream's own name of a request, in bytes.
const MAX_REQUEST_ID: usize = 100;
/// The fields that every upstream knows. A form begins with them.
const FIRST_FIELDS: [&str; 4] = ["model", "prompt", "n", "size"];

/// The request of a job, and how often it is sent.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) upstream: &'static str,
    pub(crate) path: String,
    /// Of the JSON body, or of the form beside the pictures.
    pub(crate) fields: Map<String, Value>,
    /// Pictures that the job asks for.
    pub(crate) asked: u32,
    /// Pictures that it may give: more where the operator's parameters ask for more.
    pub(crate) most: u32,
    /// 1, except for several pictures where a request makes one.
    pub(crate) calls: u32,
    pub(crate) model: Option<String>,
    /// What a person should know before the upstream was asked.
    pub(crate) notes: Vec<String>,
    /// Drafts that each picture was asked for with.
    drafts: u64,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// The request that a job needs.
///
/// It holds only what was set. Over it go the job's own parameters and then the operator's, whose
/// model, if they name one, is the model that everything else is decided by.
pub(crate) fn plan(job: &Job, options: &Options, operation: Operation) -> Result<Plan, Error> {
    let mut given = parameters::given(job, options)?;
    let fixed = &options.params;
    let model = match fixed.get("model") {
        Some(model) => model.as_str().map(str::to_owned),
        None => job.model.clone().filter(|model| !model.is_empty()),
    };
    let asked_size = job.size.filter(|_| !fixed.contains_key("size"));
    let size = asked_size
        .map(|asked| sizes::fit(asked, &options.sizes, model.as_deref()))
        .transpose()?;
    let mut notes = Vec::new();
    if !options.takes_input_fidelity(model.as_deref()) && given.remove("input_fidelity").is_some() {
        notes.push("input_fidelity was left out: this model does not take it".to_owned());
    }

    let mut fields = Map::new();
    if let Some(model) = &model {
        fields.insert("model".into(), json!(model));
    }
    fields.insert("prompt".into(), json!(prompt::words(&job.prompt)?));
    if job.count > 1 {
        fields.insert("n".into(), json!(job.count));
    }
    if let Some(size) = size {
        fields.insert("size".into(), json!(size.to_string()));
    }
    if options.takes_response_format(model.as_deref()) {
        fields.insert("response_format".into(), json!("b64_json"));
    }
    overlay_fields(&mut fields, given);
    overlay_fields(&mut fields, fixed.clone());

    let n = fields.get("n").and_then(Value::as_u64).unwrap_or(1);
    let n = u32::try_from(n).unwrap_or(MAX_COUNT).clamp(1, MAX_COUNT);
    // The events of a stream do not say which picture they belong to.
    let streams = fields.get("stream") == Some(&Value::Bool(true));
    let alone = streams || options.makes_one_image(model.as_deref());
    if alone {
        fields.remove("n");
    }
    let path = match operation {
        Operation::Generate => "/images/generations",
        Operation::Edit => "/images/edits",
    };
    Ok(Plan {
        upstream: options.address.upstream,
        path: options.address.path(path),
        drafts: fields
            .get("partial_images")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        fields,
        asked: job.count,
        most: job.count.max(n),
        calls: if alone { n } else { 1 },
        model,
        notes,
        resized: asked_size.zip(size).filter(|(asked, sent)| asked != sent),
    })
}

impl Plan {
    /// How far the job is when `done` pictures are finished and the draft `index` of the next one
    /// came. An upstream may send fewer drafts than were asked for.
    pub(crate) fn progress(&self, done: usize, index: u64) -> Progress {
        let drafts = self.drafts.max(1);
        let number = index.saturating_add(1).min(drafts);
        let part = number as f32 / (drafts + 1) as f32;
        Progress {
            fraction: Some((done as f32 + part) / self.calls.max(1) as f32),
            queue_position: None,
            note: Some(format!("draft {number} of {drafts}")),
        }
    }
}

/// The fields as texts of a form: a text as it is, everything else as JSON. The usual ones come
/// first.
pub(crate) fn texts(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, String)> {
    let first = FIRST_FIELDS
        .iter()
        .filter_map(|name| fields.get_key_value(*name));
    let others = fields
        .iter()
        .filter(|(name, _)| !FIRST_FIELDS.contains(&name.as_str()));
    first.chain(others).map(|(name, value)| {
        let text = value.as_str().map(str::to_owned);
        (name.as_str(), text.unwrap_or_else(|| value.to_string()))
    })
}

/// The upstream's own name of a request, for whoever asks its support.
pub(crate) fn request_id(answer: &Answer) -> Option<String> {
    let headers = answer.0.headers();
    let id = headers
        .iter()
        .find(|header| header.name == "x-request-id")?;
    Some(cut(&id.value, MAX_REQUEST_ID))
}

fn items(answer: &Value) -> &[Value] {
    let data = answer.get("data").and_then(Value::as_array);
    data.map(Vec::as_slice).unwrap_or_default()
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
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
        asked_size: plan.resized.map(|(asked, _)| asked.to_string()),
        sent_size: plan.resized.map(|(_, sent)| sent.to_string()),
        request_ids: readings
            .iter()
            .filter_map(|reading| reading.request_id.as_deref())
            .collect(),
        notes,
    };
    json!(details).to_string()
}

/// The models of a list, as far as the operator wants them, in the upstream's order.
pub(crate) fn models(answer: &Value, settings: &Settings) -> Result<Vec<Model>, Error> {
    if !answer.get("data").is_some_and(Value::is_array) {
        return Err(Error::protocol("the upstream's list of models has no data"));
    }
    let beginnings = settings.text(LISTED_MODELS);
    let listed = |id: &str| match &beginnings {
        Some(beginnings) => begins(beginnings, Some(id)),
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
pub(crate) mod tests {
    use super::*;
    use crate::settings;

    pub(crate) fn job(model: &str) -> Job {
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

    fn planned(job: &Job, changes: &[(&str, &str)], operation: Operation) -> Plan {
        let options = Options::read(&settings::with(changes), operation).unwrap();
        plan(job, &options, operation).unwrap()
    }

    fn check(job: &Job, changes: &[(&str, &str)], calls: u32, expected: Value) {
        let plan = planned(job, changes, Operation::Generate);
        assert_eq!((json!(plan.fields), plan.calls), (expected, calls));
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
            size: Some(Size::new(1536, 1024)),
            parameters: r#"{"quality": "high", "output_compression": 80}"#.into(),
            ..job("gpt-image-2")
        };
        check(
            &full,
            &[],
            1,
            json!({
                "model": "gpt-image-2", "prompt": "a red fox", "n": 2, "size": "1536x1024",
                "quality": "high", "output_compression": 80,
            }),
        );
    }

    #[test]
    fn the_dialect_of_dall_e_is_a_setting() {
        let body = |model: &str| json!({"model": model, "prompt": "a red fox", "response_format": "b64_json"});
        check(&job("dall-e-3"), &[], 1, body("dall-e-3"));
        let changed = [("response-format-models", "flux, sd")];
        check(&job("sd-turbo"), &changed, 1, body("sd-turbo"));
        let plain = json!({"model": "dall-e-3", "prompt": "a red fox"});
        check(&job("dall-e-3"), &changed, 1, plain);
    }

    #[test]
    fn several_images_of_a_request_that_makes_one_are_several_requests() {
        let three = |model| Job {
            count: 3,
            ..job(model)
        };
        let body = |model: &str| json!({"model": model, "prompt": "a red fox", "response_format": "b64_json"});
        check(&three("dall-e-3"), &[], 3, body("dall-e-3"));
        let ten = [("params", r#"{"n": 10}"#)];
        check(&three("dall-e-3"), &ten, 10, body("dall-e-3"));
        let mut together = body("dall-e-2");
        together["n"] = 3.into();
        check(&three("dall-e-2"), &[], 1, together);
        let streamed = Job {
            parameters: r#"{"stream": true}"#.into(),
            ..three("gpt-image-2")
        };
        let body = json!({"model": "gpt-image-2", "prompt": "a red fox", "stream": true});
        check(&streamed, &[], 3, body);
    }

    #[test]
    fn the_operators_parameters_have_the_last_word() {
        let asked = Job {
            parameters: r#"{"quality": "high", "style": "vivid"}"#.into(),
            size: Some(Size::new(64, 64)),
            ..job("dall-e-3")
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
    fn an_edit_has_parameters_and_a_path_of_its_own() {
        let asked = Job {
            parameters: r#"{"input_fidelity": "high", "quality": "low"}"#.into(),
            count: 2,
            ..job("gpt-image-1.5")
        };
        let changes = [
            ("params", "[1]"),
            ("edit-params", r#"{"user": "x", "extra": [1]}"#),
        ];
        let plan = planned(&asked, &changes, Operation::Edit);
        assert_eq!(plan.path, "/images/edits");
        let texts: Vec<(&str, String)> = texts(&plan.fields).collect();
        let expected = [
            ("model", "gpt-image-1.5"),
            ("prompt", "a red fox"),
            ("n", "2"),
            ("extra", "[1]"),
            ("input_fidelity", "high"),
            ("quality", "low"),
            ("user", "x"),
        ];
        assert_eq!(texts, expected.map(|(name, text)| (name, text.to_owned())));
        assert!(plan.notes.is_empty());

        let newer = Job {
            model: Some("gpt-image-2".into()),
            ..asked
        };
        let plan = planned(&newer, &[], Operation::Edit);
        assert!(!plan.fields.contains_key("input_fidelity"));
        assert_eq!(plan.notes.len(), 1);
        let fixed = [("edit-params", r#"{"input_fidelity": "low"}"#)];
        let plan = planned(&newer, &fixed, Operation::Edit);
        assert_eq!(plan.fields["input_fidelity"], "low");
    }

    #[test]
    fn drafts_are_parts_of_the_way() {
        let asked = |count, partial_images: u64| Job {
            count,
            parameters: json!({"stream": true, "partial_images": partial_images}).to_string(),
            ..job("gpt-image-2")
        };
        let check = |job: &Job, done, index, fraction, note: &str| {
            let progress = planned(job, &[], Operation::Generate).progress(done, index);
            assert_eq!(progress.fraction, Some(fraction));
            assert_eq!(progress.note.as_deref(), Some(note));
        };
        check(&asked(1, 3), 0, 0, 0.25, "draft 1 of 3");
        check(&asked(1, 3), 0, 2, 0.75, "draft 3 of 3");
        check(&asked(2, 1), 1, 0, 0.75, "draft 1 of 1");
        check(&asked(1, 0), 0, u64::MAX, 0.5, "draft 1 of 1");
    }

    fn answer(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_details_are_what_the_upstream_answered() {
        let sized = Job {
            size: Some(Size::new(512, 512)),
            ..job("gpt-image-1.5")
        };
        let plan = planned(&sized, &[], Operation::Generate);
        let read = || {
            let (_, mut reading) = read(&answer(include_str!("../testdata/success.json"))).unwrap();
            reading.request_id = Some("req_1".into());
            reading
        };
        let one = json!({
            "model": "gpt-image-1.5", "size": "1024x1024", "quality": "medium",
            "background": "opaque", "output_format": "png",
            "usage": {"input_tokens": 50, "output_tokens": 50, "total_tokens": 100},
            "asked_size": "512x512", "sent_size": "1024x1024", "request_ids": ["req_1"],
        });
        assert_eq!(answer(&details(&plan, &[read()], &[])), one);
        let notes = ["1 of 3 images came".into()];
        let two = answer(&details(&plan, &[read(), read()], &notes));
        assert_eq!(two["usage"]["total_tokens"], 200);
        assert_eq!(two["notes"], json!(["1 of 3 images came"]));
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
        let all = settings::with(&[("listed-models", "")]);
        let list = answer(include_str!("../testdata/models.json"));
        assert_eq!(models(&list, &all).unwrap().len(), 6);
        assert!(models(&json!({}), &settings::with(&[])).is_err());
    }
}
