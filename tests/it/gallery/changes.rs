//! Stars, deletion and its undo.

use http::Method;
use pinhole_tests::{TestServer, gif, long_image};
use serde_json::{Value, json};

use super::{
    GALLERY, ask, generate, get, images, let_time_pass, names, post, upload, upload_bytes, user_id,
};

const STAR: &str = "/api/v1/gallery/star";
const DELETE: &str = "/api/v1/gallery/delete";
const RESTORE: &str = "/api/v1/gallery/restore";

async fn server() -> TestServer {
    TestServer::with_engine("sketch", &[]).await
}

/// Deletes images. Returns the response.
async fn delete(server: &TestServer, key: &str, ids: &[&str]) -> Value {
    post(server, key, DELETE, json!({"ids": ids})).await
}

async fn restore(server: &TestServer, key: &str, ids: &[&str]) -> Value {
    post(server, key, RESTORE, json!({"ids": ids})).await
}

/// The bytes of files that the user occupies.
async fn occupied(server: &TestServer, key: &str) -> u64 {
    let user = user_id(server, key).await;
    server
        .app
        .store
        .storage_use(&user)
        .await
        .unwrap()
        .file_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn star_changes_own_images_only() {
    let server = server().await;
    let second = server.add_second_user().await;
    let mine = upload(&server, &server.key, "fox.gif").await;
    let theirs = upload(&server, second, "hen.gif").await;
    let star = async |key: &str, starred: bool| {
        let body = json!({"ids": [mine, theirs, "unknown", "' OR 1=1"], "starred": starred});
        post(&server, key, STAR, body).await["changed"].take()
    };
    assert_eq!(star(second, true).await, 1);
    assert_eq!(star(second, true).await, 0);
    assert_eq!(images(&server, &server.key, "").await[0]["starred"], false);
    assert_eq!(images(&server, second, "").await[0]["starred"], true);
    // An administrator does not change the stars of others either.
    assert_eq!(star(&server.key, true).await, 1);
    assert_eq!(star(&server.key, false).await, 1);
    assert_eq!(images(&server, second, "").await[0]["starred"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_image_is_hidden_everywhere_and_restored() {
    let server = server().await;
    let key = server.key.clone();
    let body = json!({"prompt": "a fox", "size": "64x48"});
    let made = generate(&server, &key, body).await;
    let (id, url) = (
        made[0]["id"].as_str().unwrap(),
        made[0]["url"].as_str().unwrap(),
    );
    let path = format!("/api/v1/files/{id}");
    let link = post(&server, &key, &format!("{path}/link"), json!({})).await;
    let link = link["url"].as_str().unwrap();
    let thumbnail = format!("{path}/thumbnail?size=128");
    assert_eq!(get(&server, &key, &thumbnail).await.0, 200);
    let (bytes, stored) = (occupied(&server, &key).await, server.stored_files());
    assert!(bytes > 0);
    let visible = async || {
        let status = async |shown: &str| get(&server, &key, shown).await.0;
        let linked = server.client.get(link).send().await.unwrap();
        [
            status(&path).await,
            status(url).await,
            status(&format!("{url}/fox.png")).await,
            status(&thumbnail).await,
            status(&format!("{GALLERY}/{id}")).await,
            status(&format!("{GALLERY}/zip?ids={id}")).await,
            status("/api/v1/files/search?filename=generated*").await,
            linked.status().as_u16(),
        ]
    };
    assert_eq!(visible().await, [200; 8]);

    let deletion = delete(&server, &key, &[id, id, "unknown"]).await;
    assert_eq!(deletion["deleted"], 1);
    assert_eq!(visible().await, [404; 8]);
    assert_eq!(get(&server, &key, "/api/v1/files/").await.1, json!([]));
    assert_eq!(names(&server, &key, "").await.len(), 0);
    let (_, facets) = get(&server, &key, &format!("{GALLERY}/facets")).await;
    assert_eq!(facets["total"], 0);
    assert_eq!(occupied(&server, &key).await, 0);
    assert_eq!(server.stored_files(), stored, "the bytes remain");
    let star = post(&server, &key, STAR, json!({"ids": [id], "starred": true})).await;
    assert_eq!(star["changed"], 0);
    let as_source = json!({"prompt": "blue", "image": id});
    let edit = ask(
        &server,
        Method::POST,
        "/api/v1/images/edit",
        &key,
        Some(&as_source),
    )
    .await;
    assert_eq!(edit.0, 400, "{}", edit.1);
    assert_eq!(delete(&server, &key, &[id]).await["deleted"], 0);
    let single = ask(&server, Method::DELETE, &path, &key, None).await;
    assert_eq!(single.0, 404);
    // A cleanup does not take the bytes for orphaned.
    server.app.files.remove_deleted().await;
    let_files_age(&server);
    let confirmation = pinhole::files::Confirmation::None;
    server.app.files.clean_up(None, confirmation).await.unwrap();
    assert_eq!(server.stored_files(), stored);

    assert_eq!(restore(&server, &key, &[id]).await["restored"], 1);
    assert_eq!(visible().await, [200; 8]);
    assert_eq!(occupied(&server, &key).await, bytes);
    assert_eq!(restore(&server, &key, &[id]).await["restored"], 0);
}

/// Makes all bytes older than what the cleanup spares.
fn let_files_age(server: &TestServer) {
    for entry in std::fs::read_dir(server.data_dir.path().join("files")).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(entry.unwrap().path());
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
        file.unwrap().set_modified(long_ago).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_image_returns_to_its_chat() {
    let server = server().await;
    let chat = json!({"chat": {"title": "Foxes", "history": {"messages": {}, "currentId": null}}});
    let chat = post(&server, &server.key, "/api/v1/chats/new", chat).await;
    let path = format!("/api/v1/chats/{}", chat["id"].as_str().unwrap());
    let turn = json!({
        "model": "sketch", "chat_id": chat["id"], "id": "answer", "stream": false,
        "messages": [{"role": "user", "content": "draw a fox"}],
        "features": {"image_generation": true}, "image_generation": {"size": "64x48"},
    });
    post(&server, &server.key, "/api/chat/completions", turn).await;
    let message_files = async || {
        let (status, mut stored) = get(&server, &server.key, &path).await;
        assert_eq!(status, 200, "{stored}");
        stored["chat"]["history"]["messages"]["answer"]["files"].take()
    };
    let before = message_files().await;
    let id = before[0]["id"].as_str().unwrap().to_owned();
    delete(&server, &server.key, &[&id]).await;
    assert_eq!(message_files().await, Value::Null);
    // A client saves the copy that it had before, and one that it loaded since.
    for files in [before.clone(), json!([])] {
        let (_, mut copy) = get(&server, &server.key, &path).await;
        copy["chat"]["history"]["messages"]["answer"]["files"] = files;
        post(&server, &server.key, &path, json!({"chat": copy["chat"]})).await;
        assert_eq!(message_files().await, Value::Null);
    }
    restore(&server, &server.key, &[&id]).await;
    assert_eq!(message_files().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_removed_after_the_undo_time_even_by_a_later_process() {
    let server = server().await;
    let (old, new) = (
        upload(&server, &server.key, "old.gif").await,
        upload(&server, &server.key, "new.gif").await,
    );
    let deletion = delete(&server, &server.key, &[&old]).await;
    let until = deletion["undo_until"].as_i64().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    assert!((now + 20..=now + 30).contains(&until), "{until}");
    // Ten seconds are always enough.
    let_time_pass(&server, 10).await;
    server.app.files.remove_deleted().await;
    assert_eq!(restore(&server, &server.key, &[&old]).await["restored"], 1);
    delete(&server, &server.key, &[&old]).await;
    let_time_pass(&server, 31).await;
    delete(&server, &server.key, &[&new]).await;
    assert_eq!(restore(&server, &server.key, &[&old]).await["restored"], 0);
    assert_eq!(server.stored_files(), 2);
    let engines = tempfile::tempdir().unwrap();
    let variables = [("PINHOLE_ENGINES", engines.path().to_str().unwrap())];
    let restarted = server.restart(&variables).await;
    restarted.app.files.remove_deleted().await;
    assert_eq!(restarted.stored_files(), 1);
    assert_eq!(
        restore(&restarted, &restarted.key, &[&old]).await["restored"],
        0
    );
    assert_eq!(
        restore(&restarted, &restarted.key, &[&new]).await["restored"],
        1
    );
    assert_eq!(names(&restarted, &restarted.key, "").await, ["new.gif"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_images_are_neither_deleted_nor_restored() {
    let server = server().await;
    let second = server.add_second_user().await;
    let mine = upload(&server, &server.key, "fox.gif").await;
    let theirs = upload(&server, second, "hen.gif").await;
    assert_eq!(delete(&server, second, &[&mine]).await["deleted"], 0);
    assert_eq!(delete(&server, &server.key, &[&theirs]).await["deleted"], 0);
    assert_eq!(delete(&server, second, &[&theirs]).await["deleted"], 1);
    assert_eq!(
        restore(&server, &server.key, &[&theirs]).await["restored"],
        0
    );
    // An administrator sees deleted images no more than others.
    let path = format!("/api/v1/files/{theirs}/content");
    assert_eq!(get(&server, &server.key, &path).await.0, 404);
    assert_eq!(restore(&server, second, &[&theirs]).await["restored"], 1);
    assert_eq!(names(&server, &server.key, "").await, ["fox.gif"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_ids_are_refused() {
    let server = server().await;
    let ids: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    for path in [STAR, DELETE, RESTORE] {
        let body = |some: &[String]| json!({"ids": some, "starred": true});
        let many = ask(&server, Method::POST, path, &server.key, Some(&body(&ids))).await;
        assert_eq!(many.0, 400, "{path}");
        assert_eq!(
            many.1["detail"],
            "ids has 201 ids, more than 200: send several requests"
        );
        post(&server, &server.key, path, body(&ids[..200])).await;
        post(&server, &server.key, path, body(&[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_does_not_exceed_the_quota_with_what_was_stored_meanwhile() {
    let variables = [("PINHOLE_USER_STORAGE_MIB", "1")];
    let server = TestServer::with_engine("sketch", &variables).await;
    let key = server.add_second_user().await;
    let large = long_image(600 << 10);
    let first = upload_bytes(&server, key, "first.png", &large).await;
    let small = upload_bytes(&server, key, "small.gif", &gif(9)).await;
    delete(&server, key, &[&first]).await;
    let second = upload_bytes(&server, key, "second.png", &large).await;
    let body = json!({"ids": [first]});
    let (status, refusal) = ask(&server, Method::POST, RESTORE, key, Some(&body)).await;
    assert_eq!(status, 413, "{refusal}");
    let detail = refusal["detail"].as_str().unwrap();
    assert!(detail.contains("delete some first"), "{detail}");
    // Nor if the image that was stored meanwhile is deleted and restored, too.
    delete(&server, key, &[&second]).await;
    assert_eq!(restore(&server, key, &[&first]).await["restored"], 1);
    let both = json!({"ids": [first, second]});
    let refused = ask(&server, Method::POST, RESTORE, key, Some(&both)).await;
    assert_eq!(refused.0, 413);
    delete(&server, key, &[&small]).await;
    assert_eq!(restore(&server, key, &[&small]).await["restored"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_restores_an_image_that_exceeded_the_quota_before() {
    let variables = [("PINHOLE_USER_STORAGE_MIB", "1")];
    let server = TestServer::with_engine("sketch", &variables).await;
    let key = server.add_second_user().await;
    upload_bytes(&server, key, "large.png", &long_image((1 << 20) - 1000)).await;
    // The last image of a job may exceed the quota.
    let body = json!({"prompt": "a fox", "size": "512x512"});
    let made = generate(&server, key, body).await;
    let id = made[0]["id"].as_str().unwrap();
    assert!(occupied(&server, key).await > 1 << 20);
    delete(&server, key, &[id]).await;
    assert_eq!(restore(&server, key, &[id]).await["restored"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_with_deleted_images_can_be_removed() {
    let server = server().await;
    let second = server.add_second_user().await;
    let theirs = upload(&server, second, "hen.gif").await;
    delete(&server, second, &[&theirs]).await;
    let path = "/api/v1/users/second";
    let removed = ask(&server, Method::DELETE, path, &server.key, None).await;
    assert_eq!(removed, (200, json!(true)));
    assert_eq!(server.stored_files(), 0);
}
