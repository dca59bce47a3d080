//! Fields of other APIs: those with a certain meaning are taken, and those that would be lost are refused by name.

use super::Part::{Image, Text};
use super::*;

const GENERATIONS: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";

#[tokio::test(flavor = "multi_thread")]
async fn field_with_a_certain_meaning_is_taken() {
    let (server, upstream) = openai_server(&[]).await;
    let body = json!({
        "prompt": "a fox", "model": "m", "num_images": 2, "width": 640, "height": 480,
        "parameters": {"quality": "high"}, "user": "u", "metadata": {"a": "b"}, "image": null,
    });
    let (status, response) = server.post_json(GENERATIONS, &body).await;
    assert_eq!(status, 200, "{response}");
    let sent = upstream.requests().pop().unwrap().json();
    let expected =
        json!({"prompt": "a fox", "model": "m", "n": 2, "size": "640x480", "quality": "high"});
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn field_that_would_be_lost_is_refused_before_anything_is_sent() {
    let (server, upstream) = openai_server(&[]).await;
    for field in [
        "image",
        "images",
        "mask",
        "input_images",
        "image_url",
        "input_image",
        "cfg_scale",
        "resolution",
        "Size",
        "extra_body",
        "height",
    ] {
        let body = json!({"prompt": "a fox", "model": "m", field: "x"});
        assert_eq!(
            refused_field(server.post_json(GENERATIONS, &body).await),
            field
        );
    }
    for field in ["input_images", "image_url", "strength", "response"] {
        let body = json!({"prompt": "x", "images": [{"image_url": data_url()}], field: "x"});
        assert_eq!(refused_field(server.post_json(EDITS, &body).await), field);
        let form = [Image("image"), Text("prompt", "x"), Text(field, "x")];
        let refused = post_form(&server, EDITS, &form).await;
        assert_eq!(refused_field(refused), field);
    }
    let lines = upstream.request_lines();
    assert!(
        !lines.iter().any(|line| line.starts_with("POST")),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_edit_takes_sources_in_every_form() {
    let (server, upstream) = openai_server(&[]).await;
    for sources in [
        json!({"images": [{"image_url": data_url()}]}),
        json!({"images": [data_url()]}),
        json!({"image": data_url()}),
        json!({"image": [data_url()]}),
        json!({"image": {"url": data_url(), "type": "image_url"}}),
        json!({"image": pixel_base64()}),
    ] {
        let mut body = sources.clone();
        body["prompt"] = json!("bluer");
        let (status, response) = server.post_json(EDITS, &body).await;
        assert_eq!(status, 200, "{sources} {response}");
        let edit = upstream.requests().pop().unwrap();
        assert_eq!(edit.line(), "POST /v1/images/edits");
        let is_sent = edit.body.windows(PIXEL.len()).any(|window| window == PIXEL);
        assert!(is_sent, "{sources}");
    }
    let both = json!({"prompt": "x", "image": data_url(), "images": [data_url()]});
    assert_eq!(refused_field(server.post_json(EDITS, &both).await), "image");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_has_every_member_that_clients_read() {
    let (server, _upstream) = openai_server(&[]).await;
    let body = json!({"prompt": "a fox", "model": "m"});
    let (_, response) = server.post_json(GENERATIONS, &body).await;
    let expected = json!({
        "input_tokens": 5, "input_tokens_details": {"image_tokens": 1, "text_tokens": 4},
        "output_tokens": 7, "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "total_tokens": 12,
    });
    assert_eq!(response["usage"], expected);
}
