//! The request that a job needs, and how often it is sent.

use pinhole_sdk::parameters::merge_patch_fields;
use pinhole_sdk::{Error, Job, Progress, Size};
use serde_json::{Map, Value, json};

use super::{MAX_COUNT, parameters, prompt, sizes};
use crate::settings::{Operation, Options};

/// The fields that every upstream knows. They are the first fields of a form.
const FIRST_FIELDS: [&str; 4] = ["model", "prompt", "n", "size"];

/// The API that a request is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ImageApi {
    Images,
    ChatCompletions,
}

#[derive(Debug)]
pub(crate) struct RequestPlan {
    pub(crate) api: ImageApi,
    pub(crate) upstream: &'static str,
    pub(crate) path: String,
    /// The JSON body, or the text fields of an edit's form.
    pub(crate) fields: Map<String, Value>,
    pub(crate) requested_images: u32,
    /// At least `requested_images`. Larger if the operator's parameters ask for more.
    pub(crate) max_images: u32,
    /// How often the request is sent: 1, unless a request returns only one of several images.
    pub(crate) requests: u32,
    pub(crate) model: Option<String>,
    /// What a user should know about the request itself.
    pub(crate) warnings: Vec<String>,
    /// Set if the requested size is replaced by another one.
    pub(super) size_change: Option<SizeChange>,
    /// Partial images that the request asks for.
    pub(super) partial_images: u64,
}

#[derive(Debug)]
pub(super) struct SizeChange {
    pub(super) requested: Size,
    pub(super) sent: Size,
}

/// The request that a job needs. It holds only fields that are set.
///
/// The job's parameters are merged into it, then the operator's. If the operator's parameters name
/// a model, that model decides everything that depends on a model.
pub(crate) fn plan(
    job: &Job,
    options: &Options,
    operation: Operation,
) -> Result<RequestPlan, Error> {
    let mut job_parameters = parameters::job_parameters(job, options)?;
    let model = choose_model(job, &options.params);
    let requested_size = job.size.filter(|_| !options.params.contains_key("size"));
    let sent_size = requested_size
        .map(|size| sizes::fit(size, &options.sizes, model.as_deref()))
        .transpose()?;
    let mut warnings = Vec::new();
    let fidelity = "input_fidelity";
    if !options.accepts_input_fidelity(model.as_deref())
        && job_parameters.remove(fidelity).is_some()
    {
        warnings.push(format!(
            "{fidelity} was not sent: this model does not support it"
        ));
    }
    let mut fields = job_fields(job, options, model.as_deref(), sent_size)?;
    merge_patch_fields(&mut fields, job_parameters);
    merge_patch_fields(&mut fields, options.params.clone());

    let images = fields.get("n").and_then(Value::as_u64).unwrap_or(1);
    let images = u32::try_from(images).map_or(MAX_COUNT, |n| n.clamp(1, MAX_COUNT));
    // The events of a stream do not identify the image they belong to.
    let is_stream = fields.get("stream") == Some(&Value::Bool(true));
    let has_one_image = is_stream || options.creates_single_image(model.as_deref());
    if has_one_image {
        fields.remove("n");
    }
    let partial_images = fields.get("partial_images").and_then(Value::as_u64);
    let path = match operation {
        Operation::Generate => "/images/generations",
        Operation::Edit => "/images/edits",
    };
    Ok(RequestPlan {
        api: ImageApi::Images,
        upstream: options.endpoint.upstream,
        path: options.endpoint.request_path(path),
        fields,
        requested_images: job.count,
        max_images: job.count.max(images),
        requests: if has_one_image { images } else { 1 },
        model,
        warnings,
        size_change: requested_size
            .zip(sent_size)
            .filter(|(requested, sent)| requested != sent)
            .map(|(requested, sent)| SizeChange { requested, sent }),
        partial_images: partial_images.unwrap_or(0),
    })
}

/// The model of the operator's parameters or else of the job. `null` in the parameters removes it.
pub(crate) fn choose_model(job: &Job, operator_parameters: &Map<String, Value>) -> Option<String> {
    match operator_parameters.get("model") {
        Some(model) => model.as_str().map(str::to_owned),
        None => job.model.clone().filter(|model| !model.is_empty()),
    }
}

/// The fields that the job's own values set.
fn job_fields(
    job: &Job,
    options: &Options,
    model: Option<&str>,
    size: Option<Size>,
) -> Result<Map<String, Value>, Error> {
    let mut fields = Map::new();
    if let Some(model) = model {
        fields.insert("model".into(), json!(model));
    }
    let prompt = prompt::remove_server_options(&job.prompt)?;
    fields.insert("prompt".into(), json!(prompt));
    if job.count > 1 {
        fields.insert("n".into(), json!(job.count));
    }
    if let Some(size) = size {
        fields.insert("size".into(), json!(size.to_string()));
    }
    if options.accepts_response_format(model) {
        fields.insert("response_format".into(), json!("b64_json"));
    }
    Ok(fields)
}

impl RequestPlan {
    /// The progress after `finished_images` images and the partial image `index` of the next one.
    /// An upstream may send fewer partial images than requested.
    pub(crate) fn progress(&self, finished_images: usize, index: u64) -> Progress {
        let drafts = self.partial_images.max(1);
        let number = index.saturating_add(1).min(drafts);
        let image_fraction = number as f32 / (drafts + 1) as f32;
        let images = finished_images as f32 + image_fraction;
        Progress {
            fraction: Some(images / self.requests.max(1) as f32),
            queue_position: None,
            note: Some(format!("draft {number} of {drafts}")),
        }
    }
}

