//! What the upstream refused, or answered without a picture.

use pinhole_tests::Answer;
use serde_json::{Value, json};

use super::{KEY, check_content_request, content, refusal, stage};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_picture_says_why() {
    let stage = stage(&[]).await;
    let body = content("x");
    let check = async |exchange: &Value, status, code, message: &str| {
        let asked = json!({"prompt": "x"});
        let played = stage.play([Answer::recorded(exchange)], &asked).await;
        assert_eq!(played.error(), (status, code, None, message));
        check_content_request(&played, &body);
    };
    check(
        &recorded!("blocked-prompt"),
        400,
        "PROHIBITED_CONTENT",
        "the upstream's safety system refused the prompt (PROHIBITED_CONTENT)",
    )
    .await;
    check(
        &recorded!("blocked-image"),
        400,
        "IMAGE_SAFETY",
        "the upstream's safety system refused the image (IMAGE_SAFETY): Unable to show the \
         generated image.",
    )
    .await;
    check(
        &recorded!("blocked-no-content"),
        400,
        "PROHIBITED_CONTENT",
        "the upstream's safety system refused the image (PROHIBITED_CONTENT)",
    )
    .await;
    check(
        &recorded!("no-image"),
        502,
        "NO_IMAGE",
        "the upstream gave no image (NO_IMAGE)",
    )
    .await;
    check(
        &recorded!("no-image-words"),
        502,
        "STOP",
        "the upstream gave no image (STOP), but words: I cannot create that image.",
    )
    .await;
    check(
        &recorded!("no-image-tokens"),
        502,
        "MAX_TOKENS",
        "the upstream gave no image (MAX_TOKENS), but words: ...",
    )
    .await;
    check(
        &recorded!("no-image-empty"),
        502,
        "protocol",
        "the upstream said success but gave no image",
    )
    .await;
    assert_eq!(stage.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_upstreams_words_and_asked_once() {
    let stage = stage(&[]).await;
    let check = async |exchange: &Value, status, code, param, message: &str| {
        let asked = json!({"prompt": "x"});
        let played = stage.play([Answer::recorded(exchange)], &asked).await;
        assert_eq!(played.error(), (status, code, param, message));
        check_content_request(&played, &content("x"));
        played.headers.get("retry-after").cloned()
    };
    check(
        &recorded!("refused-key"),
        502,
        "API_KEY_INVALID",
        None,
        "API key not valid. Please pass a valid API key.",
    )
    .await;
    check(
        &recorded!("refused-model"),
        400,
        "NOT_FOUND",
        Some("model"),
        "model \"gemini-3.1-flash-image\" is not there: models/nope is not found for API version \
         v1beta, or is not supported for generateContent. Call ListModels to see the list of \
         available models and their supported methods. (if the model is right, set \
         endpoint-method to predict)",
    )
    .await;
    let minute = check(
        &recorded!("refused-minute"),
        429,
        "RESOURCE_EXHAUSTED",
        None,
        "You exceeded your current quota, please check your plan and billing details. Please \
         retry in 32.5s.",
    )
    .await;
    assert_eq!(minute.unwrap(), "32");
    let day = json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [
        {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"},
    ]});
    let vain = check(
        &refusal(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded. Please retry in 32s.",
            &[day],
        ),
        429,
        "RESOURCE_EXHAUSTED",
        None,
        "Quota exceeded. Please retry in 32s.",
    )
    .await;
    assert_eq!(vain, None);
    let nothing = "Quota exceeded, limit: 0. Please retry in 32s.";
    let vain = check(
        &refusal(429, "RESOURCE_EXHAUSTED", nothing, &[]),
        429,
        "RESOURCE_EXHAUSTED",
        None,
        nothing,
    )
    .await;
    assert_eq!(vain, None);
    let unknown = "Invalid JSON payload received. Unknown name \"imageSize\" at \
                   'generation_config.image_config': Cannot find field.";
    check(
        &refusal(400, "INVALID_ARGUMENT", unknown, &[]),
        400,
        "INVALID_ARGUMENT",
        Some("imageSize"),
        unknown,
    )
    .await;
    check(
        &recorded!("refused-location"),
        502,
        "FAILED_PRECONDITION",
        None,
        "User location is not supported for the API use.",
    )
    .await;
    check(
        &recorded!("refused-overloaded"),
        503,
        "UNAVAILABLE",
        None,
        "The model is overloaded. Please try again later.",
    )
    .await;
    check(
        &recorded!("refused-internal"),
        502,
        "INTERNAL",
        None,
        "An internal error has occurred. Please retry or report.",
    )
    .await;
    assert_eq!(stage.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_upstream_repeats_goes_no_further() {
    let stage = stage(&[]).await;
    let words = format!("API key not valid: {KEY}");
    let answer = Answer::recorded(&refusal(400, KEY, &words, &[]));
    // The stage looks for the key.
    let played = stage.play([answer], &json!({"prompt": "x"})).await;
    assert_eq!(played.error(), (502, "…", None, "API key not valid: …"));
    check_content_request(&played, &content("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_not_named_to_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let base = format!("http://127.0.0.1:{port}/v1beta");
    let stage = stage(&[("IMAGES_GEMINI_API_BASE_URL", &base)]).await;
    let played = stage.play([], &json!({"prompt": "x"})).await;
    let message = "the upstream cannot be reached";
    assert_eq!(played.error(), (503, "unavailable", None, message));
    let shown = format!("{:?} {}", played.headers, played.body);
    assert!(
        !shown.contains("127.0.0.1") && !shown.contains(&port),
        "{shown}"
    );
}
