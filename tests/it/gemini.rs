//! The engine `gemini`: what its upstream is asked, and what its answers become.

/// A request and its reply as the official client recorded them. It stands above the module that
/// uses it too.
macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/data/gemini/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

mod refused;

use pinhole_tests::{Answer, PIXEL, Played, Stage, gif, pixel_base64};
use serde_json::{Value, json};

/// Not in the shape of Google's keys, so that nothing recognises it by its looks.
const KEY: &str = "open-sesame-2846";
const MODEL: &str = "gemini-3.1-flash-image";

/// A stage with an upstream at `/v1beta` and a model, unless the variables say otherwise.
async fn stage(variables: &[(&str, &str)]) -> Stage {
    let mut all = vec![
        ("IMAGE_GENERATION_MODEL", MODEL),
        ("IMAGES_GEMINI_API_BASE_URL", "{upstream}/v1beta"),
        ("IMAGES_GEMINI_API_KEY", "{secret}"),
    ];
    all.extend(variables);
    Stage::start("gemini", KEY, &all).await
}

/// A stage whose model is asked by `:predict`.
async fn predict_stage() -> Stage {
    stage(&[
        ("IMAGES_GEMINI_ENDPOINT_METHOD", "predict"),
        ("IMAGE_GENERATION_MODEL", "imagen-4.0-generate-001"),
    ])
    .await
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn inline(bytes: &[u8]) -> Value {
    json!({"inlineData": {"mimeType": "image/png", "data": base64(bytes)}})
}

/// An answer with one candidate of these parts.
fn parts(parts: &Value) -> Answer {
    let content = json!({"role": "model", "parts": parts});
    let candidate = json!({"index": 0, "finishReason": "STOP", "content": content});
    Answer::json(200, &json!({"candidates": [candidate]}))
}

/// An exchange that nobody recorded.
fn refusal(code: u16, status: &str, message: &str, details: &[Value]) -> Value {
    let error = json!({"code": code, "status": status, "message": message, "details": details});
    json!({"reply": {"status": code, "headers": {}, "body": {"error": error}}})
}

/// What a prompt alone asks for.
fn content(prompt: &str) -> Value {
    json!({
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
    })
}

/// Every request went to this target, with the key in its header and nowhere else.
fn check_requests(played: &Played, target: &str) {
    for seen in &played.seen {
        assert_eq!(seen.line(), format!("POST {target}"));
        assert_eq!(seen.header("x-goog-api-key"), KEY);
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.header("authorization"), "");
        assert!(!seen.target.contains(KEY), "{}", seen.target);
        assert!(!String::from_utf8_lossy(&seen.body).contains(KEY));
    }
}