/// The fields as text fields of a form, with [`FIRST_FIELDS`] first. Values other than strings are
/// written as JSON.
pub(crate) fn form_fields(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, String)> {
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

#[cfg(test)]
pub(in crate::wire) mod tests {
    use super::*;
    use crate::settings::settings_with;

    pub(in crate::wire) fn job(model: &str) -> Job {
        Job {
            prompt: "a red fox".into(),
            model: Some(model.into()).filter(|model: &String| !model.is_empty()),
            ..Job::default()
        }
    }

    pub(in crate::wire) fn plan_with(
        job: &Job,
        changes: &[(&str, &str)],
        operation: Operation,
    ) -> RequestPlan {
        let options = Options::from_settings(&settings_with(changes), operation).unwrap();
        plan(job, &options, operation).unwrap()
    }

    fn check(job: &Job, changes: &[(&str, &str)], requests: u32, fields: Value) {
        let plan = plan_with(job, changes, Operation::Generate);
        assert_eq!((json!(plan.fields), plan.requests), (fields, requests));
    }

    /// The fields of a request for image bytes.
    fn bytes_fields(model: &str) -> Value {
        json!({"model": model, "prompt": "a red fox", "response_format": "b64_json"})
    }

    #[test]
    fn plan_sends_only_set_fields() {
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
    fn plan_requests_bytes_from_models_of_setting() {
        check(&job("dall-e-3"), &[], 1, bytes_fields("dall-e-3"));
        let flux_and_sd = [("response-format-models", "flux, sd")];
        check(&job("sd-turbo"), &flux_and_sd, 1, bytes_fields("sd-turbo"));
        let without_format = json!({"model": "dall-e-3", "prompt": "a red fox"});
        check(&job("dall-e-3"), &flux_and_sd, 1, without_format);
    }

    #[test]
    fn plan_repeats_request_of_single_image_model() {
        let three = |model| Job {
            count: 3,
            ..job(model)
        };
        check(&three("dall-e-3"), &[], 3, bytes_fields("dall-e-3"));
        let ten = [("params", r#"{"n": 10}"#)];
        check(&three("dall-e-3"), &ten, 10, bytes_fields("dall-e-3"));
        let mut one_request = bytes_fields("dall-e-2");
        one_request["n"] = 3.into();
        check(&three("dall-e-2"), &[], 1, one_request);
        let streamed = Job {
            parameters: r#"{"stream": true}"#.into(),
            ..three("gpt-image-2")
        };
        let stream_fields = json!({"model": "gpt-image-2", "prompt": "a red fox", "stream": true});
        check(&streamed, &[], 3, stream_fields);
    }

    #[test]
    fn plan_lets_operator_parameters_override_job() {
        let job = Job {
            parameters: r#"{"quality": "high", "style": "vivid"}"#.into(),
            size: Some(Size::new(64, 64)),
            ..job("dall-e-3")
        };
        let params = r#"{"model": "gpt-image-1", "quality": "low", "n": 2, "style": null}"#;
        check(
            &job,
            &[("params", params)],
            1,
            json!({
                "model": "gpt-image-1", "prompt": "a red fox", "quality": "low", "n": 2,
                "size": "1024x1024",
            }),
        );
        let size_params = r#"{"size": "auto", "response_format": null}"#;
        check(
            &job,
            &[("params", size_params)],
            1,
            json!({
                "model": "dall-e-3", "prompt": "a red fox", "quality": "high",
                "style": "vivid", "size": "auto",
            }),
        );
    }

    #[test]
    fn plan_uses_path_and_parameters_of_edits() {
        let older = Job {
            parameters: r#"{"input_fidelity": "high", "quality": "low"}"#.into(),
            count: 2,
            ..job("gpt-image-1.5")
        };
        let changes = [
            ("params", "[1]"),
            ("edit-params", r#"{"user": "x", "extra": [1]}"#),
        ];
        let supported = plan_with(&older, &changes, Operation::Edit);
        assert_eq!(supported.path, "/images/edits");
        let fields: Vec<(&str, String)> = form_fields(&supported.fields).collect();
        let expected = [
            ("model", "gpt-image-1.5"),
            ("prompt", "a red fox"),
            ("n", "2"),
            ("extra", "[1]"),
            ("input_fidelity", "high"),
            ("quality", "low"),
            ("user", "x"),
        ];
        assert_eq!(fields, expected.map(|(name, text)| (name, text.to_owned())));
        assert!(supported.warnings.is_empty());

        let newer = Job {
            model: Some("gpt-image-2".into()),
            ..older
        };
        let unsupported = plan_with(&newer, &[], Operation::Edit);
        assert!(!unsupported.fields.contains_key("input_fidelity"));
        assert_eq!(unsupported.warnings.len(), 1);
        let low_fidelity = [("edit-params", r#"{"input_fidelity": "low"}"#)];
        let forced = plan_with(&newer, &low_fidelity, Operation::Edit);
        assert_eq!(forced.fields["input_fidelity"], "low");
    }

    #[test]
    fn progress_counts_partial_images() {
        let stream = |count, partial_images: u64| Job {
            count,
            parameters: json!({"stream": true, "partial_images": partial_images}).to_string(),
            ..job("gpt-image-2")
        };
        let check = |job: &Job, finished_images, index, fraction, note: &str| {
            let plan = plan_with(job, &[], Operation::Generate);
            let progress = plan.progress(finished_images, index);
            assert_eq!(progress.fraction, Some(fraction));
            assert_eq!(progress.note.as_deref(), Some(note));
        };
        check(&stream(1, 3), 0, 0, 0.25, "draft 1 of 3");
        check(&stream(1, 3), 0, 2, 0.75, "draft 3 of 3");
        check(&stream(2, 1), 1, 0, 0.75, "draft 1 of 1");
        check(&stream(1, 0), 0, u64::MAX, 0.5, "draft 1 of 1");
    }
}
