//! Images by chat completions: the request, and the images of its response.
//!
//! Source: OpenRouter's documentation of image generation.

use pinhole_sdk::parameters::merge_patch_fields;
use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ErrorKind, ImageLocation, Job, Size};
use serde_json::{Map, Value, json};

use super::location::locate_images;
use super::plan::{ImageApi, RequestPlan, choose_model};
use super::response::{ImageAttributes, ResponseDetails};
use super::usage::Usage;
use super::{MAX_COUNT, error, parameters, prompt, string_at};
use crate::settings::{IMAGE_API, Options};

/// Bytes of a model's text in a message.
const MAX_TEXT_BYTES: usize = 500;
/// Parts of one message that are read.
const MAX_PARTS: usize = 100;

/// The aspect ratios of OpenRouter's image models, as their smallest sizes.
const RATIOS: [Size; 10] = [
    Size::new(1, 1),
    Size::new(2, 3),
    Size::new(3, 2),
    Size::new(3, 4),
    Size::new(4, 3),
    Size::new(4, 5),
    Size::new(5, 4),
    Size::new(9, 16),
    Size::new(16, 9),
    Size::new(21, 9),
];
/// Resolutions above the default, and the least longer side in pixels that requests them.
const RESOLUTIONS: [(u32, &str); 2] = [(3072, "4K"), (1536, "2K")];

/// Parameters of the images API with the values that mean its defaults. They are not sent.
const DEFAULTS: [(&str, &[&str]); 7] = [
    ("background", &["auto"]),
    ("input_fidelity", &["low"]),
    ("moderation", &["auto"]),
    ("output_compression", &["100"]),
    ("output_format", &["png"]),
    ("quality", &["auto", "standard"]),
    ("style", &["vivid"]),
];
/// Parameters of a stream. A chat completion has no previews, so it is not requested as a stream.
const STREAM: [&str; 2] = ["stream", "partial_images"];

/// The request that a job needs: it returns one image, and is sent once for each.
///
/// The value at each [`source_pointer`] is null. The operator's parameters come last, as in other requests.
pub(crate) fn plan_chat(
    job: &Job,
    options: &Options,
    source_count: usize,
) -> Result<RequestPlan, Error> {
    let mut job_parameters = parameters::job_parameters(job, options)?;
    job_parameters.retain(|name, value| !is_default(name, value));
    let is_image_parameter =
        |name: &&String| DEFAULTS.iter().any(|(known, _)| known == &name.as_str());
    if let Some(name) = job_parameters.keys().find(is_image_parameter) {
        let message = format!("{name} cannot be sent through chat completions: leave it out");
        return Err(Error::invalid(name.as_str(), message));
    }
    let model = choose_model(job, &options.params);
    let mut fields = Map::new();
    if let Some(model) = &model {
        fields.insert("model".into(), json!(model));
    }
    let text = prompt::remove_server_options(&job.prompt)?;
    fields.insert("messages".into(), messages(&text, source_count));
    fields.insert("modalities".into(), json!(["image", "text"]));
    if let Some(size) = job.size {
        fields.insert("image_config".into(), image_config(size));
    }
    merge_patch_fields(&mut fields, job_parameters);
    merge_patch_fields(&mut fields, options.params.clone());
    // `size` is for the images API, and null removes it there.
    for name in STREAM.iter().chain(&["size", "response_format"]) {
        fields.remove(*name);
    }
    let count = fields.remove("n").and_then(|count| count.as_u64());
    let count = count.map_or(job.count, |count| u32::try_from(count).unwrap_or(MAX_COUNT));
    let count = count.clamp(1, MAX_COUNT);
    Ok(RequestPlan {
        api: ImageApi::ChatCompletions,
        upstream: options.endpoint.upstream,
        path: options.endpoint.request_path("/chat/completions"),
        fields,
        requested_images: job.count,
        max_images: job.count.max(count),
        requests: count,
        model,
        warnings: Vec::new(),
        size_change: None,
        partial_images: 0,
    })
}

/// The pointer of a source image in the request.
pub(crate) fn source_pointer(index: usize) -> String {
    format!("/messages/0/content/{}/image_url/url", index + 1)
}

fn messages(text: &str, source_count: usize) -> Value {
    if source_count == 0 {
        return json!([{"role": "user", "content": text}]);
    }
    let image = json!({"type": "image_url", "image_url": {"url": null}});
    let mut content = vec![json!({"type": "text", "text": text})];
    content.extend(vec![image; source_count]);
    json!([{"role": "user", "content": content}])
}

