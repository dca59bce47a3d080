//! The files of a chat: stored with their message in one transaction, and deleted with the chat.

use std::time::{Duration, SystemTime};

use http::Method;
use pinhole::files::ImageRecord;
use pinhole::jobs::{CompletedJob, ImageDetails, ImageOrigin, ImageProvenance};
use pinhole::store::{FileRow, MessageLink, User};
use pinhole_tests::{TestDatabase, TestServer};
use serde_json::{Value, json};

use super::{
    ask, conversation, create, delete, get, id, image, message, post, save_images, server, user,
};

/// An image that the administrator uploaded.
async fn upload(server: &TestServer) -> FileRow {
    let user = user(server, &server.key).await;
    let stored = server
        .app
        .files
        .save_as("fox.gif".to_owned(), &user, &image(9), &Value::Null)
        .await;
    stored.unwrap()
}

/// The conversation, with a file attached to its question.
fn conversation_with_file(file: &FileRow) -> Value {
    let mut chat = conversation();
    chat["history"]["messages"]["question"]["files"] =
        json!([{"type": "file", "id": file.id, "url": file.id, "content_type": "image/gif"}]);
    chat
}

async fn is_there(server: &TestServer, file: &FileRow) -> bool {
    let row = server.app.store.file(&file.id).await.unwrap();
    let bytes = server.data_dir.path().join("files").join(&file.id);
    assert_eq!(row.is_some(), bytes.exists());
    row.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_chat_deletes_its_files() {
    let server = server().await;
    let (mine, other) = (upload(&server).await, upload(&server).await);
    let chat = create(&server, &conversation_with_file(&mine)).await;
    let images = save_images(&server, &chat, &[1, 2]).await;
    // A file that another message names, and one that no message names any more.
    let thumbnail = format!("/api/v1/files/{}/thumbnail", images[0].id);
    let made_small = server.get(&thumbnail).send().await.unwrap();
    assert_eq!(made_small.status(), 200);
    assert_eq!(server.stored_files(), 5);
    let mut copy = conversation_with_file(&mine);
    copy["history"]["messages"]
        .as_object_mut()
        .unwrap()
        .remove("answer");
    post(&server, &chat, &json!({"chat": copy})).await;
    assert_eq!(delete(&server, &chat).await, true);
    assert!(is_there(&server, &other).await);
    for gone in [&mine, &images[0], &images[1]] {
        assert!(!is_there(&server, gone).await);
    }
    assert_eq!(server.stored_files(), 1, "thumbnails too");
    let again = ask(&server, Method::DELETE, &chat, &server.key, None).await;
    assert_eq!(again.0, 401);
    // The database has no row of it.
    for table in ["chats", "messages", "message_statuses", "message_files"] {
        let count = format!("SELECT COUNT(*) FROM {table}");
        let count = server.database.number(count).await;
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_file_is_deleted_with_its_last_chat() {
    let server = server().await;
    let mine = upload(&server).await;
    let chats = [
        create(&server, &conversation_with_file(&mine)).await,
        create(&server, &conversation_with_file(&mine)).await,
    ];
    delete(&server, &chats[0]).await;
    assert!(is_there(&server, &mine).await);
    delete(&server, &chats[1]).await;
    assert!(!is_there(&server, &mine).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_does_not_own_files_of_another_user() {
    let server = server().await;
    let second = server.add_second_user().await;
    let mine = upload(&server).await;
    let body = json!({"chat": conversation_with_file(&mine)});
    let (_, theirs) = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&body),
    )
    .await;
    // The message's file entry stays as the client sent it.
    let files = &theirs["chat"]["history"]["messages"]["question"]["files"];
    assert_eq!(files[0]["id"], mine.id);
    let theirs = super::path(&theirs);
    assert_eq!(
        ask(&server, Method::DELETE, &theirs, second, None).await.0,
        200
    );
    assert!(is_there(&server, &mine).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_all_deletes_only_the_users_chats() {
    let server = server().await;
    let second = server.add_second_user().await;
    let body = json!({"chat": conversation()});
    let (_, theirs) = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&body),
    )
    .await;
    let lone = upload(&server).await;
    let (first, last) = (
        create(&server, &conversation()).await,
        create(&server, &conversation()).await,
    );
    save_images(&server, &first, &[1]).await;
    save_images(&server, &last, &[2, 3]).await;
    post(&server, &format!("{last}/archive"), &json!({})).await;
    assert_eq!(delete(&server, "/api/v1/chats/").await, true);
    assert_eq!(get(&server, "/api/v1/chats/all").await, json!([]));
    assert_eq!(server.stored_files(), 1);
    assert!(is_there(&server, &lone).await);
    get(&server, &super::path(&theirs)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_file_leaves_its_message() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let images = save_images(&server, &chat, &[1, 2]).await;
    delete(&server, &format!("/api/v1/files/{}", images[0].id)).await;
    let files = message(&server, &chat, "answer").await["files"].take();
    assert_eq!(files.as_array().unwrap().len(), 1);
    assert_eq!(files[0]["id"], images[1].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_message_are_stored_in_one_transaction() {
    let server = server().await;
    let chat = create(&server, &json!({"title": "Foxes"})).await;
    // The database fails at the last row.
    let (fail, repair) = match server.database {
        TestDatabase::Sqlite(_) => (
            "CREATE TRIGGER fail BEFORE INSERT ON message_files
                WHEN NEW.position = -2 BEGIN SELECT RAISE(ABORT, 'full'); END",
            "DROP TRIGGER fail",
        ),
        TestDatabase::Postgres { .. } => (
            "ALTER TABLE message_files ADD CONSTRAINT full_table CHECK (position <> -2)",
            "ALTER TABLE message_files DROP CONSTRAINT full_table",
        ),
    };
    server.database.execute(fail, &[]).await;
    let user = user(&server, &server.key).await;
    let images = [image(1), image(2)];
    let link = Some(MessageLink {
        chat_id: id(&chat),
        message_id: "answer",
    });
    let metadata = vec![ImageRecord::default(); images.len()];
    let save_images_with_message = || server.app.files.save_all(&user, &images, &metadata, link);
    let error = format!("{:#}", save_images_with_message().await.unwrap_err());
    assert!(error.contains("full"), "{error}");
    assert_eq!(server.stored_files(), 0);
    assert_eq!(get(&server, "/api/v1/files/").await, json!([]));
    let current = get(&server, &chat).await;
    assert_eq!(
        current["chat"]["history"],
        json!({"messages": {}, "currentId": null})
    );

    server.database.execute(repair, &[]).await;
    let stored = save_images_with_message().await.unwrap();
    let files = message(&server, &chat, "answer").await["files"].take();
    assert_eq!(
        (&files[0]["id"], &files[1]["id"]),
        (&json!(stored[0].id), &json!(stored[1].id))
    );
    assert_eq!(server.stored_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_between_image_and_message_leaves_no_file() {
    let server = server().await;
    let chat = create(&server, &json!({"title": "Foxes"})).await;
    // No other client writes a row now.
    let lock = server.database.lock().await;
    let (app, user, id) = (
        server.app.clone(),
        user(&server, &server.key).await,
        id(&chat).to_owned(),
    );
    let saving = tokio::spawn(async move {
        let link = Some(MessageLink {
            chat_id: id.as_str(),
            message_id: "answer",
        });
        let images = [image(1)];
        app.files
            .save_all(&user, &images, &[ImageRecord::default()], link)
            .await
    });
    let directory = server.data_dir.path().join("files");
    let stored = || {
        let mut names = std::fs::read_dir(&directory)
            .unwrap()
            .map(|it| it.unwrap().path());
        names.find(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
    };
    while stored().is_none() {
        tokio::task::yield_now().await;
    }
    // The bytes are stored, and the process that stored them is gone.
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    lock.unlock().await;
    assert_eq!(get(&server, "/api/v1/files/").await, json!([]));
    let current = get(&server, &chat).await;
    assert_eq!(current["chat"]["history"]["messages"], json!({}));
    let bytes = std::fs::File::options().write(true).open(stored().unwrap());
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    bytes.unwrap().set_modified(long_ago).unwrap();
    server
        .app
        .files
        .clean_up(None, pinhole::files::Confirmation::None)
        .await
        .unwrap();
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_linked_only_to_writable_messages() {
    let server = server().await;
    let second = server.add_second_user().await;
    let chat = create(&server, &conversation()).await;
    let body = json!({"chat": conversation()});
    let (_, theirs) = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&body),
    )
    .await;
    let theirs = super::path(&theirs);
    let completed = CompletedJob {
        job: "job".to_owned(),
        engine: "sketch".to_owned(),
        binding: "sketch".to_owned(),
        engine_version: String::new(),
        digest: String::new(),
        images: vec![image(1)],
        image_details: vec![ImageDetails::default()],
        revised_prompt: None,
        details: json!({}),
        usage: None,
        cost: None,
        warnings: Vec::new(),
        engine_warnings: 0,
        provenance: ImageProvenance::default(),
    };
    let administrator = server
        .app
        .store
        .user_by_key(&server.key)
        .await
        .unwrap()
        .unwrap();
    let guest = server.app.store.user_by_key(second).await.unwrap().unwrap();
    let app = &server.app;
    let save = async |user: &User, path: &str| {
        let origin = ImageOrigin {
            chat_id: Some(id(path)),
            message_id: "answer",
            prompt: None,
        };
        completed
            .save(&app.files, &app.store, user, Some(origin))
            .await
            .unwrap()
    };
    // Another user's chat does not change: the image is only a file.
    let stored = save(&guest, &chat).await;
    assert_eq!(stored[0].user_id, guest.id);
    assert!(message(&server, &chat, "answer").await["files"].is_null());
    // An administrator's image in another user's chat belongs to the chat's owner.
    let linked = save(&administrator, &theirs).await;
    assert_eq!(linked[0].user_id, guest.id);
    let url = format!("/api/v1/files/{}", linked[0].id);
    assert_eq!(ask(&server, Method::GET, &url, second, None).await.0, 200);
    delete(&server, &theirs).await;
    assert_eq!(ask(&server, Method::GET, &url, second, None).await.0, 404);
    // A temporary chat and a missing chat are not created.
    for path in [
        "/api/v1/chats/local:5",
        "/api/v1/chats/temporary:5",
        "/api/v1/chats/gone",
    ] {
        let unlinked = save(&guest, path).await;
        assert!(is_there(&server, &unlinked[0]).await);
        assert_eq!(app.store.chat_owner(id(path)).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_user_deletes_chats() {
    let server = server().await;
    let second = server.add_second_user().await;
    let body = json!({"chat": conversation()});
    let (_, chat) = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&body),
    )
    .await;
    let link = Some(MessageLink {
        chat_id: chat["id"].as_str().unwrap(),
        message_id: "answer",
    });
    let stored = server
        .app
        .files
        .save_all("second", &[image(1)], &[ImageRecord::default()], link)
        .await;
    stored.unwrap();
    assert_eq!(delete(&server, "/api/v1/users/second").await, true);
    assert_eq!(server.stored_files(), 0);
    let gone = ask(&server, Method::GET, &super::path(&chat), &server.key, None).await;
    assert_eq!(gone.0, 401);
}
