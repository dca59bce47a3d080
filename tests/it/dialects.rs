//! The other dialects in which clients request images: chat completions with an image model, the responses API,
//! variations, and the fields of other APIs.

mod chat_images;
mod chat_upstream;
mod cors;
mod fields;
mod responses;
mod variations;

use pinhole_tests::{FakeUpstream, PIXEL, TestServer, pixel_base64};
use serde_json::{Value, json};

/// A PNG of one pixel as a data URL.
fn data_url() -> String {
    format!("data:image/png;base64,{}", pixel_base64())
}

/// A server with engine `openai`, and its upstream, which returns one pixel.
async fn openai_server(variables: &[(&str, &str)]) -> (TestServer, FakeUpstream) {
    let usage = json!({
        "input_tokens": 5, "input_tokens_details": {"image_tokens": 1, "text_tokens": 4},
        "output_tokens": 7, "total_tokens": 12,
    });
    let made = json!({"data": [{"b64_json": pixel_base64()}], "usage": usage});
    let upstream = FakeUpstream::json(200, made).await;
    let base = format!("{}/v1", upstream.url());
    let mut all = vec![("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    all.extend(variables);
    (TestServer::with_engine("openai", &all).await, upstream)
}

/// The events of a stream: the data of each.
async fn events(server: &TestServer, path: &str, body: &Value) -> Vec<Value> {
    let response = server.post(path, body).send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
        .collect()
}

/// A part of a form: its name, and a text or an image.
enum Part<'a> {
    Text(&'a str, &'a str),
    Image(&'a str),
}

async fn post_form(server: &TestServer, path: &str, parts: &[Part<'_>]) -> (u16, Value) {
    const BOUNDARY: &str = "------------------------d74496d66958873e";
    let mut body = Vec::new();
    for part in parts {
        let (name, content, rest) = match part {
            Part::Text(name, text) => (name, text.as_bytes(), ""),
            Part::Image(name) => (
                name,
                PIXEL,
                "; filename=\"a.png\"\r\ncontent-type: image/png",
            ),
        };
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{rest}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let request = server.client.post(server.url(path)).body(body);
    let request = request.header("content-type", content_type);
    let response = request.bearer_auth(&server.key).send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// The field of a refusal with status 400.
#[track_caller]
fn refused_field((status, body): (u16, Value)) -> String {
    assert_eq!(status, 400, "{body}");
    body["error"]["param"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