fn image_config(size: Size) -> Value {
    let mut config = Map::new();
    if let Some(Size { width, height }) = size.nearest(&RATIOS) {
        config.insert("aspect_ratio".into(), json!(format!("{width}:{height}")));
    }
    let long_side = size.width.max(size.height);
    let resolution = RESOLUTIONS.iter().find(|(side, _)| long_side > *side);
    if let Some((_, name)) = resolution {
        config.insert("image_size".into(), json!(name));
    }
    Value::Object(config)
}

fn is_default(name: &str, value: &Value) -> bool {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let is_known = |(known, values): &(&str, &[&str])| {
        *known == name && (value.is_null() || text == "auto" || values.contains(&text.as_str()))
    };
    STREAM.contains(&name) || DEFAULTS.iter().any(is_known)
}

/// Locates the images of a completion. One without an image is an error that names what came instead.
pub(crate) fn parse_completion(
    body: &Value,
) -> Result<(Vec<ImageLocation>, ResponseDetails), Error> {
    let choices = items(body.get("choices"));
    let locations = match body.get("choices") {
        Some(list) => locate_images("/choices", list),
        None => Vec::new(),
    };
    if locations.is_empty() {
        return Err(missing_image_error(body, choices));
    }
    let details = ResponseDetails {
        revised_prompt: None,
        request_id: None,
        attributes: ImageAttributes::default(),
        usage: body.get("usage").and_then(Usage::from_completion),
    };
    Ok((locations, details))
}

fn items(list: Option<&Value>) -> &[Value] {
    let items = list
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    items.get(..MAX_PARTS).unwrap_or(items)
}

fn missing_image_error(body: &Value, choices: &[Value]) -> Error {
    let is_error = |it: &Value| it.get("error").is_some_and(|error| !error.is_null());
    if let Some(failed) = [body].into_iter().chain(choices).find(|it| is_error(it)) {
        return error::error_in_success(failed, None);
    }
    let choice = choices.first().unwrap_or(&Value::Null);
    let message = choice.get("message").unwrap_or(&Value::Null);
    let quoted = |text: String| format!(": {:?}", truncate(text.trim(), MAX_TEXT_BYTES));
    if let Some(refusal) = string_at(message, "refusal") {
        let text = quoted(refusal.to_owned());
        return Error::new(
            ErrorKind::Blocked,
            format!("the model refused the prompt{text}"),
        );
    }
    let text = message_text(message).map(quoted).unwrap_or_default();
    let reasons = ["finish_reason", "native_finish_reason"];
    let mut reasons = reasons.iter().filter_map(|key| string_at(choice, key));
    if reasons.any(is_filter) {
        return Error::new(
            ErrorKind::Blocked,
            format!("the upstream's content filter blocked the image{text}"),
        );
    }
    if text.is_empty() {
        return Error::protocol("the upstream's completion has neither an image nor a text");
    }
    Error::protocol(format!(
        "the model returned text instead of an image{text}. Choose a model that makes images, or \
         change the setting {IMAGE_API}"
    ))
}

/// Does a finish reason mean a content filter? OpenRouter's is `content_filter`; others are Google's.
fn is_filter(reason: &str) -> bool {
    let lower_case = reason.to_lowercase();
    [
        "content_filter",
        "safety",
        "prohibited",
        "blocklist",
        "recitation",
    ]
    .iter()
    .any(|part| lower_case.contains(part))
}

