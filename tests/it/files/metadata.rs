//! File rows: description, lists, and deletion.

use pinhole_tests::{TestServer, gif};
use serde_json::{Value, json};

use super::{
    assert_not_found, content_url, file_id, generate_image, new_file, response_json, sha256_hex,
    upload,
};

fn path(row: &Value) -> String {
    format!("/api/v1/files/{}", row["id"].as_str().unwrap())
}

async fn ids(server: &TestServer, key: &str, query: &str) -> Vec<Value> {
    let url = server.url(&format!("/api/v1/files/{query}"));
    let (status, rows) = response_json(server.client.get(url).bearer_auth(key)).await;
    assert_eq!(status, 200, "{rows}");
    let rows = rows.as_array().unwrap();
    rows.iter().map(|row| row["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_of_generated_image_has_no_path() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, &server.key).await;
    let image = std::fs::read(server.data_dir.path().join("files").join(file_id(&url))).unwrap();
    let (status, mut row) =
        response_json(server.get(&format!("/api/v1/files/{}", file_id(&url)))).await;
    assert_eq!(status, 200);
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    let generation = row["meta"]["data"].take();
    assert_eq!(generation["engine"], "sketch");
    assert!(
        generation["job"].is_string() && generation["details"].is_object(),
        "{generation}"
    );
    let created_at = row["created_at"].take();
    assert!(created_at.as_i64().unwrap() > 1_700_000_000);
    assert_eq!(row["updated_at"].take(), created_at);
    let expected = json!({
        "id": file_id(&url),
        "user_id": user.unwrap().id,
        "hash": sha256_hex(&image),
        "filename": "generated-image.png",
        "data": {},
        "meta": {
            "name": "generated-image.png",
            "content_type": "image/png",
            "size": image.len(),
            "data": null,
        },
        "created_at": null,
        "updated_at": null,
    });
    assert_eq!(row, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_has_own_files_or_all_for_administrator() {
    let server = TestServer::start(&[]).await;
    let second = server.add_second_user().await;
    assert_eq!(ids(&server, second, "").await, Vec::<Value>::new());
    let mut theirs = Vec::new();
    for width in 1..=3 {
        theirs.push(upload(&server, second, "fox.gif", &gif(width)).await["id"].clone());
    }
    let mine = upload(&server, &server.key, "fox.gif", &gif(9)).await["id"].clone();
    let sorted = |mut ids: Vec<Value>| {
        ids.sort_by_key(Value::to_string);
        ids
    };
    assert_eq!(
        sorted(ids(&server, second, "").await),
        sorted(theirs.clone())
    );
    let all = [theirs.as_slice(), &[mine]].concat();
    assert_eq!(sorted(ids(&server, &server.key, "").await), sorted(all));
    // Also without the final slash.
    let bare = server.get("/api/v1/files");
    assert_eq!(response_json(bare).await.1.as_array().unwrap().len(), 4);
    // Successive pages have each file once.
    let mut paged = ids(&server, second, "?limit=2").await;
    assert_eq!(paged.len(), 2);
    paged.extend(ids(&server, second, "?limit=2&page=2").await);
    assert_eq!(paged, ids(&server, second, "?page=1&limit=1000").await);
    assert_eq!(ids(&server, second, "?page=3&limit=2").await.len(), 0);
    assert_eq!(
        ids(&server, second, "?page=4294967295&limit=1000")
            .await
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn list_starts_with_newest_file() {
    let server = TestServer::start(&[]).await;
    let mut file_ids = Vec::new();
    for (width, created_at) in [(1, 20), (2, 30), (3, 10)] {
        let row = upload(&server, &server.key, "fox.gif", &gif(width)).await;
        let mut file = server.app.store.file(row["id"].as_str().unwrap()).await;
        let file = file.as_mut().unwrap().as_mut().unwrap();
        server.app.store.delete_file(&file.id).await.unwrap();
        file.created_at = created_at;
        server
            .app
            .store
            .insert_files(&[new_file(file.clone())], None)
            .await
            .unwrap();
        file_ids.push(row["id"].clone());
    }
    let expected = [
        file_ids[1].clone(),
        file_ids[0].clone(),
        file_ids[2].clone(),
    ];
    assert_eq!(ids(&server, &server.key, "").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_page_is_refused() {
    let server = TestServer::start(&[]).await;
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "page=4294967296",
        "limit=0",
        "limit=1001",
        "limit=",
        "page=1&page=2",
    ] {
        let (status, body) = response_json(server.get(&format!("/api/v1/files/?{query}"))).await;
        assert_eq!(status, 400, "{query}");
        assert!(body["detail"].is_string(), "{query}: {body}");
    }
    let anonymous = server.client.get(server.url("/api/v1/files/"));
    assert_eq!(anonymous.send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_removes_file_and_thumbnails() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let other = upload(&server, &server.key, "hen.gif", &gif(8)).await;
    for size in [128, 1024] {
        let url = format!("{}/thumbnail?size={size}", path(&row));
        assert_eq!(server.get(&url).send().await.unwrap().status(), 200);
    }
    assert_eq!(server.stored_files(), 4);
    let delete = |key: &str| {
        server
            .client
            .delete(server.url(&path(&row)))
            .bearer_auth(key)
    };
    let second = server.add_second_user().await;
    assert_not_found("file of another user", delete(second)).await;
    let anonymous = server.client.delete(server.url(&path(&row)));
    assert_eq!(anonymous.send().await.unwrap().status(), 401);
    assert_eq!(server.stored_files(), 4);

    let body = json!({"message": "File deleted successfully"});
    assert_eq!(response_json(delete(&server.key)).await, (200, body));
    assert_eq!(server.stored_files(), 1);
    for url in [
        path(&row),
        content_url(&row),
        format!("{}/thumbnail", path(&row)),
    ] {
        assert_not_found(&url, server.get(&url)).await;
    }
    assert_not_found("removed already", delete(&server.key)).await;
    assert_eq!(
        server
            .get(&content_url(&other))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_deletes_file_of_other_user() {
    let server = TestServer::start(&[]).await;
    let second = server.add_second_user().await;
    let row = upload(&server, second, "fox.gif", &gif(9)).await;
    let url = server.url(&path(&row));
    let delete = server.client.delete(&url).bearer_auth(&server.key);
    assert_eq!(response_json(delete).await.0, 200);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_without_bytes_can_be_deleted() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let file = server
        .data_dir
        .path()
        .join("files")
        .join(row["id"].as_str().unwrap());
    std::fs::remove_file(file).unwrap();
    let url = server.url(&path(&row));
    let delete = server.client.delete(&url).bearer_auth(&server.key);
    assert_eq!(response_json(delete).await.0, 200);
    assert_not_found("removed", server.get(&path(&row))).await;
}
