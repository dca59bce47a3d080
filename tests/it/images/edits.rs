//! `POST /v1/images/edits`: forms and JSON, on engine `openai`.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::Limits;
use pinhole_tests::{FakeUpstream, PIXEL, TestServer, long_image, pixel_base64};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Refusal, assert_refused, invalid, malformed, response_images};

const EDITS: &str = "/v1/images/edits";
/// A transparent PNG of one pixel. [`PIXEL`] is opaque.
const MASK: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";
/// The same, two pixels wide.
const WIDE_MASK: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAC0lEQVR42mNggAIAAAkAAWj2z04AAAAASUVORK5CYII=";
const BOUNDARY: &str = "------------------------d74496d66958873e";

fn decoded(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).unwrap()
}

/// Name, optional file name and content of a form field.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

const IMAGE: Part = ("image", Some("a.png"), PIXEL);
const PROMPT: Part = ("prompt", None, b"make it blue");

fn form(parts: &[Part]) -> Vec<u8> {
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

async fn response_json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// A server whose engine `openai` uses an upstream that returns one edited image.
async fn openai_server() -> (FakeUpstream, TestServer) {
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
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
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
        let stored = server.get(url).send().await.unwrap();
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
    let id = url.split('/').nth(4).unwrap();
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
    assert_refused("a stranger", response_json(request).await, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_usable_image_is_refused() {
    let (upstream, server) = openai_server().await;
    let image = json!({"image_url": format!("data:image/png;base64,{}", pixel_base64())});
    for (images, mask, param, message) in [
        (
            json!([{"image_url": format!("{}/a.png", upstream.url())}]),
            Value::Null,
            "images",
            "images has a URL that the server does not fetch: send the image itself, or",
        ),
        (
            json!([{"image_url": "/api/v1/files/../../etc/passwd"}]),
            Value::Null,
            "images",
            "a URL that the server does not fetch",
        ),
        (
            json!([{"file_id": "nosuch"}]),
            Value::Null,
            "images",
            "a file that does not exist",
        ),
        (
            json!([{}]),
            Value::Null,
            "images",
            "images needs either image_url or file_id",
        ),
        (
            json!([{"image_url": "data:image/png;base64,%"}]),
            Value::Null,
            "images",
            "not base64",
        ),
        (
            json!([{"image_url": "data:image/png;base64,QUJD"}]),
            Value::Null,
            "images",
            "images cannot be used: the bytes are not a PNG",
        ),
        (json!("x"), Value::Null, "images", "images cannot be used"),
        (
            json!(vec![image.clone(); 17]),
            Value::Null,
            "image",
            "more than 16 source images",
        ),
        (
            json!([image]),
            json!({"file_id": "5"}),
            "mask",
            "a file that does not exist",
        ),
        (json!([image]), json!([]), "mask", "mask cannot be used"),
    ] {
        let body = json!({"prompt": "bluer", "images": images, "mask": mask});
        let expected = Refusal {
            code: Value::Null,
            ..invalid(param, message)
        };
        assert_refused(message, server.post_json(EDITS, &body).await, &expected);
    }
    for body in [
        json!({"prompt": "bluer"}),
        json!({"prompt": "bluer", "images": []}),
    ] {
        let expected = invalid("image", "there is no image to edit");
        assert_refused(
            "no picture",
            server.post_json(EDITS, &body).await,
            &expected,
        );
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn source_images_share_length_limit() {
    let (upstream, server) = openai_server().await;
    let long = long_image(30 << 20);
    let limits = Limits::job(Duration::ZERO).image;
    let long = Image::from_bytes(long.into(), limits).unwrap();
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    let user = user.unwrap();
    let saved = server
        .app
        .files
        .save_as("fox.png".into(), &user.id, &long, &json!({}))
        .await;
    let reference = json!({"file_id": saved.unwrap().id});
    let body = json!({"prompt": "bluer", "images": vec![reference; 4]});
    let expected = Refusal {
        code: Value::Null,
        ..invalid(
            "image",
            "the source images have more than 67108864 bytes together",
        )
    };
    assert_refused("four", server.post_json(EDITS, &body).await, &expected);
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_form_names_field() {
    let (upstream, server) = openai_server().await;
    let long = vec![b'x'; (64 << 10) + 1];
    let many: Vec<String> = (0..65).map(|number| format!("field-{number}")).collect();
    let many: Vec<Part> = many
        .iter()
        .map(|name| (name.as_str(), None, &b"x"[..]))
        .collect();
    let huge = vec![0; (32 << 20) + 1];
    for (parts, status, param, message) in [
        (
            vec![PROMPT, ("image", Some("a"), b"text")],
            400,
            Some("image"),
            "image cannot be used: the bytes are not a PNG",
        ),
        (
            vec![PROMPT, IMAGE, ("mask", Some("a"), b"")],
            400,
            Some("mask"),
            "mask cannot be used: the image is empty",
        ),
        (
            vec![IMAGE, PROMPT, PROMPT],
            400,
            Some("prompt"),
            "prompt occurs twice: send it once",
        ),
        (
            vec![IMAGE, PROMPT, ("n", None, b"many")],
            400,
            Some("n"),
            "invalid type: string \"many\", expected u32 (in n)",
        ),
        (
            vec![IMAGE, ("prompt", None, b"\xff")],
            400,
            Some("prompt"),
            "prompt is not UTF-8 text",
        ),
        (
            vec![IMAGE; 17],
            400,
            Some("image"),
            "more than 16 source images",
        ),
        (
            vec![IMAGE, ("prompt", None, &long)],
            413,
            Some("prompt"),
            "prompt has more than the 65536 bytes allowed",
        ),
        (many, 413, None, "the form has more than 64 fields"),
        (
            vec![PROMPT, ("image", Some("a"), &huge)],
            413,
            Some("image"),
            "image has more than the 33554432 bytes allowed",
        ),
    ] {
        let expected = Refusal {
            status,
            param: json!(param),
            ..malformed(message)
        };
        let request = post_form(&server, form(&parts));
        assert_refused(message, response_json(request).await, &expected);
    }
    let (transparent, wide) = (decoded(MASK), decoded(WIDE_MASK));
    for (parts, param, message) in [
        (vec![PROMPT], "image", "there is no image to edit"),
        (vec![IMAGE], "prompt", "the prompt is empty"),
        (
            vec![PROMPT, IMAGE, ("mask", Some("m"), PIXEL)],
            "mask",
            "the mask must be a PNG with an alpha channel",
        ),
        (
            vec![PROMPT, IMAGE, ("mask", Some("m"), &wide)],
            "mask",
            "must be 1x1 like the image",
        ),
        (
            vec![
                PROMPT,
                IMAGE,
                ("mask", Some("m"), &transparent),
                ("n", None, b"11"),
            ],
            "n",
            "engine openai makes 1 to 10",
        ),
    ] {
        let request = post_form(&server, form(&parts));
        assert_refused(
            message,
            response_json(request).await,
            &invalid(param, message),
        );
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_form_is_refused() {
    let (upstream, server) = openai_server().await;
    let whole = form(&[PROMPT, IMAGE]);
    let expected = malformed("the form cannot be read");
    for body in [b"".as_slice(), b"x", &whole[..whole.len() - 60]] {
        let request = post_form(&server, body.to_vec());
        assert_refused("broken", response_json(request).await, &expected);
    }
    // A chunked body whose chunk length is invalid.
    let mut socket = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let head = format!(
        "POST {EDITS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: \
         multipart/form-data; boundary={BOUNDARY}\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        server.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");

    let request = server
        .client
        .post(server.url(EDITS))
        .bearer_auth(&server.key);
    let request = request.header("content-type", "multipart/form-data");
    let no_boundary = malformed("boundary");
    assert_refused(
        "no boundary",
        response_json(request.body(whole)).await,
        &no_boundary,
    );

    // Longer than the limit of edits.
    let images = vec![0; 30 << 20];
    let junk = ("image", Some("a"), &images[..]);
    let long = long_image(30 << 20);
    let long = ("image", Some("a"), &long[..]);
    let too_long = post_form(&server, form(&[long, long, long, junk]));
    let length_error = Refusal {
        status: 413,
        ..malformed("the form cannot be read")
    };
    assert_refused("too long", response_json(too_long).await, &length_error);
    let anonymous = server.client.post(server.url(EDITS)).body("x");
    let unauthenticated = Refusal {
        status: 401,
        ..malformed("Not authenticated")
    };
    assert_refused(
        "a stranger",
        response_json(anonymous).await,
        &unauthenticated,
    );
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_edit_is_refused() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let request = post_form(&server, form(&[PROMPT, IMAGE]));
    let expected = Refusal {
        code: json!("unsupported"),
        ..invalid("image", "engine sketch cannot edit images")
    };
    assert_refused("sketch", response_json(request).await, &expected);
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
