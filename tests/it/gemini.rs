//! The engine `gemini`, as far as its cases cannot cover it: the order of concurrent responses, and the debug output of
//! the host.

use pinhole_tests::{EngineFixture, FakeResponse, gif};
use serde_json::{Value, json};

/// Not in the form of Google's keys, so that no pattern can recognize it.
const KEY: &str = "open-sesame-2846";

/// A server with an upstream at `/v1beta` and a model.
async fn start() -> EngineFixture {
    let variables = [
        ("IMAGE_GENERATION_MODEL", "gemini-3.1-flash-image"),
        ("IMAGES_GEMINI_API_BASE_URL", "{upstream}/v1beta"),
        ("IMAGES_GEMINI_API_KEY", "{secret}"),
    ];
    EngineFixture::start("gemini", KEY, &variables).await
}

/// A response with one image.
fn image_response(bytes: &[u8]) -> FakeResponse {
    let data = base64_simd::STANDARD.encode_to_string(bytes);
    let part = json!({"inlineData": {"mimeType": "image/gif", "data": data}});
    FakeResponse::json(
        200,
        &json!({"candidates": [{"content": {"parts": [part]}}]}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_in_the_order_of_their_seeds() {
    let fixture = start().await;
    let body = json!({"prompt": "a red fox", "n": 3, "seed": 40});
    // Responses are in the order of the requests, whose order of arrival is not defined.
    let responses = [1, 2, 3].map(|width| image_response(&gif(width)));
    let exchange = fixture.generate(responses, &body).await;
    let seed = |sent: Value| sent["generationConfig"]["seed"].as_u64().unwrap();
    let seeds: Vec<u64> = exchange
        .requests
        .iter()
        .map(|request| seed(request.json()))
        .collect();
    let expected: Vec<Vec<u8>> = [40, 41, 42]
        .iter()
        .map(|wanted| seeds.iter().position(|other| other == wanted).unwrap())
        .map(|index| gif(u8::try_from(index + 1).unwrap()))
        .collect();
    assert_eq!(exchange.images(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_debug_output_omits_the_key() {
    let fixture = start().await;
    let snapshot = fixture.server.app.jobs.snapshot();
    let engine = snapshot.binding("gemini").unwrap();
    let settings = engine.generate_settings().unwrap();
    let described = format!(
        "{:?} {:?} {:?}",
        settings.settings.values(),
        engine.component.description,
        settings.upstreams,
    );
    assert!(described.contains("endpoint-method") && described.contains("Destination("));
    assert!(!described.contains(KEY), "{described}");
    assert!(fixture.upstream.requests().is_empty());
}
