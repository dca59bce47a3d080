//! `POST /api/v1/images/edit`: flat and nested bodies; images by data URL, id and URL.

use pinhole_images::Image;
use pinhole_sandbox::Limits;
use pinhole_tests::{FakeUpstream, PIXEL, TestServer, gif, pixel_base64};
use serde_json::{Value, json};

use super::{EDIT, assert_refused, openai_server, response_json, stored_images};

fn data_url() -> String {
    format!("data:image/png;base64,{}", pixel_base64())
}

/// The text fields of the last form that the upstream got, and the names of its image fields.
fn sent_form(upstream: &FakeUpstream) -> (Vec<String>, Vec<String>) {
    let requests = upstream.requests();
    let request = requests.last().unwrap();
    assert_eq!(request.line(), "POST /v1/images/edits");
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    for part in body.split("form-data; name=\"").skip(1) {
        let (name, rest) = part.split_once('"').unwrap();
        let (head, content) = rest.split_once("\r\n\r\n").unwrap();
        if head.contains("filename") {
            files.push(name.to_owned());
        } else {
            texts.push(format!("{name}={}", content.split_once("\r\n").unwrap().0));
        }
    }
    (texts, files)
}

/// Stores an image for the user of this key. Returns its id.
async fn store_image(server: &TestServer, key: &str, bytes: &[u8]) -> String {
    let limits = Limits::job(std::time::Duration::ZERO).image;
    let image = Image::from_bytes(bytes.to_vec().into(), limits).unwrap();
    let user = server.app.store.user_by_key(key).await.unwrap().unwrap();
    let row = server
        .app
        .files
        .save_as("fox.png".into(), &user.id, &image, &json!({}))
        .await;
    row.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_accepts_flat_and_nested_body() {
    let form = json!({
        "image": data_url(), "prompt": "make it blue", "model": "gpt-image-1", "n": 2,
        "size": "1024x1024", "negative_prompt": "snow", "background": "opaque",
    });
    // Open WebUI links the image to any chat that this names.
    let metadata = json!({"chat_id": "c", "message_id": "m"});
    for body in [
        form.clone(),
        json!({"form_data": form}),
        json!({"form_data": form, "metadata": metadata}),
        json!({"form_data": form, "metadata": null}),
    ] {
        let (upstream, server) = openai_server(&[]).await;
        let response = server.post_json(EDIT, &body).await;
        let id = response.1[0]["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(stored_images(&server, response, "image/png").await, [PIXEL]);
        let (texts, files) = sent_form(&upstream);
        let expected = [
            "model=gpt-image-1",
            "prompt=make it blue",
            "n=2",
            "size=1024x1024",
            "background=opaque",
        ];
        assert_eq!(
            (texts.as_slice(), files.as_slice()),
            (
                expected.map(str::to_owned).as_slice(),
                ["image".to_owned()].as_slice()
            )
        );
        let row = server.app.store.file(&id).await.unwrap().unwrap();
        let meta: Value = serde_json::from_str(&row.meta).unwrap();
        assert!(meta.get("chat_id").is_none(), "{meta}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_uses_edit_settings() {
    let variables = [
        ("IMAGE_EDIT_MODEL", "gpt-image-1.5"),
        ("IMAGE_EDIT_SIZE", "1536x1024"),
    ];
    let (upstream, server) = openai_server(&variables).await;
    for size in [json!(null), json!("")] {
        let body = json!({
            "image": data_url(), "prompt": "bluer", "model": null, "n": null, "size": size,
        });
        let (status, response) = server.post_json(EDIT, &body).await;
        assert_eq!(status, 200, "{response}");
        let expected = ["model=gpt-image-1.5", "prompt=bluer", "size=1536x1024"];
        assert_eq!(sent_form(&upstream).0, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_accepts_file_id_and_url() {
    let (upstream, server) = openai_server(&[]).await;
    let id = store_image(&server, &server.key, PIXEL).await;
    let path = format!("/api/v1/files/{id}/content");
    for image in [
        json!(id),
        json!(path),
        json!(format!("/api/v1/files/{id}")),
        json!(server.url(&path)),
        json!(format!("https://pictures.example{path}?attachment=true")),
        json!([id]),
    ] {
        let body = json!({"image": image, "prompt": "bluer"});
        let (status, response) = server.post_json(EDIT, &body).await;
        assert_eq!(status, 200, "{image}: {response}");
        assert_eq!(sent_form(&upstream).1, ["image"]);
    }
    let body = json!({"image": [id, data_url(), path], "prompt": "bluer"});
    let (status, response) = server.post_json(EDIT, &body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(sent_form(&upstream).1, ["image[]", "image[]", "image[]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_refuses_file_of_other_user() {
    let (upstream, server) = openai_server(&[]).await;
    let second = server.add_second_user().await;
    let id = store_image(&server, &server.key, PIXEL).await;
    for image in [id.clone(), format!("/api/v1/files/{id}/content")] {
        let body = json!({"image": image, "prompt": "bluer"}).to_string();
        let request = server.client.post(server.url(EDIT)).bearer_auth(second);
        let detail = "[ERROR: image refers to a file that does not exist]";
        assert_refused(&image, response_json(request.body(body)).await, 400, detail);
    }
    // Their own file is accepted.
    let own = store_image(&server, second, &gif(2)).await;
    let body = json!({"image": own, "prompt": "bluer"}).to_string();
    let request = server.client.post(server.url(EDIT)).bearer_auth(second);
    let (status, response) = response_json(request.body(body)).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(upstream.request_lines(), ["POST /v1/images/edits"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_reports_unusable_image() {
    let (upstream, server) = openai_server(&[]).await;
    let foreign = format!("{}/fox.png", upstream.url());
    let not_fetched = "[ERROR: image has a URL that the server does not fetch: send the image itself, or the URL of a stored file (/api/v1/files/…/content)]";
    for (image, detail) in [
        (json!(foreign), not_fetched),
        (json!("file:///etc/passwd"), not_fetched),
        (json!("/etc/passwd"), not_fetched),
        (
            json!("nosuch"),
            "[ERROR: image refers to a file that does not exist]",
        ),
        (
            json!(""),
            "[ERROR: image refers to a file that does not exist]",
        ),
        (
            json!("data:image/png;base64,%"),
            "[ERROR: image has a data URL that is not base64]",
        ),
        (json!([]), "[ERROR: there is no image to edit]"),
        (
            json!(vec![data_url(); 17]),
            "[ERROR: more than 16 source images: send fewer]",
        ),
    ] {
        let body = json!({"image": image, "prompt": "bluer"});
        assert_refused(detail, server.post_json(EDIT, &body).await, 400, detail);
    }
    let body = json!({"image": "data:image/png;base64,QUJD", "prompt": "bluer"});
    let (status, refused) = server.post_json(EDIT, &body).await;
    let detail = refused["detail"].as_str().unwrap();
    let expected = "[ERROR: image cannot be used: the bytes are not a PNG";
    assert!(status == 400 && detail.starts_with(expected), "{refused}");
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}
