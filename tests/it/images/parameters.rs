//! Every parameter that the documentation names is used by an engine, or refused by name.

use pinhole_tests::{FakeUpstream, TestServer};
use serde_json::{Value, json};

use super::GENERATIONS;

/// Documented parameters, with values that are not OpenAI's defaults.
///
/// Source: docs/reference/openai.md
fn parameters() -> [(&'static str, Value); 7] {
    [
        ("background", json!("transparent")),
        ("input_fidelity", json!("high")),
        ("moderation", json!("low")),
        ("output_compression", json!(57)),
        ("output_format", json!("webp")),
        ("quality", json!("high")),
        ("style", json!("natural")),
    ]
}

/// Engines, the variable with their upstream's URL, and the parameters that they honor themselves.
const ENGINES: [(&str, &str, &[&str]); 5] = [
    ("automatic1111", "AUTOMATIC1111_BASE_URL", &[]),
    ("comfyui", "COMFYUI_BASE_URL", &[]),
    ("gemini", "IMAGES_GEMINI_API_BASE_URL", &[]),
    ("openai", "IMAGES_OPENAI_API_BASE_URL", &[]),
    ("sketch", "SKETCH_HAS_NO_URL", &["output_format"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn documented_parameter_is_used_or_refused() {
    let upstream = FakeUpstream::json(400, json!({"error": {"message": "no"}})).await;
    for (engine, variable, honored) in ENGINES {
        let url = upstream.url();
        let server = TestServer::with_engine(engine, &[(variable, url.as_str())]).await;
        for (name, value) in parameters() {
            let before = upstream.requests().len();
            let body =
                json!({"prompt": "a fox", "model": "gpt-image-1", "size": "64x64", name: value});
            let (status, response) = server.post_json(GENERATIONS, &body).await;
            let requests = upstream.requests().split_off(before);
            let case = format!("{engine} {name}: {status} {response}");
            if honored.contains(&name) {
                assert_eq!((status, &response[name]), (200, &value), "{case}");
                continue;
            }
            let is_sent = requests.iter().any(|request| {
                let text = String::from_utf8_lossy(&request.body);
                request.line().starts_with("POST") && text.contains(&value.to_string())
            });
            let is_refused = status == 400 && response["error"]["param"] == name;
            assert!(is_sent || (is_refused && requests.is_empty()), "{case}");
        }
    }
}
