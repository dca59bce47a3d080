//! Operations on many files: search, deletion of all, concurrent uploads.

use http::Method;
use pinhole::files::{MAX_UPLOADING_BYTES, MAX_USER_UPLOADING_BYTES};
use pinhole_tests::{TestServer, gif};
use serde_json::{Value, json};

use super::{form, post_form, response_json, upload};

/// Searches with this key. Returns the status and the file names.
async fn search(server: &TestServer, key: &str, query: &str) -> (u16, Vec<String>) {
    let url = server.url(&format!("/api/v1/files/search?filename={query}"));
    let (status, files) = response_json(server.client.get(url).bearer_auth(key)).await;
    let name = |file: &Value| file["filename"].as_str().unwrap().to_owned();
    let names = files.as_array().into_iter().flatten().map(name);
    (status, names.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_files_by_name_pattern() {
    let server = TestServer::start(&[]).await;
    let second = server.add_second_user().await;
    for name in ["Fox.gif", "fix.gif", "hen_1.gif", "50%.gif"] {
        upload(&server, &server.key, name, &gif(9)).await;
    }
    upload(&server, second, "fox.gif", &gif(9)).await;
    for (pattern, expected) in [
        (
            "*",
            vec!["50%.gif", "Fox.gif", "fix.gif", "fox.gif", "hen_1.gif"],
        ),
        ("fox.gif", vec!["Fox.gif", "fox.gif"]),
        ("F?x.*", vec!["Fox.gif", "fix.gif", "fox.gif"]),
        ("hen_*", vec!["hen_1.gif"]),
        ("*%25*", vec!["50%.gif"]),
    ] {
        let (status, mut names) = search(&server, &server.key, pattern).await;
        names.sort();
        assert_eq!(
            (status, names),
            (200, expected.into_iter().map(str::to_owned).collect())
        );
    }
    assert_eq!(search(&server, second, "*").await.1, ["fox.gif"]);
    for nothing in ["fox", "?", "h_n*", "*%25gif", ""] {
        assert_eq!(
            search(&server, &server.key, nothing).await.0,
            404,
            "{nothing}"
        );
    }
    let none = server.get("/api/v1/files/search?filename=x");
    let none = response_json(none).await.1;
    assert_eq!(
        none,
        json!({"detail": "No files found matching the pattern."})
    );
    assert_eq!(
        search(&server, &server.key, "*&limit=2&page=3")
            .await
            .1
            .len(),
        1
    );
    for invalid in [&"x".repeat(201), "*&page=0", "*&limit=1001", "*&page=x"] {
        assert_eq!(
            search(&server, &server.key, invalid).await.0,
            400,
            "{invalid}"
        );
    }
    assert_eq!(
        response_json(server.get("/api/v1/files/search")).await.0,
        400
    );
    assert_eq!(search(&server, "sk-000000", "*").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_deletes_all_files() {
    let server = TestServer::start(&[]).await;
    let second = server.add_second_user().await;
    for key in [&server.key, second] {
        upload(&server, key, "fox.gif", &gif(9)).await;
    }
    let delete = async |key: &str| {
        let url = server.url("/api/v1/files/all");
        response_json(server.client.request(Method::DELETE, url).bearer_auth(key)).await
    };
    assert_eq!(delete(second).await.0, 401);
    assert_eq!(server.stored_files(), 2);
    let done = json!({"message": "All files deleted successfully"});
    assert_eq!(delete(&server.key).await, (200, done));
    assert_eq!(server.stored_files(), 0);
    assert_eq!(
        response_json(server.get("/api/v1/files/")).await.1,
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_share_memory_budget() {
    let server = TestServer::start(&[]).await;
    let image = gif(9);
    let send = || {
        post_form(
            &server,
            &server.key,
            form(&[("file", Some("fox.gif"), &image)]),
        )
    };
    let reserve = |user: &str| server.app.files.reserve_upload(user).unwrap();
    // Three users with their whole share, and one with the rest.
    let mut others = ["a", "b", "c", "d"].map(reserve);
    for other in &mut others[..3] {
        other.grow(MAX_USER_UPLOADING_BYTES).unwrap();
        other.grow(1).unwrap_err();
    }
    let left = MAX_UPLOADING_BYTES - 3 * MAX_USER_UPLOADING_BYTES;
    others[3].grow(left - image.len()).unwrap();
    // Each upload releases its memory.
    for _ in 0..3 {
        assert_eq!(response_json(send()).await.0, 200);
    }
    others[3].grow(1).unwrap();
    let (status, refused) = response_json(send()).await;
    assert_eq!(status, 503);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("retry later"), "{detail}");
    assert_eq!(server.stored_files(), 3);
    drop(others);
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    let mut own = reserve(&user.unwrap().id);
    own.grow(MAX_USER_UPLOADING_BYTES).unwrap();
    let (of_user, body) = response_json(send()).await;
    assert_eq!(of_user, 429, "{body}");
    drop(own);
    assert_eq!(response_json(send()).await.0, 200);
}
