//! Jobs that edit images, and masks.

use pinhole_tests::{PIXEL, gif};

use super::*;

/// A transparent PNG of one pixel.
const MASK: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";

fn data_url(base64: &str) -> String {
    format!("data:image/png;base64,{base64}")
}

/// Stores an image of the user with this key. Returns its id.
async fn upload(server: &TestServer, key: &str, bytes: &[u8]) -> String {
    let boundary = "x";
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--x--\r\n"].concat();
    let request = server.client.post(server.url("/api/v1/files/"));
    let request = request.header("content-type", "multipart/form-data; boundary=x");
    let response = request.bearer_auth(key).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let file: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    id(&file).to_owned()
}

/// The names of the files in the last form that the upstream got.
fn sent_files(upstream: &FakeUpstream) -> Vec<String> {
    let requests = upstream.requests();
    let request = requests.last().unwrap();
    assert_eq!(request.line(), "POST /v1/images/edits");
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let parts = body.split("form-data; name=\"").skip(1);
    let files = parts.filter(|part| part.contains("filename"));
    files
        .map(|part| part.split_once('"').unwrap().0.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_takes_stored_files_and_data_urls() {
    let (upstream, server) = openai_server(200, image_response()).await;
    let source = upload(&server, &server.key, PIXEL).await;
    let mask_bytes = base64_simd::STANDARD.decode_to_vec(MASK).unwrap();
    let mask = upload(&server, &server.key, &mask_bytes).await;
    let body = json!({
        "prompt": "bluer", "sources": [source, data_url(&pixel_base64()), format!("/api/v1/files/{source}/content")],
        "mask": format!("/api/v1/files/{mask}/content"),
    });
    let job = wait(&server, &start(&server, &body).await).await;
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["operation"], "edit");
    let expected = json!({"prompt": "bluer", "sources": [source, null, source], "mask": mask});
    assert_eq!(job["request"], expected);
    assert_eq!(
        sent_files(&upstream),
        ["image[]", "image[]", "image[]", "mask"]
    );
    let with_data_url = json!({"prompt": "bluer", "sources": [source], "mask": data_url(MASK)});
    let second = wait(&server, &start(&server, &with_data_url).await).await;
    assert_eq!(second["request"]["mask"], Value::Null);
    assert_eq!(sent_files(&upstream), ["image", "mask"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_edit_is_refused_at_once() {
    let (upstream, server) = openai_server(200, image_response()).await;
    let second = server.add_second_user().await;
    let theirs = upload(&server, &server.key, PIXEL).await;
    let wide = base64_simd::STANDARD.encode_to_string(gif(2));
    let pixel = data_url(&pixel_base64());
    for (body, reason) in [
        (
            json!({"sources": [theirs]}),
            "source refers to a file that does not exist",
        ),
        (
            json!({"sources": [pixel], "mask": theirs}),
            "mask refers to a file that does not exist",
        ),
        (
            json!({"sources": [pixel], "mask": pixel}),
            "the mask must be a PNG with an alpha channel",
        ),
        (
            json!({"sources": [format!("data:image/gif;base64,{wide}")], "mask": data_url(MASK)}),
            "like the image",
        ),
        (
            json!({"sources": ["data:image/png;base64,AAAA"]}),
            "source cannot be used",
        ),
    ] {
        let mut body = body;
        body["prompt"] = json!("bluer");
        let (status, error) = send(&server, second, http::Method::POST, JOBS, Some(&body)).await;
        let detail = error["detail"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{error}");
        assert!(detail.contains(reason), "{detail}");
    }
    assert_eq!(upstream.request_lines().len(), 0);
    let sketch = TestServer::with_engine("sketch", &[]).await;
    let body = json!({"prompt": "bluer", "sources": [pixel]});
    let (status, error) = sketch.post_json(JOBS, &body).await;
    let detail = error["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 400, "{error}");
    assert!(detail.contains("cannot edit images"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_route_takes_a_mask() {
    let (upstream, server) = openai_server(200, image_response()).await;
    let bytes = base64_simd::STANDARD.decode_to_vec(MASK).unwrap();
    let stored = upload(&server, &server.key, &bytes).await;
    let edit =
        |name: Value| json!({"prompt": "bluer", "image": data_url(&pixel_base64()), "mask": name});
    for mask in [
        json!(data_url(MASK)),
        json!(stored),
        json!(format!("/api/v1/files/{stored}/content")),
    ] {
        for body in [edit(mask.clone()), json!({"form_data": edit(mask)})] {
            let (status, images) = server.post_json("/api/v1/images/edit", &body).await;
            assert_eq!(status, 200, "{images}");
            assert_eq!(sent_files(&upstream), ["image", "mask"]);
        }
    }
    for nothing in [json!(null), json!("")] {
        let (status, images) = server
            .post_json("/api/v1/images/edit", &edit(nothing))
            .await;
        assert_eq!(status, 200, "{images}");
        assert_eq!(sent_files(&upstream), ["image"]);
    }
    let refused = server
        .post_json("/api/v1/images/edit", &edit(json!("none")))
        .await;
    let expected = json!({"detail": "[ERROR: mask refers to a file that does not exist]"});
    assert_eq!(refused, (400, expected));
    let (status, error) = server
        .post_json("/api/v1/images/edit", &edit(json!(5)))
        .await;
    assert_eq!(status, 422, "{error}");
    assert_eq!(error["detail"][0]["loc"], json!(["body", "mask"]));
    // Synchronous requests have no row.
    assert_eq!(get(&server, JOBS).await["jobs"], json!([]));
}