/// The text of a message's content.
fn message_text(message: &Value) -> Option<String> {
    if let Some(text) = string_at(message, "content") {
        return Some(text.to_owned());
    }
    let parts = items(message.get("content")).iter();
    let texts: Vec<&str> = parts.filter_map(|part| string_at(part, "text")).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Operation, settings_with};
    use crate::wire::plan::tests::job;

    fn plan_with(
        job: &Job,
        changes: &[(&str, &str)],
        sources: usize,
    ) -> Result<RequestPlan, Error> {
        let options = Options::from_settings(&settings_with(changes), Operation::Generate)?;
        plan_chat(job, &options, sources)
    }

    #[test]
    fn plan_chat_sends_prompt_and_modalities() {
        let plan = plan_with(&job("google/x-image"), &[], 0).unwrap();
        assert_eq!(plan.path, "/chat/completions");
        assert_eq!(
            json!(plan.fields),
            json!({
                "model": "google/x-image", "modalities": ["image", "text"],
                "messages": [{"role": "user", "content": "a red fox"}],
            })
        );
        let full = Job {
            count: 3,
            size: Some(Size::new(2048, 1152)),
            parameters: json!({
                "quality": "auto", "output_format": "png", "stream": true, "partial_images": 2,
                "output_compression": 100, "style": null, "user": "u",
            })
            .to_string(),
            ..job("m")
        };
        let params = [(
            "params",
            r#"{"size": null, "temperature": 0, "response_format": "x"}"#,
        )];
        let full_plan = plan_with(&full, &params, 2).unwrap();
        assert_eq!((full_plan.requests, full_plan.max_images), (3, 3));
        let image = json!({"type": "image_url", "image_url": {"url": null}});
        let text = json!({"type": "text", "text": "a red fox"});
        assert_eq!(
            json!(full_plan.fields),
            json!({
                "model": "m", "modalities": ["image", "text"], "temperature": 0, "user": "u",
                "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
                "messages": [{"role": "user", "content": [text, image, image]}],
            })
        );
        for index in 0..2 {
            let fields = json!(full_plan.fields);
            assert_eq!(fields.pointer(&source_pointer(index)), Some(&Value::Null));
        }
    }

    #[test]
    fn plan_chat_refuses_parameters_of_images_api() {
        for (name, value) in [
            ("quality", json!("high")),
            ("background", json!("transparent")),
            ("output_format", json!("webp")),
            ("output_compression", json!(50)),
        ] {
            let job = Job {
                parameters: json!({name: value}).to_string(),
                ..job("m")
            };
            let error = plan_with(&job, &[], 0).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(name));
        }
    }

    #[test]
    fn parse_completion_locates_images_of_every_form() {
        let data = "data:image/png;base64,AA";
        let body = json!({
            "choices": [
                {"message": {"images": [
                    {"type": "image_url", "image_url": {"url": data}},
                    {"image_url": data},
                    {"image_url": {"url": "https://x.example/a.png"}},
                    {"b64_json": "AA"},
                ]}},
                {"message": {"content": [
                    {"type": "text", "text": "Here."},
                    {"type": "image_url", "image_url": {"url": data}},
                ]}},
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "cost": 0.5},
        });
        let (locations, details) = parse_completion(&body).unwrap();
        let pointer = |pointer: &str| ImageLocation::Pointer(pointer.into());
        let images = "/choices/0/message/images";
        assert_eq!(
            locations,
            [
                pointer(&format!("{images}/0/image_url/url")),
                pointer(&format!("{images}/1/image_url")),
                ImageLocation::Url(format!("{images}/2/image_url/url")),
                pointer(&format!("{images}/3/b64_json")),
                pointer("/choices/1/message/content/1/image_url/url"),
            ]
        );
        let usage = json!(details.usage);
        let expected =
            json!({"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, "cost": 0.5});
        assert_eq!(usage, expected);
    }

    #[test]
    fn parse_completion_names_what_came_instead_of_an_image() {
        use ErrorKind::{Blocked, Protocol, Upstream};
        let check = |body: Value, kind: ErrorKind, message: &str| {
            let error = parse_completion(&body).unwrap_err();
            assert_eq!(error.kind, kind, "{body}");
            assert!(error.message.contains(message), "{}", error.message);
        };
        let choice = |message: Value| json!({"choices": [{"message": message}]});
        let text = choice(json!({"content": "I can only write."}));
        check(
            text,
            Protocol,
            "text instead of an image: \"I can only write.\"",
        );
        let parts = choice(json!({"content": [{"type": "text", "text": "No"}], "images": []}));
        check(parts, Protocol, "text instead of an image: \"No\"");
        check(
            choice(json!({"refusal": "Not this."})),
            Blocked,
            "Not this.",
        );
        let filtered =
            json!({"choices": [{"native_finish_reason": "IMAGE_SAFETY", "message": {}}]});
        check(filtered, Blocked, "content filter");
        let failed = json!({"choices": [{"error": {"code": 502, "message": "Provider failed."}}]});
        check(failed, Upstream, "Provider failed.");
        check(json!({"error": {"message": "Oh."}}), Upstream, "Oh.");
        for body in [
            json!({}),
            json!([]),
            json!({"choices": [5]}),
            choice(json!({"images": [{}, 5]})),
        ] {
            check(body, Protocol, "neither an image nor a text");
        }
    }
}
