//! `POST /v1/images/edits`: forms and JSON, on engine `openai`.

use pinhole_tests::{FakeUpstream, PIXEL, TestServer, file_path, pixel_base64};
use serde_json::{Value, json};

use super::{Refusal, assert_refused, invalid, response_images, usage};

pub(super) const EDITS: &str = "/v1/images/edits";
/// A transparent PNG of one pixel. [`PIXEL`] is opaque.
pub(super) const MASK: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";
/// The same, two pixels wide.
pub(super) const WIDE_MASK: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAC0lEQVR42mNggAIAAAkAAWj2z04AAAAASUVORK5CYII=";
pub(super) const BOUNDARY: &str = "------------------------d74496d66958873e";

pub(super) fn decoded(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).unwrap()
}

/// Name, optional file name and content of a form field.
pub(super) type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

pub(super) const IMAGE: Part = ("image", Some("a.png"), PIXEL);
pub(super) const PROMPT: Part = ("prompt", None, b"make it blue");

pub(super) fn form(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\ncontent-type: image/png"));
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{}\r\n\r\n",
            file.unwrap_or_default()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub(super) fn post_form(server: &TestServer, body: Vec<u8>) -> reqwest::RequestBuilder {
    let request = server.client.post(server.url(EDITS)).header(
        "content-type",
        format!("multipart/form-data; boundary={BOUNDARY}"),
    );
    request.bearer_auth(&server.key).body(body)
}

pub(super) async fn response_json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// A server whose engine `openai` uses an upstream that returns one edited image.
pub(super) async fn openai_server() -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::json(
        200,
        json!({
            "created": 1, "data": [{"b64_json": pixel_base64(), "revised_prompt": "bluer"}],
            "quality": "low", "background": "opaque",
            "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        }),
    )
    .await;
    let server = TestServer::with_engine(
        "openai",
        &[
            (
                "IMAGES_OPENAI_API_BASE_URL",
                &format!("{}/v1", upstream.url()),
            ),
            ("IMAGE_EDIT_MODEL", "gpt-image-1.5"),
        ],
    )
    .await;
    (upstream, server)
}

/// The fields of the only form that the upstream got: the name of each file, name and text of the others.
fn sent_fields(upstream: &FakeUpstream) -> Vec<String> {
    let requests = upstream.requests();
    assert_eq!(requests.len(), 1, "{:?}", upstream.request_lines());
    assert_eq!(requests[0].line(), "POST /v1/images/edits");
    let body = String::from_utf8_lossy(&requests[0].body).into_owned();
    let parts = body.split("form-data; name=\"").skip(1);
    let field = |part: &str| {
        let (name, rest) = part.split_once('"').unwrap();
        let (head, content) = rest.split_once("\r\n\r\n").unwrap();
        if head.contains("filename") {
            return name.to_owned();
        }
        format!("{name}={}", content.split_once("\r\n").unwrap().0)
    };
    parts
        .filter(|part| part.contains("\r\n\r\n"))
        .map(field)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn form_with_all_fields_reaches_engine() {
    let (upstream, server) = openai_server().await;
    let parts: &[Part] = &[
        PROMPT,
        ("model", None, b"gpt-image-1"),
        ("n", None, b"2"),
        ("size", None, b"1024x1024"),
        ("quality", None, b"high"),
        ("background", None, b"auto"),
        ("output_format", None, b"webp"),
        ("output_compression", None, b"80"),
        ("input_fidelity", None, b"high"),
        ("response_format", None, b"b64_json"),
        ("user", None, b"u-1"),
        ("safety_identifier", None, b"u"),
        ("stream", None, b"false"),
        ("partial_images", None, b""),
        ("engine", None, b"openai"),
        IMAGE,
        ("mask", Some("m.png"), &decoded(MASK)),
    ];
    let (status, response) = response_json(post_form(&server, form(parts))).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response_images(&response), [PIXEL]);
    let expected = json!({
        "created": response["created"],
        "data": [{"b64_json": pixel_base64(), "revised_prompt": "bluer"}],
        "output_format": "png", "quality": "low", "background": "opaque",
        "usage": usage(3, 4),
        "warnings": ["1 of 2 images received", "generated at 1x1 instead of 1024x1024"],
    });
    assert_eq!(response, expected);
    let expected_fields = [
        "model=gpt-image-1",
        "prompt=make it blue",
        "n=2",
        "size=1024x1024",
        "background=auto",
        "input_fidelity=high",
        "output_compression=80",
        "output_format=webp",
        "quality=high",
        "image",
        "mask",
    ];
    assert_eq!(sent_fields(&upstream), expected_fields);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn form_accepts_several_images() {
    for name in ["image", "image[]"] {
        let (upstream, server) = openai_server().await;
        let parts: &[Part] = &[
            (name, Some("a.png"), PIXEL),
            (name, Some("b.png"), PIXEL),
            PROMPT,
            ("response_format", None, b"url"),
        ];
        let (status, response) = response_json(post_form(&server, form(parts))).await;
        assert_eq!(status, 200, "{response}");
        let url = response["data"][0]["url"].as_str().unwrap();
        assert_eq!(response["data"][0]["revised_prompt"], "bluer");
        let stored = server.get(&file_path(url)).send().await.unwrap();
        assert_eq!(stored.bytes().await.unwrap(), PIXEL);
        let expected = [
            "model=gpt-image-1.5",
            "prompt=make it blue",
            "image[]",
            "image[]",
        ];
        assert_eq!(sent_fields(&upstream), expected);
        assert_eq!(server.stored_files(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_accepts_data_urls_and_own_files() {
    let (_upstream, server) = openai_server().await;
    let image = json!({"image_url": format!("data:image/png;base64,{}", pixel_base64())});
    let mask = json!({"image_url": format!("data:image/png;base64,{MASK}")});
    let body = json!({
        "prompt": "bluer", "images": [image], "mask": mask, "response_format": "url",
    });
    let (status, first) = server.post_json(EDITS, &body).await;
    assert_eq!(status, 200, "{first}");
    let url = first["data"][0]["url"].as_str().unwrap();
    let path = file_path(url);
    let id = path.split('/').nth(4).unwrap();
    for reference in [json!({"image_url": url}), json!({"file_id": id})] {
        let edit = json!({"prompt": "bluer", "images": [reference], "mask": mask});
        let (edit_status, response) = server.post_json(EDITS, &edit).await;
        assert_eq!(edit_status, 200, "{response}");
    }
    // A file of another user does not exist.
    let foreign = json!({"prompt": "bluer", "images": [{"file_id": id}]});
    let anonymous = server.add_second_user().await;
    let request = server
        .client
        .post(server.url(EDITS))
        .bearer_auth(anonymous)
        .body(foreign.to_string());
    let expected = Refusal {
        code: Value::Null,
        ..invalid("images", "images refers to a file that does not exist")
    };
    assert_refused("no key", response_json(request).await, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_cancels_edit() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let upstream = FakeUpstream::start(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move { super::stream::endless("application/json", receiver) }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let pending = tokio::spawn(post_form(&server, form(&[PROMPT, IMAGE])).send());
    upstream.wait_for_requests(1).await;
    pending.abort();
    // The upstream's response is dropped.
    sender.closed().await;
    assert_eq!(upstream.request_lines(), ["POST /v1/images/edits"]);
}

/// A form that requests a stream.
pub(super) fn streaming_form() -> Vec<u8> {
    form(&[
        PROMPT,
        IMAGE,
        ("stream", None, b"true"),
        ("partial_images", None, b"1"),
    ])
}
