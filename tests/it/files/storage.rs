//! The user's quota, the reserve of the disk, and images that cannot be stored at once.

use std::fs;

use pinhole::files::ImageRecord;
use pinhole_images::Image;
use pinhole_tests::{TestServer, gif, long_image};
use rlimit::Resource;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{content_url, file_id, form, generate_image, response_json, upload};

const IMAGE_PATH: &str = "/api/v1/images/generations";
const MIB: usize = 1 << 20;

/// The administrator's images in the database.
async fn listed(server: &TestServer) -> Value {
    let (status, files) = response_json(server.get("/api/v1/files/")).await;
    assert_eq!(status, 200, "{files}");
    files
}

async fn content_status(server: &TestServer, url: &str) -> u16 {
    let response = server.get(url).send().await.unwrap();
    let status = response.status().as_u16();
    if status == 200 {
        assert!(
            response
                .bytes()
                .await
                .unwrap()
                .starts_with(b"\x89PNG\r\n\x1a\n")
        );
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_limits_files_and_chats_of_each_user() {
    let server = TestServer::start(&[("PINHOLE_USER_STORAGE_MIB", "1")]).await;
    let key = server.add_second_user().await;
    let post = |path: &str, body: &Value| {
        let request = server.client.post(server.url(path)).bearer_auth(key);
        response_json(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
    };
    let image = long_image(MIB * 6 / 10);
    let row = upload(&server, key, "fox.gif", &image).await;
    let second = super::post_form(&server, key, form(&[("file", Some("fox.gif"), &image)]));
    let (status, refusal) = response_json(second).await;
    assert_eq!(status, 413, "{refusal}");
    assert_eq!(
        refusal["detail"],
        "your files and chats occupy 1 MiB of 1 MiB: delete some first"
    );
    let note = |length: usize| json!({"chat": {"note": "x".repeat(length)}});
    assert_eq!(post("/api/v1/chats/new", &note(MIB / 2)).await.0, 413);
    let rest = MIB - image.len() - 1000;
    let (saved, chat) = post("/api/v1/chats/new", &note(rest)).await;
    assert_eq!(saved, 200, "{chat}");
    let chat_path = format!("/api/v1/chats/{}", chat["id"].as_str().unwrap());
    assert_eq!(post(&chat_path, &note(rest + 2000)).await.0, 413);
    assert_eq!(post(&chat_path, &note(rest - 2000)).await.0, 200);
    let message = json!({"content": "x".repeat(5000)});
    assert_eq!(
        post(&format!("{chat_path}/messages/a"), &message).await.0,
        413
    );
    // Another user and administrators are not affected.
    upload(&server, &server.key, "fox.gif", &long_image(2 * MIB)).await;
    let url = format!("/api/v1/files/{}", row["id"].as_str().unwrap());
    let deletion = server.client.delete(server.url(&url)).bearer_auth(key);
    assert_eq!(response_json(deletion).await.0, 200);
    upload(&server, key, "fox.gif", &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_quota_starts_no_job() {
    let server = TestServer::start(&[("PINHOLE_USER_STORAGE_MIB", "1")]).await;
    let key = server.add_second_user().await;
    upload(&server, key, "fox.gif", &long_image(MIB - 1000)).await;
    // The last image may exceed the quota.
    generate_image(&server, key).await;
    for (path, body, error) in [
        (IMAGE_PATH, json!({"prompt": "a fox"}), "/detail"),
        (
            "/v1/images/generations",
            json!({"prompt": "a fox", "response_format": "url"}),
            "/error/message",
        ),
    ] {
        let request = server.client.post(server.url(path)).bearer_auth(key);
        let request = request.header("content-type", "application/json");
        let (status, refusal) = response_json(request.body(body.to_string())).await;
        assert_eq!(status, 413, "{path}: {refusal}");
        let message = refusal.pointer(error).and_then(Value::as_str).unwrap();
        assert!(message.contains("delete some first"), "{message}");
    }
    // Nothing is stored for base64.
    let body = json!({"prompt": "a fox", "size": "64x48"});
    let request = server.client.post(server.url("/v1/images/generations"));
    assert_eq!(
        response_json(request.bearer_auth(key).body(body.to_string()))
            .await
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_reserve_refuses_what_is_new_and_nothing_else() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let (saved, chat) = server
        .post_json("/api/v1/chats/new", &json!({"chat": {}}))
        .await;
    assert_eq!(saved, 200, "{chat}");
    let server = server
        .restart(&[("PINHOLE_RESERVED_DISK_MIB", "1099511627776")])
        .await;
    let chat_path = format!("/api/v1/chats/{}", chat["id"].as_str().unwrap());
    let upload = super::post_form(&server, &server.key, form(&[("file", Some("x"), &gif(9))]));
    let (status, refusal) = response_json(upload).await;
    assert_eq!(status, 507, "{refusal}");
    assert!(refusal["detail"].as_str().unwrap().contains("disk is full"));
    for (path, body) in [
        (IMAGE_PATH, json!({"prompt": "a fox"})),
        (
            "/v1/images/generations",
            json!({"prompt": "a fox", "response_format": "url"}),
        ),
        ("/api/v1/chats/new", json!({"chat": {}})),
        (&chat_path, json!({"chat": {"title": "new"}})),
    ] {
        assert_eq!(server.post_json(path, &body).await.0, 507, "{path}");
    }
    assert_eq!(
        server
            .get(&content_url(&row))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    for path in [
        format!("/api/v1/files/{}", row["id"].as_str().unwrap()),
        chat_path,
    ] {
        let deletion = server
            .client
            .delete(server.url(&path))
            .bearer_auth(&server.key);
        assert_eq!(response_json(deletion).await.0, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn image_is_delivered_and_stored_later_if_database_is_locked() {
    let server = TestServer::start(&[]).await;
    let database = server.database.lock().await;
    let url = generate_image(&server, &server.key).await;
    assert_eq!(listed(&server).await, json!([]));
    assert_eq!(content_status(&server, &url).await, 200);
    let thumbnail = format!("/api/v1/files/{}/thumbnail", file_id(&url));
    assert_eq!(server.get(&thumbnail).send().await.unwrap().status(), 200);
    server.app.files.store_spooled().await;
    assert_eq!(listed(&server).await, json!([]));
    database.unlock().await;
    server.app.files.store_spooled().await;
    assert_eq!(listed(&server).await[0]["id"], file_id(&url));
    assert_eq!(content_status(&server, &url).await, 200);
    let spool = server.data_dir.path().join("spool");
    let records = fs::read_dir(spool).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().ends_with(".json")
    });
    assert_eq!(records.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn spooled_image_survives_restart_and_cleanup() {
    let server = TestServer::start(&[]).await;
    let database = server.database.lock().await;
    let url = generate_image(&server, &server.key).await;
    let deleted_url = generate_image(&server, &server.key).await;
    database.unlock().await;
    let path = server.data_dir.path().join("files").join(file_id(&url));
    super::sweep::set_age(&path, 2 * super::sweep::HOUR);
    let server = server.restart(&[]).await;
    let none = pinhole::files::Confirmation::None;
    let sweep = server.app.files.clean_up(None, none).await.unwrap();
    assert_eq!(sweep.orphaned, 0);
    assert_eq!(content_status(&server, &url).await, 200);
    let deleted = format!("/api/v1/files/{}", file_id(&deleted_url));
    let deletion = server
        .client
        .delete(server.url(&deleted))
        .bearer_auth(&server.key);
    assert_eq!(response_json(deletion).await.0, 200);
    for _ in 0..2 {
        server.app.files.store_spooled().await;
        let files = listed(&server).await;
        assert_eq!(
            (files.as_array().unwrap().len(), &files[0]["id"]),
            (1, &json!(file_id(&url)))
        );
    }
    assert_eq!(content_status(&server, &deleted_url).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_is_stored_if_no_further_file_can_be_opened() {
    let server = TestServer::start(&[]).await;
    let files = &server.app.files;
    files.store_spooled().await;
    let user = server
        .app
        .store
        .user_by_key(&server.key)
        .await
        .unwrap()
        .unwrap();
    let image = Image::from_bytes(gif(9).into(), pinhole::files::UPLOAD_LIMITS).unwrap();
    let save = async || {
        let images = std::slice::from_ref(&image);
        files
            .save_all(&user.id, images, &[ImageRecord::default()], None)
            .await
            .unwrap()
            .remove(0)
    };
    // Opens the connection that writes.
    save().await;
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(3, hard).unwrap();
    assert!(fs::File::open("/dev/null").is_err());
    let saved = save().await;
    Resource::NOFILE.set(soft, hard).unwrap();
    assert_eq!(listed(&server).await.as_array().unwrap().len(), 2);
    let stored = fs::read(server.data_dir.path().join("files").join(&saved.id)).unwrap();
    assert_eq!(stored, gif(9));
    assert_eq!(saved.hash, super::sha256_hex(&stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_fail_soon_if_database_is_locked() {
    let server = TestServer::start(&[]).await;
    let database = server.database.lock().await;
    let chat = json!({"chat": {}});
    let writes = (0..20).map(|_| server.post_json("/api/v1/chats/new", &chat));
    let responses = timeout(
        std::time::Duration::from_secs(15),
        futures_util::future::join_all(writes),
    );
    for (status, response) in responses.await.expect("writers wait for each other") {
        let expected = json!({"detail": "the server's database is busy: try again"});
        assert_eq!((status, response), (503, expected));
    }
    database.unlock().await;
    assert_eq!(server.post_json("/api/v1/chats/new", &chat).await.0, 200);
}