fn check_content_request(played: &Played, body: &Value) {
    check_requests(played, &format!("/v1beta/models/{MODEL}:generateContent"));
    assert_eq!(played.request().json(), *body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_and_a_shape_are_sent_with_the_key_in_its_header() {
    let stage = stage(&[]).await;
    let exchange = recorded!("generate");
    let asked = json!({"prompt": "a red fox", "size": "1280x720", "response_format": "url"});
    let played = stage.play([Answer::recorded(&exchange)], &asked).await;
    let mut body = content("a red fox");
    body["generationConfig"]["imageConfig"] = json!({"aspectRatio": "16:9", "imageSize": "1K"});
    check_content_request(&played, &body);
    assert_eq!(
        stage.details(&played).await,
        json!({
            "model": MODEL, "model_version": "gemini-2.5-flash-image", "response_ids": ["r1"],
            "caption": "Here is your image.", "aspect_ratio": "16:9", "image_size": "1K",
            "usage": {"input_tokens": 8, "output_tokens": 1290, "total_tokens": 1298},
        })
    );
    let url = played.body["data"][0]["url"].as_str().unwrap();
    let kept = stage.server.get(url).send().await.unwrap();
    let data = "/reply/body/candidates/0/content/parts/1/inlineData/data";
    let data = exchange.pointer(data).unwrap().as_str().unwrap();
    assert_eq!(base64(&kept.bytes().await.unwrap()), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_official_client_sends_is_sent() {
    let stage = stage(&[]).await;
    let exchange = recorded!("generate");
    let sent = &exchange["sent"];
    let asked = json!({"prompt": "a red fox", "size": "1920x1080", "seed": 7});
    let played = stage.play([Answer::recorded(&exchange)], &asked).await;
    // It says that there is one candidate, and brings its own safety settings.
    let mut body = sent["json"].clone();
    body.as_object_mut().unwrap().remove("safetySettings");
    let config = body["generationConfig"].as_object_mut().unwrap();
    config.remove("candidateCount");
    check_content_request(&played, &body);
    let path = sent["target"].as_str().unwrap().replace("/v1/", "/v1beta/");
    assert_eq!(played.request().target, path);
    assert_eq!(played.pictures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_becomes_what_the_model_has_words_for() {
    let stage = stage(&[]).await;
    for (model, size, expected) in [
        (
            MODEL,
            "2048x2048",
            json!({"aspectRatio": "1:1", "imageSize": "2K"}),
        ),
        (
            MODEL,
            "512x2048",
            json!({"aspectRatio": "1:4", "imageSize": "2K"}),
        ),
        (
            "gemini-2.5-flash-image",
            "2048x2048",
            json!({"aspectRatio": "1:1"}),
        ),
        (
            "gemini-3-pro-image",
            "832x1216",
            json!({"aspectRatio": "2:3", "imageSize": "1K"}),
        ),
    ] {
        let asked = json!({"model": model, "prompt": "x", "size": size});
        let played = stage.play([parts(&json!([inline(PIXEL)]))], &asked).await;
        check_requests(&played, &format!("/v1beta/models/{model}:generateContent"));
        let mut body = content("x");
        body["generationConfig"]["imageConfig"] = expected;
        assert_eq!(played.request().json(), body);
        assert_eq!(played.pictures(), [PIXEL]);
    }
    let asked = json!({"prompt": "x", "size": "auto"});
    let played = stage.play([parts(&json!([inline(PIXEL)]))], &asked).await;
    check_content_request(&played, &content("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pictures_are_several_requests_and_come_in_the_order_of_their_seeds() {
    let stage = stage(&[]).await;
    let asked = json!({"prompt": "a red fox", "n": 3, "seed": 40});
    // Whichever request gets which: the pictures come as the requests were planned.
    let answer = |width| parts(&json!([inline(&gif(width))]));
    let answers = [1, 2, 3].map(answer);
    let played = stage.play(answers, &asked).await;
    check_requests(&played, &format!("/v1beta/models/{MODEL}:generateContent"));
    assert_eq!(played.seen.len(), 3);
    let arrived: Vec<u64> = played
        .seen
        .iter()
        .map(|seen| {
            let mut body = seen.json();
            let config = body["generationConfig"].as_object_mut().unwrap();
            let seed = config.remove("seed").unwrap();
            assert_eq!(body, content("a red fox"));
            seed.as_u64().unwrap()
        })
        .collect();
    let expected: Vec<Vec<u8>> = [40, 41, 42]
        .iter()
        .map(|seed| arrived.iter().position(|other| other == seed).unwrap())
        .map(|place| gif(u8::try_from(place + 1).unwrap()))
        .collect();
    assert_eq!(played.pictures(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_did_not_come_are_noted() {
    let stage = stage(&[]).await;
    let asked = json!({"prompt": "x", "n": 3, "response_format": "url"});
    let good = || parts(&json!([inline(PIXEL)]));
    let blocked = Answer::recorded(&recorded!("blocked-image"));
    let played = stage.play([good(), blocked, good()], &asked).await;
    check_requests(&played, &format!("/v1beta/models/{MODEL}:generateContent"));
    assert_eq!(played.body["data"].as_array().unwrap().len(), 2);
    let notes = stage.details(&played).await["notes"].clone();
    let reason = "the upstream's safety system refused the image (IMAGE_SAFETY): Unable to show \
                  the generated image.";
    assert_eq!(
        notes,
        json!(["1 of the images asked for did not come", reason])
    );
    assert_eq!(stage.server.stored(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_are_found_in_every_spelling_and_drafts_are_not() {
    let stage = stage(&[]).await;
    // URL-safe, without padding, and in another case.
    let spelled = base64(&[PIXEL, &[0xfb, 0xff]].concat())
        .replace('+', "-")
        .replace('/', "_");
    let spelled = spelled.trim_end_matches('=');
    assert!(spelled.contains('_') || spelled.contains('-'));
    let snake = json!({"inline_data": {"mime_type": "image/png", "data": spelled}});
    let draft =
        json!({"thought": true, "inlineData": {"mimeType": "image/png", "data": base64(&gif(1))}});
    let thinking = json!({"thought": true, "text": "A fox has four legs."});
    for (answer, expected) in [
        (
            parts(&json!([inline(PIXEL), {"text": "and"}, inline(&gif(2))])),
            vec![PIXEL.to_vec(), gif(2)],
        ),
        (
            parts(&json!([thinking, draft, inline(&gif(3))])),
            vec![gif(3)],
        ),
        (
            parts(&json!([snake])),
            vec![[PIXEL, &[0xfb, 0xff]].concat()],
        ),
    ] {
        let played = stage.play([answer], &json!({"prompt": "x"})).await;
        check_content_request(&played, &content("x"));
        assert_eq!(played.pictures(), expected);
    }
    let exchange = recorded!("generate-thought");
    let played = stage
        .play([Answer::recorded(&exchange)], &json!({"prompt": "x"}))
        .await;
    assert_eq!(played.pictures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_none_is_sent() {
    let stage = stage(&[("IMAGES_GEMINI_API_KEY", "")]).await;
    let exchange = recorded!("refused-no-key");
    let played = stage
        .play([Answer::recorded(&exchange)], &json!({"prompt": "x"}))
        .await;
    let (status, code, _, message) = played.error();
    assert_eq!((status, code), (502, "PERMISSION_DENIED"));
    assert!(message.contains("unregistered callers"), "{message}");
    let request = played.request();
    assert!(!request.headers.contains_key("x-goog-api-key"));
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn predict_asks_for_some_pictures_at_once() {
    let stage = predict_stage().await;
    let target = "/v1beta/models/imagen-4.0-generate-001:predict";
    let prediction = json!({"bytesBase64Encoded": pixel_base64(), "mimeType": "image/png"});
    let filtered = json!({"raiFilteredReason": "Filtered. Support codes: 29310472"});
    let answer = |predictions: Value| Answer::json(200, &json!({"predictions": predictions}));

    let asked = json!({"prompt": "x", "n": 4, "size": "1080x1920", "response_format": "url"});
    let played = stage
        .play([answer(json!([prediction, prediction]))], &asked)
        .await;
    check_requests(&played, target);
    let parameters = json!({"sampleCount": 4, "aspectRatio": "9:16", "sampleImageSize": "2K"});
    let body = json!({"instances": [{"prompt": "x"}], "parameters": parameters});
    assert_eq!(played.request().json(), body);
    assert_eq!(played.body["data"].as_array().unwrap().len(), 2);
    let note = "2 of the images asked for did not come: the upstream leaves out those that it \
                filtered";
    assert_eq!(stage.details(&played).await["notes"], json!([note]));

    let asked = json!({"prompt": "x", "n": 9});
    let four = || answer(json!([prediction, prediction, prediction, prediction]));
    let played = stage.play([four(), four(), four()], &asked).await;
    check_requests(&played, target);
    let mut counts: Vec<u64> = played
        .seen
        .iter()
        .map(|seen| seen.json()["parameters"]["sampleCount"].as_u64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 4, 4]);
    // More than were asked for are paid, and given as far as a job may give any.
    assert_eq!(played.pictures().len(), 10);

    for (answer, code, message) in [
        (
            Answer::json(200, &json!({})),
            "blocked",
            "the upstream's safety system left out every image",
        ),
        (
            answer(json!([])),
            "blocked",
            "the upstream's safety system left out every image",
        ),
        (
            answer(json!([filtered])),
            "blocked",
            "Filtered. Support codes: 29310472",
        ),
    ] {
        let played = stage.play([answer], &json!({"prompt": "x"})).await;
        check_requests(&played, target);
        assert_eq!(played.error(), (400, code, None, message));
    }
    let words = "models/imagen-4.0-generate-001 is not found, or is not supported for predict.";
    let answer = Answer::recorded(&refusal(404, "NOT_FOUND", words, &[]));
    let played = stage.play([answer], &json!({"prompt": "x"})).await;
    let hint = format!("{words} (if the model is right, set endpoint-method to generateContent)");
    assert_eq!(
        played.error(),
        (400, "NOT_FOUND", Some("model"), hint.as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_be_named_in_any_of_its_ways() {
    let stage = stage(&[]).await;
    for (named, path) in [
        ("models/x", "x"),
        ("google/models/x", "x"),
        ("x", "x"),
        ("tunedModels/x y", "tunedModels/x%20y"),
    ] {
        let asked = json!({"model": named, "prompt": "x"});
        let played = stage.play([parts(&json!([inline(PIXEL)]))], &asked).await;
        check_requests(&played, &format!("/v1beta/models/{path}:generateContent"));
        assert_eq!(played.pictures(), [PIXEL]);
    }
    // A model is no way to another place.
    for named in ["../../admin", "x/../../y", "a//b"] {
        let played = stage
            .play([], &json!({"model": named, "prompt": "x"}))
            .await;
        assert_eq!(played.error().0, 502, "{named}: {}", played.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_has_to_be_named() {
    let stage = stage(&[("IMAGE_GENERATION_MODEL", "")]).await;
    let played = stage.play([], &json!({"prompt": "x"})).await;
    let (status, _, param, message) = played.error();
    assert_eq!((status, param), (400, Some("model")));
    assert!(message.contains("IMAGE_GENERATION_MODEL"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_variable_that_is_set_wins() {
    let nowhere = ("GEMINI_API_BASE_URL", "http://127.0.0.1:1/nowhere");
    let first = [nowhere, ("GEMINI_API_KEY", "another")];
    let second = [
        ("IMAGES_GEMINI_API_BASE_URL", ""),
        ("IMAGES_GEMINI_API_KEY", ""),
        ("GEMINI_API_BASE_URL", "{upstream}/v1beta/"),
        ("GEMINI_API_KEY", "{secret}"),
    ];
    for variables in [&first[..], &second[..]] {
        let stage = stage(variables).await;
        let played = stage
            .play([parts(&json!([inline(PIXEL)]))], &json!({"prompt": "x"}))
            .await;
        check_content_request(&played, &content("x"));
        assert_eq!(played.pictures(), [PIXEL]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_at_an_address_is_fetched_without_the_key() {
    let stage = stage(&[]).await;
    let file = |address: &str| {
        parts(&json!([{"fileData": {"mimeType": "image/png", "fileUri": address}}]))
    };
    let address = format!("{}/files/1", stage.upstream.url());
    let picture = Answer::typed(200, "image/png", PIXEL);
    let played = stage
        .play([file(&address), picture], &json!({"prompt": "x"}))
        .await;
    assert_eq!(played.pictures(), [PIXEL]);
    assert_eq!(played.seen[0].header("x-goog-api-key"), KEY);
    assert_eq!(played.seen[1].line(), "GET /files/1");
    assert!(!format!("{:?}", played.seen[1]).contains(KEY));

    let played = stage
        .play([file("http://127.0.0.1:9/1")], &json!({"prompt": "x"}))
        .await;
    let message = "the picture's address may not be fetched";
    assert_eq!(played.error(), (502, "forbidden", None, message));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_what_describes_the_engine() {
    let stage = stage(&[]).await;
    let engine = stage.server.app.jobs.engines.get("gemini").unwrap();
    let described = format!(
        "{:?} {:?} {:?}",
        engine.generating.settings.values(),
        engine.description,
        engine.generating.upstreams,
    );
    assert!(described.contains("endpoint-method") && described.contains("Destination("));
    assert!(!described.contains(KEY), "{described}");
    assert!(stage.upstream.seen().is_empty());
}
