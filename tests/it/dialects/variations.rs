//! `POST /v1/images/variations`.

use super::Part::{Image, Text};
use super::*;

const PATH: &str = "/v1/images/variations";

#[tokio::test(flavor = "multi_thread")]
async fn variation_is_an_edit_with_the_servers_prompt() {
    let (server, upstream) = openai_server(&[]).await;
    let form = [
        Image("image"),
        Text("n", "2"),
        Text("size", "1024x1024"),
        Text("model", "dall-e-2"),
        Text("response_format", "b64_json"),
        Text("user", "u"),
    ];
    let (status, response) = post_form(&server, PATH, &form).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["data"][0]["b64_json"], pixel_base64());
    let edit = upstream.requests().pop().unwrap();
    assert_eq!(edit.line(), "POST /v1/images/edits");
    let text = String::from_utf8_lossy(&edit.body).into_owned();
    assert!(text.contains("a variation of this image"), "{text}");
    let url_form = [Image("image"), Text("response_format", "url")];
    let (url_status, with_url) = post_form(&server, PATH, &url_form).await;
    assert_eq!(url_status, 200, "{with_url}");
    assert!(
        with_url["data"][0]["url"]
            .as_str()
            .unwrap()
            .contains("/api/v1/files/")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_variation_cannot_do_is_refused_by_name() {
    let (server, upstream) = openai_server(&[]).await;
    for (field, parts) in [
        ("prompt", vec![Image("image"), Text("prompt", "bluer")]),
        ("mask", vec![Image("image"), Image("mask")]),
        ("quality", vec![Image("image"), Text("quality", "high")]),
        ("image", vec![Image("image"), Image("image")]),
        ("image", vec![Text("n", "1")]),
        ("n", vec![Image("image"), Text("n", "11")]),
        ("size", vec![Image("image"), Text("size", "wide")]),
    ] {
        let refused = post_form(&server, PATH, &parts).await;
        assert_eq!(refused_field(refused), field);
    }
    let lines = upstream.request_lines();
    assert!(
        !lines.iter().any(|line| line.starts_with("POST")),
        "{lines:?}"
    );
    let sketch = TestServer::start(&[]).await;
    let (status, error) = post_form(&sketch, PATH, &[Image("image")]).await;
    assert_eq!(status, 400);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("engine sketch cannot edit images"),
        "{message}"
    );
}
