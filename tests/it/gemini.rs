//! The engine `gemini`, as far as a conformance case cannot say it: the order of what came side by
//! side, and what the host shows of the engine.

use pinhole_tests::{EngineFixture, FakeResponse, gif};
use serde_json::{Value, json};

/// Not in the shape of Google's keys, so that nothing recognises it by its looks.
const KEY: &str = "open-sesame-2846";

/// A stage with an upstream at `/v1beta` and a model.
async fn stage() -> EngineFixture {
    let variables = [
        ("IMAGE_GENERATION_MODEL", "gemini-3.1-flash-image"),
        ("IMAGES_GEMINI_API_BASE_URL", "{upstream}/v1beta"),
        ("IMAGES_GEMINI_API_KEY", "{secret}"),
    ];
    EngineFixture::start("gemini", KEY, &variables).await
}

/// An answer with one picture.
fn picture(bytes: &[u8]) -> FakeResponse {
    let data = base64_simd::STANDARD.encode_to_string(bytes);
    let part = json!({"inlineData": {"mimeType": "image/gif", "data": data}});
    FakeResponse::json(
        200,
        &json!({"candidates": [{"content": {"parts": [part]}}]}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pictures_come_in_the_order_of_their_seeds() {
    let stage = stage().await;
    let asked = json!({"prompt": "a red fox", "n": 3, "seed": 40});
    // Whichever request gets which: the pictures come as the requests were planned.
    let answers = [1, 2, 3].map(|width| picture(&gif(width)));
    let played = stage.generate(answers, &asked).await;
    let seed = |body: Value| body["generationConfig"]["seed"].as_u64().unwrap();
    let arrived: Vec<u64> = played
        .requests
        .iter()
        .map(|seen| seed(seen.json()))
        .collect();
    let expected: Vec<Vec<u8>> = [40, 41, 42]
        .iter()
        .map(|seed| arrived.iter().position(|other| other == seed).unwrap())
        .map(|place| gif(u8::try_from(place + 1).unwrap()))
        .collect();
    assert_eq!(played.images(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_what_describes_the_engine() {
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
