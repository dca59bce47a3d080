//! An upstream that makes images by chat completions, for a client of the images API.

use pinhole_tests::{FakeResponse, PIXEL};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn images_api_reaches_an_upstream_of_chat_completions() {
    let upstream = FakeUpstream::start(|request| async move {
        if request.line() != "POST /api/v1/chat/completions" {
            return FakeResponse::json(
                404,
                &json!({"error": {"message": "Not Found", "code": 404}}),
            );
        }
        let image = json!({"type": "image_url", "image_url": {"url": data_url()}});
        let message = json!({"role": "assistant", "content": "Here.", "images": [image]});
        FakeResponse::json(200, &json!({"choices": [{"message": message}]}))
    })
    .await;
    let base = format!("{}/api/v1", upstream.url());
    let server = TestServer::with_engine("openai", &[("IMAGES_OPENAI_API_BASE_URL", &base)]).await;
    let body =
        json!({"prompt": "a fox", "model": "google/gemini-2.5-flash-image", "size": "1024x1024"});
    let (status, response) = server.post_json("/v1/images/generations", &body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["data"][0]["b64_json"], pixel_base64());
    let edit = json!({
        "prompt": "bluer", "model": "google/gemini-2.5-flash-image",
        "images": [{"image_url": data_url()}],
    });
    let (edit_status, edited) = server.post_json("/v1/images/edits", &edit).await;
    assert_eq!(edit_status, 200, "{edited}");
    let sent = upstream.requests().pop().unwrap().json();
    let url = &sent["messages"][0]["content"][1]["image_url"]["url"];
    let text = url
        .as_str()
        .unwrap()
        .strip_prefix("data:image/png;base64,")
        .unwrap();
    assert_eq!(base64_simd::STANDARD.decode_to_vec(text).unwrap(), PIXEL);
    let lines = upstream.request_lines();
    let posts: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("POST"))
        .collect();
    let expected = [
        "POST /api/v1/images/generations",
        "POST /api/v1/chat/completions",
        "POST /api/v1/images/edits",
        "POST /api/v1/chat/completions",
    ];
    assert_eq!(posts, expected.iter().collect::<Vec<_>>());
}
