//! What the upstream refused, or answered without a picture.

use pinhole_tests::Answer;
use serde_json::{Value, json};

use super::{KEY, check_request, stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_upstreams_words_and_asked_once() {
    let stage = stage(&[]).await;
    let check = async |exchange: Value, status, code, param, message: &str| {
        let played = stage
            .play(
                [Answer::recorded(&exchange)],
                &json!({"prompt": "a red fox"}),
            )
            .await;
        assert_eq!(played.error(), (status, code, param, message));
        check_request(
            &played,
            "/v1",
            &json!({"model": "gpt-image-2", "prompt": "a red fox"}),
        );
        played
    };
    check(
        said(&recorded!("refused-key"), "sk-test", KEY),
        502,
        "invalid_api_key",
        None,
        "Incorrect API key provided: …. You can find your API key at \
         https://platform.openai.com/account/api-keys.",
    )
    .await;
    check(
        recorded!("refused-organization"),
        502,
        "forbidden",
        None,
        "Your organization must be verified to use the model `gpt-image-2`.",
    )
    .await;
    check(
        recorded!("refused-model"),
        400,
        "model_not_found",
        Some("model"),
        "model \"gpt-image-2\" is not there: The model 'nope' does not exist.",
    )
    .await;
    check(
        reply(
            400,
            json!({"code": "invalid_value", "param": "model", "message": "No 'nope'."}),
        ),
        400,
        "invalid_value",
        Some("model"),
        "model \"gpt-image-2\" is not there: No 'nope'.",
    )
    .await;
    check(
        recorded!("refused-size"),
        400,
        "invalid_value",
        Some("size"),
        "Invalid value: '512x512'. Supported values are: '1024x1024', '1024x1536', '1536x1024', \
         and 'auto'.",
    )
    .await;
    check(
        recorded!("refused-parameter"),
        400,
        "unknown_parameter",
        Some("response_format"),
        "Unknown parameter: 'response_format'. Take the model out of the setting \
         response-format-models",
    )
    .await;
    check(
        recorded!("refused-safety"),
        400,
        "moderation_blocked",
        None,
        "Your request was rejected by the safety system. safety_violations=[sexual]. (stage: \
         output; categories: sexual)",
    )
    .await;
    check(
        recorded!("refused-billing"),
        429,
        "billing_hard_limit_reached",
        None,
        "Billing hard limit has been reached",
    )
    .await;
    let quota = check(
        recorded!("refused-quota"),
        429,
        "insufficient_quota",
        None,
        "You exceeded your current quota, please check your plan and billing details.",
    )
    .await;
    assert!(!quota.headers.contains_key("retry-after"));
    check(
        recorded!("refused-server"),
        502,
        "upstream",
        None,
        "The server had an error while processing your request.",
    )
    .await;
    let unavailable = check(
        recorded!("refused-unavailable"),
        503,
        "unavailable",
        None,
        "upstream connect error",
    )
    .await;
    assert_eq!(unavailable.headers["retry-after"], "2");
    check(
        recorded!("refused-plain"),
        400,
        "invalid",
        None,
        "prompt required",
    )
    .await;
    check(
        recorded!("refused-azure-filter"),
        400,
        "content_policy_violation",
        None,
        "Your request was rejected as a result of our safety system. (categories: sexual)",
    )
    .await;
    check(
        recorded!("refused-azure-deployment"),
        400,
        "DeploymentNotFound",
        Some("model"),
        "model \"gpt-image-2\" is not there: The API deployment for this resource does not exist.",
    )
    .await;
    check(
        recorded!("refused-azure-key"),
        502,
        "401",
        None,
        "Access denied due to invalid subscription key or wrong API endpoint.",
    )
    .await;
    assert_eq!(stage.server.stored(), 0);
}

/// The exchange with a word of its reply replaced.
fn said(exchange: &Value, word: &str, by: &str) -> Value {
    let replaced = exchange["reply"].to_string().replace(word, by);
    json!({"reply": serde_json::from_str::<Value>(&replaced).unwrap()})
}

/// An exchange that nobody recorded.
fn reply(status: u16, error: Value) -> Value {
    json!({"reply": {"status": status, "headers": {}, "body": {"error": error}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_upstream_repeats_goes_no_further() {
    let stage = stage(&[]).await;
    for (status, words) in [
        (401, format!("the token {KEY} has expired")),
        (400, format!("cannot read {KEY:?}")),
        (500, format!("Authorization: Bearer {KEY}")),
    ] {
        let error = json!({"message": words, "code": KEY, "param": KEY});
        let answer = Answer::json(status, &json!({"error": error}));
        // The stage looks for the key.
        let played = stage.play([answer], &json!({"prompt": "a red fox"})).await;
        let expected = words.replace(KEY, "…");
        assert_eq!(played.error().3, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_is_told_and_not_waited_for() {
    let stage = stage(&[]).await;
    let error = json!({"message": "Slow down.", "code": "rate_limit_exceeded"});
    let limit = || Answer::json(429, &json!({"error": error}));
    for (answer, told) in [
        (limit().header("retry-after", "3600"), "3600"),
        (limit().header("retry-after-ms", "1200"), "2"),
        (Answer::recorded(&recorded!("refused-rate")), "12"),
    ] {
        let played = stage.play([answer], &json!({"prompt": "a red fox"})).await;
        let (status, code, ..) = played.error();
        assert_eq!((status, code), (429, "rate_limit_exceeded"));
        assert_eq!(played.headers["retry-after"], told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_usable_picture_is_an_error() {
    let stage = stage(&[]).await;
    let item = |bytes: &str| json!({"created": 1, "data": [{"b64_json": bytes}]}).to_string();
    let nothing = "the upstream said success but gave no image";
    for (status, media_type, body, expected, words) in [
        (
            200,
            "application/json",
            json!({"created": 1, "data": []}).to_string(),
            502,
            nothing,
        ),
        (200, "application/json", "{}".to_owned(), 502, nothing),
        (200, "application/json", item("%%%"), 502, "is not base64"),
        (200, "application/json", item("aGVsbG8="), 502, "not a PNG"),
        (
            200,
            "application/json",
            item("iVBORw0KGgo="),
            502,
            "header of the image/png",
        ),
        (
            200,
            "application/json",
            "{\"data\": [{".to_owned(),
            502,
            "not JSON",
        ),
        (
            200,
            "text/html",
            "<html>log in</html>".to_owned(),
            502,
            "not JSON",
        ),
        (204, "application/json", String::new(), 502, "not JSON"),
        (
            503,
            "text/html",
            "<html>busy</html>".to_owned(),
            503,
            "status 503",
        ),
        (
            500,
            "text/html",
            "<html>oh</html>".to_owned(),
            502,
            "status 500",
        ),
        (
            404,
            "text/html",
            "<html>no</html>".to_owned(),
            400,
            "no images API at this address",
        ),
    ] {
        let answer = Answer::typed(status, media_type, body.clone());
        let played = stage.play([answer], &json!({"prompt": "a red fox"})).await;
        let (status, _, _, message) = played.error();
        assert_eq!(status, expected, "{body}");
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("<html>"), "{message}");
        check_request(
            &played,
            "/v1",
            &json!({"model": "gpt-image-2", "prompt": "a red fox"}),
        );
    }
    assert_eq!(stage.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_not_named_to_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let base = format!("http://127.0.0.1:{port}/v1");
    let stage = stage(&[("IMAGES_OPENAI_API_BASE_URL", &base)]).await;
    let played = stage.play([], &json!({"prompt": "a red fox"})).await;
    let (status, code, param, message) = played.error();
    assert_eq!((status, code, param), (503, "unavailable", None));
    assert_eq!(message, "the upstream cannot be reached");
    let shown = format!("{:?} {}", played.headers, played.body);
    assert!(
        !shown.contains("127.0.0.1") && !shown.contains(&port),
        "{shown}"
    );
}
