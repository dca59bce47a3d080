//! Operations that generate and edit images on both interfaces, turns of a conversation, and the server's own.

use pinhole_tests::pixel_base64;

use super::*;

fn data_url() -> String {
    format!("data:image/png;base64,{}", pixel_base64())
}

/// A body that is one byte over the limit. The client would still be sending a much longer one when the refusal
/// arrives.
fn too_long() -> Value {
    let around = json!({"prompt": ""}).to_string().len();
    json!({"prompt": "x".repeat((32 << 20) + 1 - around)})
}

#[tokio::test(flavor = "multi_thread")]
async fn server_operations() {
    let api = Api::start(&[]).await;
    api.case("good", api.ask_without_key(Method::GET, "/health"))
        .await;
    api.case("good", api.ask_without_key(Method::GET, "/ready"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_webui_image_operations() {
    let api = Api::start(&[]).await;
    let images = |path: &str, body: Value| {
        let path = format!("/api/v1/images/{path}");
        api.ask(Method::POST, &path).json(&body)
    };
    for (case, body) in [
        ("good", json!({"prompt": "a fox", "size": "64x48", "n": 2})),
        ("no_prompt", json!({"size": "64x48"})),
        (
            "wrong_types",
            json!({"prompt": 5, "n": -1, "steps": "many"}),
        ),
        ("empty_prompt", json!({"prompt": " "})),
        ("odd_size", json!({"prompt": "a fox", "size": "64"})),
        ("too_many", json!({"prompt": "a fox", "n": 99})),
        (
            "unknown_engine",
            json!({"prompt": "a fox", "engine": "none"}),
        ),
    ] {
        api.case(case, images("generations", body)).await;
    }
    let no_json = api.ask(Method::POST, "/api/v1/images/generations");
    api.case("no_json", no_json.body("application/json", "{"))
        .await;
    let long = too_long();
    api.case("too_large", images("generations", long)).await;

    for (case, body) in [
        (
            "cannot_edit",
            json!({"prompt": "bluer", "image": data_url()}),
        ),
        ("no_image", json!({"prompt": "bluer"})),
        (
            "no_picture",
            json!({"prompt": "bluer", "image": "data:image/png;base64,AAAA"}),
        ),
        (
            "elsewhere",
            json!({"prompt": "bluer", "image": "http://127.0.0.1/x.png"}),
        ),
        ("no_such_file", json!({"prompt": "bluer", "image": "none"})),
    ] {
        api.case(case, images("edit", body)).await;
    }
    api.case("good", api.ask(Method::GET, "/api/v1/images/models"))
        .await;
    api.case(
        "good",
        api.ask(Method::GET, "/api/v1/images/config/url/verify"),
    )
    .await;
    api.case(
        "good",
        api.ask(Method::GET, "/api/v1/images/verification?engine=sketch"),
    )
    .await;
    api.case(
        "unknown",
        api.ask(Method::GET, "/api/v1/images/verification?engine=nosuch"),
    )
    .await;
    for (case, body) in [
        (
            "no_upstream",
            json!({"engine": "sketch", "url": "http://127.0.0.1:9"}),
        ),
        ("no_url", json!({"engine": "sketch"})),
    ] {
        api.case(case, images("verify", body)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_operations() {
    let api = Api::start(&[]).await;
    api.case("good", api.ask(Method::GET, "/api/events").skip_body())
        .await;
}

/// Only an engine with an upstream has a URL to verify and edits images.
#[tokio::test(flavor = "multi_thread")]
async fn upstream_engine_operations() {
    let made = json!({"created": 1, "data": [{"b64_json": pixel_base64()}]});
    let upstream = pinhole_tests::FakeUpstream::json(200, made).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let api = Api::of(TestServer::with_engine("openai", &variables).await).await;
    let post = |path: &str, body: &Value| api.ask(Method::POST, path).json(body);
    let verify = json!({"engine": "openai", "url": base, "key": "sk-upstream"});
    api.case("good", post("/api/v1/images/verify", &verify))
        .await;
    let flat = json!({"prompt": "bluer", "image": data_url()});
    api.case("good", post("/api/v1/images/edit", &flat)).await;
    let nested = json!({"form_data": {"prompt": "bluer", "image": [data_url()]}});
    api.case("good_nested", post("/api/v1/images/edit", &nested))
        .await;
    let edit = json!({"prompt": "bluer", "images": [{"image_url": data_url()}]});
    api.case("good", post("/v1/images/edits", &edit)).await;
    let head = "--x\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n";
    let form = [head.as_bytes(), pinhole_tests::PIXEL, b"\r\n--x--\r\n"].concat();
    let variation = api.ask(Method::POST, "/v1/images/variations");
    let variation = variation.body("multipart/form-data; boundary=x", form);
    api.case("good", variation).await;
    let mut stream = edit.clone();
    stream["stream"] = json!(true);
    api.case("good_stream", post("/v1/images/edits", &stream).skip_body())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_operations_while_generation_is_disabled() {
    let off = [
        ("ENABLE_IMAGE_GENERATION", "false"),
        ("ENABLE_IMAGE_EDIT", "false"),
    ];
    let api = Api::start(&off).await;
    for (path, body) in [
        ("/api/v1/images/generations", json!({"prompt": "a fox"})),
        (
            "/api/v1/images/edit",
            json!({"prompt": "bluer", "image": data_url()}),
        ),
        ("/v1/images/generations", json!({"prompt": "a fox"})),
    ] {
        api.case("switched_off", api.ask(Method::POST, path).json(&body))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_image_operations() {
    let api = Api::start(&[("WEBUI_URL", "https://images.example")]).await;
    let post = |path: &str, body: Value| api.ask(Method::POST, path).json(&body);
    for (case, body) in [
        ("good", json!({"prompt": "a fox", "size": "64x48"})),
        (
            "good_url",
            json!({"prompt": "a fox", "size": "64x48", "response_format": "url"}),
        ),
        ("no_prompt", json!({})),
        ("wrong_type", json!({"prompt": "a fox", "n": "two"})),
        (
            "unknown_field",
            json!({"prompt": "a fox", "input_images": []}),
        ),
        ("too_many", json!({"prompt": "a fox", "n": 99})),
        ("odd_size", json!({"prompt": "a fox", "size": "64"})),
        (
            "unknown_engine",
            json!({"prompt": "a fox", "engine": "none"}),
        ),
        (
            "stream_of_urls",
            json!({"prompt": "a fox", "stream": true, "response_format": "url"}),
        ),
    ] {
        api.case(case, post("/v1/images/generations", body)).await;
    }
    let stream = json!({"prompt": "a fox", "size": "64x48", "stream": true});
    let stream = post("/v1/images/generations", stream).skip_body();
    api.case("good_stream", stream).await;
    let long = too_long();
    api.case("too_large", post("/v1/images/generations", long))
        .await;
    let reference = json!({"image_url": data_url()});
    for (case, body) in [
        (
            "cannot_edit",
            json!({"prompt": "bluer", "images": [reference]}),
        ),
        ("no_image", json!({"prompt": "bluer"})),
        ("no_reference", json!({"prompt": "bluer", "images": [{}]})),
    ] {
        api.case(case, post("/v1/images/edits", body)).await;
    }
    let no_form = api.ask(Method::POST, "/v1/images/edits");
    api.case(
        "no_form",
        no_form.body("multipart/form-data; boundary=x", "nothing"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_dialects_of_images() {
    let api = Api::start(&[]).await;
    let post = |path: &str, body: Value| api.ask(Method::POST, path).json(&body);
    let tools = json!([{"type": "image_generation", "size": "64x48"}]);
    for (case, body) in [
        (
            "good",
            json!({"model": "sketch", "input": "a fox", "tools": tools}),
        ),
        ("no_tool", json!({"model": "none", "input": "a fox"})),
        ("no_input", json!({"model": "sketch"})),
        (
            "stored",
            json!({"input": "a fox", "tools": tools, "store": true}),
        ),
        (
            "unknown_field",
            json!({"input": "a fox", "tools": tools, "size": "64x48"}),
        ),
    ] {
        api.case(case, post("/v1/responses", body)).await;
    }
    let stream = json!({"input": "a fox", "tools": tools, "stream": true});
    let stream = post("/v1/responses", stream).skip_body();
    api.case("good_stream", stream).await;
    let no_form = api.ask(Method::POST, "/v1/images/variations");
    api.case(
        "no_form",
        no_form.body("multipart/form-data; boundary=x", "nothing"),
    )
    .await;
    let messages = json!([{"role": "user", "content": "a fox"}]);
    for (case, body) in [
        (
            "good_image",
            json!({"modalities": ["image"], "image_config": {"image_size": "0.5K"}}),
        ),
        ("other_modality", json!({"modalities": ["image", "audio"]})),
    ] {
        let mut request = body.clone();
        request["model"] = json!("sketch");
        request["messages"] = messages.clone();
        api.case(case, post("/v1/chat/completions", request)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_completion_operations() {
    let api = Api::start(&[("WEBUI_URL", "https://images.example")]).await;
    let turn = |body: Value| api.ask(Method::POST, "/api/chat/completions").json(&body);
    let messages = json!([{"role": "user", "content": "a fox"}]);
    for (case, body) in [
        (
            "good",
            json!({"messages": messages, "features": {"image_generation": true}}),
        ),
        ("no_messages", json!({"model": "x"})),
        (
            "long_chat_id",
            json!({"messages": messages, "chat_id": "x".repeat(300)}),
        ),
        ("neither_model_nor_picture", json!({"messages": messages})),
    ] {
        api.case(case, turn(body)).await;
    }
}
