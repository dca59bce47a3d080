//! An engine for an images API that has `POST /v1/images`. Change it to the API that you have.

use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, Job, Output, Request, Setting, SettingKind,
    Settings, Upstream,
};
use serde_json::{Value, json};

const DEFAULT_BASE_URL: &str = "https://images.example.com";
const MAX_COUNT: u32 = 4;

struct ExampleApi;

impl Engine for ExampleApi {
    fn describe() -> Description {
        Description {
            name: "my-engine".into(),
            title: "My engine".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                seed: true,
                max_count: MAX_COUNT,
                ..Abilities::default()
            },
            settings: vec![
                Setting::new("base-url", SettingKind::Url, "Base URL", "URL of the API.")
                    .with_default(DEFAULT_BASE_URL)
                    .with_variables(&["MY_ENGINE_BASE_URL"], &[]),
                Setting::new("api-key", SettingKind::Secret, "API key", "Sent as a bearer token.")
                    .with_variables(&["MY_ENGINE_API_KEY"], &[]),
            ],
            upstreams: vec![Upstream {
                name: "api".into(),
                base_url: "base-url".into(),
                credentials: vec![Credential::Bearer("api-key".into())],
                requests: vec!["POST /v1/images".into()],
                ..Upstream::default()
            }],
            ..Description::default()
        }
    }

    fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
        let response = Request::post("api", "/v1/images")
            .json(&request_body(&job))?
            .send()?
            .success()?;
        // The host holds the images. The engine sees the JSON, in which long strings are cut.
        let document = response.document()?;
        let body: Value = document.parse()?;
        let count = body["data"].as_array().map_or(0, Vec::len);
        let images: Result<Vec<_>, _> = (0..count)
            .map(|index| document.image(&format!("/data/{index}/b64_json")))
            .collect();
        Ok(Output::new(images?))
    }
}

/// The request's JSON: only what the job sets.
fn request_body(job: &Job) -> Value {
    let mut body = json!({"prompt": job.prompt, "n": job.count});
    if let Some(seed) = job.seed {
        body["seed"] = seed.into();
    }
    if let Some(size) = job.size {
        body["size"] = format!("{}x{}", size.width, size.height).into();
    }
    body
}

pinhole_sdk::export!(ExampleApi);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_body_has_only_what_the_job_sets() {
        let job = Job {
            prompt: "a fox".into(),
            seed: Some(7),
            ..Job::default()
        };
        assert_eq!(request_body(&job), json!({"prompt": "a fox", "n": 1, "seed": 7}));
    }
}
