//! The engine `gemini`, as far as its cases cannot cover it: the order of concurrent responses, and the debug output of
//! the host.

use pinhole_tests::{EngineFixture, FakeResponse, gif};
use serde_json::{Value, json};

/// Not in the form of Google's keys, so that no pattern can recognize it.
const KEY: &str = "open-sesame-2846";

/// A server with an upstream at `/v1beta` and a model.
async fn stage() -> EngineFixture {
    let variables = [
        ("IMAGE_GENERATION_MODEL", "gemini-3.1-flash-image"),
        ("IMAGES_GEMINI_API_BASE_URL", "{upstream}/v1beta"),
        ("IMAGES_GEMINI_API_KEY", "{secret}"),
    ];
    EngineFixture::start("gemini", KEY, &variables).await
}

/// A response with one image.
fn picture(bytes: &[u8]) -> FakeResponse {
    let data = base64_simd::STANDARD.encode_to_string(bytes);
    let part = json!({"inlineData": {"mimeType": "image/gif", "data": data}});
    FakeResponse::json(
        200,
        &json!({"candidates": [{"content": {"parts": [part]}}]}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_in_the_order_of_their_seeds() {
    let stage = stage().await;
    let asked = json!({"prompt": "a red fox", "n": 3, "seed": 40});
    // Responses are in the order of the requests, whose order of arrival is not defined.
    let answers = [1, 2, 3].map(|width| picture(&gif(width)));
    let played = stage.generate(answers, &asked).await;
    let seed = |body: Value| body["generationConfig"]["seed"].as_u64().unwrap();
    let arrived: Vec<u64> = played
        .requests
        .iter()
        .map(|request| seed(request.json()))
        .collect();
    let expected: Vec<Vec<u8>> = [40, 41, 42]
        .iter()
        .map(|seed| arrived.iter().position(|other| other == seed).unwrap())
        .map(|place| gif(u8::try_from(place + 1).unwrap()))
        .collect();
    assert_eq!(played.images(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_debug_output_omits_the_key() {
    let stage = stage().await;
    let current = stage.server.app.jobs.snapshot();
    let engine = current.binding("gemini").unwrap();
    let bound = engine.generate_settings().unwrap();
    let described = format!(
        "{:?} {:?} {:?}",
        bound.settings.values(),
        engine.component.description,
        bound.upstreams,
    );
    assert!(described.contains("endpoint-method") && described.contains("Destination("));
    assert!(!described.contains(KEY), "{described}");
    assert!(stage.upstream.requests().is_empty());
}
