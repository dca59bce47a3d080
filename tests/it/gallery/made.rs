//! What made an image is stored with it, however it was made.

use pinhole_tests::{FakeUpstream, TestServer, file_path, gif, long_image, pixel_base64};
use serde_json::{Value, json};

use super::{GALLERY, generate, get, images, names, post, upload, upload_bytes};

async fn sketch() -> TestServer {
    TestServer::with_engine("sketch", &[]).await
}

fn id_of(url: &str) -> String {
    let path = url.strip_prefix("/api/v1/files/").unwrap();
    path.strip_suffix("/content").unwrap().to_owned()
}

async fn image(server: &TestServer, id: &str) -> Value {
    let (status, image) = get(server, &server.key, &format!("{GALLERY}/{id}")).await;
    assert_eq!(status, 200, "{image}");
    image
}

/// Checks what each way of generating stores.
fn assert_made(image: &Value, prompt: &str, size: (u32, u32)) {
    assert_eq!(image["prompt"], prompt);
    assert_eq!(image["source"], "generated");
    assert_eq!(image["operation"], "generate");
    assert_eq!(
        (&image["binding"], &image["engine"]),
        (&json!("sketch"), &json!("sketch"))
    );
    assert_eq!(image["requested_size"], format!("{}x{}", size.0, size.1));
    assert_eq!(
        (&image["width"], &image["height"]),
        (&json!(size.0), &json!(size.1))
    );
    assert_eq!(image["count"], 1);
    assert_eq!(image["digest"].as_str().unwrap().len(), 64);
    assert_eq!(image["sha256"].as_str().unwrap().len(), 64);
    assert!(!image["engine_version"].as_str().unwrap().is_empty());
    assert!(image["duration_ms"].is_u64() && image["job_id"].is_string());
    assert_eq!(image["starred"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_each_api_has_its_request() {
    let server = sketch().await;
    let body = json!({"prompt": "a red fox", "size": "64x48", "seed": 7});
    let stored = generate(&server, &server.key, body).await;
    let made = image(&server, stored[0]["id"].as_str().unwrap()).await;
    assert_made(&made, "a red fox", (64, 48));
    assert_eq!(made["seed"], 7);
    assert_eq!(made["url"], stored[0]["url"]);

    let as_url = json!({"prompt": "a blue fox", "size": "48x64", "response_format": "url"});
    let response = post(&server, &server.key, "/v1/images/generations", as_url).await;
    let url = file_path(response["data"][0]["url"].as_str().unwrap());
    let of_openai = image(&server, &id_of(&url)).await;
    assert_made(&of_openai, "a blue fox", (48, 64));
    assert_eq!(of_openai.get("chat_id"), None);

    // Both are in the metadata of the file, too.
    let (_, file) = get(
        &server,
        &server.key,
        &format!("/api/v1/files/{}", made["id"].as_str().unwrap()),
    )
    .await;
    let request = &file["meta"]["data"]["request"];
    assert_eq!(
        *request,
        json!({"prompt": "a red fox", "size": "64x48", "count": 1, "seed": 7})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_chat_has_its_request_and_message() {
    let server = sketch().await;
    let chat = json!({"chat": {"title": "Foxes", "history": {"messages": {}, "currentId": null}}});
    let chat = post(&server, &server.key, "/api/v1/chats/new", chat).await;
    let chat_id = chat["id"].as_str().unwrap();
    let turn = json!({
        "model": "sketch", "chat_id": chat_id, "id": "answer", "stream": false,
        "messages": [{"role": "user", "content": "draw a green fox"}],
        "features": {"image_generation": true},
        "image_generation": {"size": "64x48"},
    });
    post(&server, &server.key, "/api/chat/completions", turn).await;
    let found = images(&server, &server.key, &format!("chat_id={chat_id}")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_made(&found[0], "draw a green fox", (64, 48));
    assert_eq!(
        (&found[0]["chat_id"], &found[0]["message_id"]),
        (&json!(chat_id), &json!("answer"))
    );
    assert_eq!(names(&server, &server.key, "chat_id=other").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_names_the_stored_images_that_it_edited() {
    let response = json!({"created": 1, "data": [{"b64_json": pixel_base64()}]});
    let upstream = FakeUpstream::json(200, response).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let source = upload_bytes(&server, &server.key, "fox.png", &long_image(500)).await;
    let url = format!("/api/v1/files/{source}/content");
    for image_reference in [json!(source), json!([url])] {
        let body = json!({"prompt": "make it blue", "image": image_reference});
        let stored = post(&server, &server.key, "/api/v1/images/edit", body).await;
        let made = image(&server, stored[0]["id"].as_str().unwrap()).await;
        assert_eq!(made["operation"], "edit");
        assert_eq!(made["sources"], json!([source]));
    }
    // An image that the request contains has no id.
    let data = format!("data:image/png;base64,{}", pixel_base64());
    let body = json!({"prompt": "make it blue", "image": [data, source]});
    let stored = post(&server, &server.key, "/api/v1/images/edit", body).await;
    let made = image(&server, stored[0]["id"].as_str().unwrap()).await;
    assert_eq!(made["sources"], json!([source]));
    assert_eq!(
        names(&server, &server.key, "kind=uploaded").await,
        ["fox.png"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_has_its_size_and_nothing_that_its_metadata_claims() {
    let server = sketch().await;
    let head = "--limit\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n";
    let claim = json!({"job": "j", "engine": "sketch", "prompt": "claimed", "seed": 5});
    let form = format!(
        "{head}{claim}\r\n--limit\r\ncontent-disposition: form-data; name=\"file\"; \
         filename=\"generated-image.gif\"\r\n\r\n"
    );
    let form = [form.as_bytes(), &gif(9), b"\r\n--limit--\r\n"].concat();
    let request = server
        .client
        .post(server.url("/api/v1/files/"))
        .bearer_auth(&server.key);
    let request = request.header("content-type", "multipart/form-data; boundary=limit");
    assert_eq!(request.body(form).send().await.unwrap().status(), 200);
    let found = images(&server, &server.key, "").await;
    assert_eq!(found[0]["source"], "uploaded");
    assert_eq!(
        (&found[0]["width"], &found[0]["height"]),
        (&json!(9), &json!(1))
    );
    assert_eq!(found[0]["prompt"], Value::Null);
    for field in ["engine", "seed", "job_id", "operation", "count", "details"] {
        assert_eq!(found[0].get(field), None, "{field}");
    }
    assert_eq!(names(&server, &server.key, "q=claimed").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_another_user_is_not_found() {
    let server = sketch().await;
    let second = server.add_second_user().await;
    let (mine, theirs) = (
        upload(&server, &server.key, "mine.gif").await,
        upload(&server, second, "theirs.gif").await,
    );
    // Administrators too have only their own images.
    for (key, id) in [(second, &mine), (server.key.as_str(), &theirs)] {
        let (status, refusal) = get(&server, key, &format!("{GALLERY}/{id}")).await;
        assert_eq!(status, 404, "{refusal}");
    }
    assert_eq!(names(&server, &server.key, "").await, ["mine.gif"]);
    assert_eq!(names(&server, second, "").await, ["theirs.gif"]);
    let (_, facets) = get(&server, second, &format!("{GALLERY}/facets")).await;
    assert_eq!(facets, json!({"engines": [], "models": [], "total": 1}));
    let anonymous = server.client.get(server.url(GALLERY)).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_does_not_read_prompts_of_others_in_files() {
    let server = sketch().await;
    let second = server.add_second_user().await;
    let body = json!({"prompt": "a secret fox", "size": "64x48"});
    let made = generate(&server, second, body).await;
    let path = format!("/api/v1/files/{}", made[0]["id"].as_str().unwrap());
    let (_, own) = get(&server, second, &path).await;
    assert_eq!(own["meta"]["data"]["request"]["prompt"], "a secret fox");
    for listed in [path.as_str(), "/api/v1/files/"] {
        let (status, seen) = get(&server, &server.key, listed).await;
        assert_eq!(status, 200);
        assert!(!seen.to_string().contains("secret"), "{seen}");
        assert!(seen.to_string().contains("sketch"), "{seen}");
    }
}
