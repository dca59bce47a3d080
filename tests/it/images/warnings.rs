//! What a user learns if the images differ from the request, on each API.

use pinhole_tests::{FakeResponse, FakeUpstream, TestServer, pixel_base64};
use serde_json::{Value, json};

use super::{GENERATIONS, generate};

const MISSING: &str = "1 of 2 images received";
const SIZE: &str = "generated at 1x1 instead of 1024x1024";

/// A server whose upstream makes one image of one pixel, whatever is requested, with a prompt of its own.
async fn server() -> (FakeUpstream, TestServer) {
    let image = json!({"b64_json": pixel_base64(), "revised_prompt": "a red fox"});
    let response = json!({"created": 1, "data": [image]});
    let upstream = FakeUpstream::start(move |request| {
        let response = response.clone();
        async move {
            if request.line().starts_with("GET") {
                return FakeResponse::json(404, &json!({}));
            }
            FakeResponse::json(200, &response)
        }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    (upstream, server)
}

fn two_large_images() -> Value {
    json!({"prompt": "a fox", "model": "gpt-image-1", "n": 2, "size": "1024x1024"})
}

/// The metadata that is stored with the only file.
async fn stored_metadata(server: &TestServer) -> Value {
    let files = server.get("/api/v1/files/").send().await.unwrap();
    let files: Value = serde_json::from_slice(&files.bytes().await.unwrap()).unwrap();
    files[0]["meta"]["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_responses_have_warnings() {
    let (_upstream, server) = server().await;
    let made = generate(&server, two_large_images()).await;
    assert_eq!(made["warnings"], json!([MISSING, SIZE]));
    let one = json!({"prompt": "a fox", "model": "gpt-image-1"});
    let one_made = generate(&server, one).await;
    assert_eq!(one_made.get("warnings"), None, "{one_made}");

    let mut stored = two_large_images();
    stored["response_format"] = json!("url");
    let stored_made = generate(&server, stored).await;
    assert_eq!(stored_made["warnings"], json!([MISSING, SIZE]));
    let metadata = stored_metadata(&server).await;
    assert_eq!(metadata["warnings"], json!([MISSING, SIZE]));
    assert_eq!(metadata["revised_prompt"], "a red fox");
}

#[tokio::test(flavor = "multi_thread")]
async fn last_event_of_a_stream_has_warnings() {
    let (_upstream, server) = server().await;
    let mut body = two_large_images();
    body["stream"] = json!(true);
    let response = server.post(GENERATIONS, &body).send().await.unwrap();
    let text = response.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|it| serde_json::from_str(it).unwrap()).collect();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "image_generation.completed", "{text}");
    assert_eq!(last["warnings"], json!([MISSING, SIZE]));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_webui_images_have_warnings() {
    let (_upstream, server) = server().await;
    let body = two_large_images();
    let (status, made) = server.post_json("/api/v1/images/generations", &body).await;
    assert_eq!(status, 200, "{made}");
    assert!(
        made[0]["url"]
            .as_str()
            .unwrap()
            .starts_with("/api/v1/files/")
    );
    assert_eq!(made[0]["warnings"], json!([MISSING, SIZE]));
    assert_eq!(made[0]["revised_prompt"], "a red fox");
    assert_eq!(
        stored_metadata(&server).await["warnings"],
        json!([MISSING, SIZE])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_without_events_shows_warnings_and_a_link() {
    let (_upstream, server) = server().await;
    let turn = json!({
        "model": "chat", "messages": [{"role": "user", "content": "a fox"}],
        "features": {"image_generation": true}, "image_generation": {"n": 2, "size": "1024x1024"},
    });
    let (status, turned) = server.post_json("/v1/chat/completions", &turn).await;
    assert_eq!(status, 200, "{turned}");
    let text = turned["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains(&format!("Note: {MISSING}; {SIZE}")), "{text}");
    let (_, link) = text.split_once("](").unwrap();
    let (link, _) = link.split_once(')').unwrap();
    let image = server.client.get(link).send().await.unwrap();
    assert_eq!(image.status(), 200, "{link}");
}
