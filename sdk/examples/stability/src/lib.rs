//! `stability`: Stable Image Core of Stability AI. An example of an engine with one request.
//!
//! The request is a multipart form, and the response is the image itself. The seed and the reason why the model stopped are in
//! headers of the response. The API makes one image for a request, so a job of several images sends several at the same time.
//!
//! Source: Stability AI's REST API, version 2 beta (<https://platform.stability.ai/docs/api-reference>).

use pinhole_sdk::request::Form;
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Job, MadeImage, Output,
    Parameter, Request, Response, Setting, SettingKind, Settings, Size, Upstream, Verification,
    send_all,
};
use serde_json::{Value, json};

const UPSTREAM: &str = "api";
const BASE_URL: &str = "base-url";
const API_KEY: &str = "api-key";
const PATH: &str = "/v2beta/stable-image/generate/core";

const MAX_COUNT: u32 = 4;
/// The largest seed of the API.
const MAX_SEED: u64 = 4_294_967_294;
/// The aspect ratios of the API.
const ASPECT_RATIOS: [(u32, u32); 9] = [
    (21, 9),
    (16, 9),
    (3, 2),
    (5, 4),
    (1, 1),
    (4, 5),
    (2, 3),
    (9, 16),
    (9, 21),
];
const STYLES: [&str; 5] = [
    "anime",
    "cinematic",
    "digital-art",
    "photographic",
    "pixel-art",
];
/// The response's header with the seed.
const SEED: &str = "seed";
/// The response's header that says whether the safety system has hidden the image.
const FINISH_REASON: &str = "finish-reason";

struct Stability;

impl Engine for Stability {
    fn describe() -> Description {
        Description {
            name: "stability".into(),
            title: "Stability AI".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                negative_prompt: true,
                seed: true,
                max_count: MAX_COUNT,
                ..Abilities::default()
            },
            settings: vec![
                Setting::new(BASE_URL, SettingKind::Url, "Base URL", "URL of the API.")
                    .with_default("https://api.stability.ai")
                    .with_variables(&["STABILITY_BASE_URL"], &[]),
                Setting::new(
                    API_KEY,
                    SettingKind::Secret,
                    "API key",
                    "Sent as a bearer token.",
                )
                .with_variables(&["STABILITY_API_KEY"], &[]),
            ],
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: BASE_URL.into(),
                credentials: vec![Credential::Bearer(API_KEY.into())],
                requests: vec![format!("POST {PATH}"), "GET /v1/user/balance".into()],
                ..Upstream::default()
            }],
            parameters: vec![
                Parameter::choice("style_preset", &STYLES)
                    .with_title("Style", "The style of the image."),
            ],
            ..Description::default()
        }
    }

    fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
        let requests = (0..job.count).map(|index| {
            let request = Request::post(UPSTREAM, PATH).header("accept", "image/*");
            Ok(request.form(form(&job, index)?))
        });
        let requests = requests.collect::<Result<Vec<_>, Error>>()?;
        let images = send_all(requests).into_iter().map(read_image);
        Ok(Output::new(images.collect::<Result<Vec<_>, Error>>()?))
    }

    /// Requests the balance, which needs the key and costs nothing.
    fn verify(_settings: Settings) -> Result<Verification, Error> {
        let balance = Request::get(UPSTREAM, "/v1/user/balance").send()?;
        let balance: Value = balance.success()?.json()?;
        let credits = balance.get("credits").and_then(Value::as_f64);
        let is_empty = credits == Some(0.0);
        let problems = is_empty.then(|| "the account has no credits: buy some".to_owned());
        Ok(Verification {
            problems: problems.into_iter().collect(),
            ..Verification::default()
        })
    }
}

pinhole_sdk::export!(Stability);

/// The form of one image. Each image of a job has a seed of its own.
fn form(job: &Job, index: u32) -> Result<Form<'static>, Error> {
    let mut form = Form::new()
        .text("prompt", &job.prompt)
        .text("output_format", "png");
    if let Some(text) = &job.negative_prompt {
        form = form.text("negative_prompt", text);
    }
    if let Some(size) = job.size {
        form = form.text("aspect_ratio", aspect_ratio(size));
    }
    if let Some(first) = job.seed {
        let seed = first.saturating_add(index.into());
        if seed > MAX_SEED {
            let message = format!("the seed must be at most {MAX_SEED}");
            return Err(Error::invalid("seed", message));
        }
        form = form.text("seed", seed);
    }
    // The host has checked its value.
    if let Some(style) = job.parse_parameters(&[])?.get("style_preset") {
        form = form.text("style_preset", style.as_str().unwrap_or_default());
    }
    Ok(form)
}

/// The nearest aspect ratio of the API. The size itself is the model's choice.
fn aspect_ratio(size: Size) -> String {
    let ratios = ASPECT_RATIOS.map(|(width, height)| Size::new(width, height));
    let nearest = size.nearest(&ratios).unwrap_or(Size::new(1, 1));
    format!("{}:{}", nearest.width, nearest.height)
}

fn read_image(response: Result<Response, Error>) -> Result<MadeImage, Error> {
    let response = response?.success()?;
    let headers = response.0.headers();
    let find = |name: &str| {
        let header = headers.iter().find(|header| header.name == name)?;
        Some(header.value.as_str())
    };
    if find(FINISH_REASON) == Some("CONTENT_FILTERED") {
        let message = "the safety system of Stability AI has hidden the image: change the prompt";
        return Err(Error::new(ErrorKind::Blocked, message));
    }
    let seed = find(SEED).and_then(|text| text.parse::<u64>().ok());
    let details = json!({"finish_reason": find(FINISH_REASON)});
    let image = MadeImage::from(response.image()?).with_seed(seed);
    Ok(image.with_details(details.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aspect_ratio_is_the_nearest_of_the_api() {
        for (width, height, expected) in [
            (1024, 1024, "1:1"),
            (1920, 1080, "16:9"),
            (600, 900, "2:3"),
            (4000, 1000, "21:9"),
        ] {
            assert_eq!(aspect_ratio(Size::new(width, height)), expected);
        }
    }

    #[test]
    fn form_refuses_a_seed_beyond_that_of_the_api() {
        let job = Job {
            seed: Some(MAX_SEED),
            ..Job::default()
        };
        assert!(form(&job, 0).is_ok());
        assert_eq!(form(&job, 1).unwrap_err().field.as_deref(), Some("seed"));
    }
}
