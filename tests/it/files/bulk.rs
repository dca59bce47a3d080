//! Operations on many files: search, deletion of all, concurrent uploads.

use http::Method;
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
async fn uploads_use_the_memory_of_their_user() {
    let server = TestServer::start(&[("PINHOLE_MEMORY_MIB", "192")]).await;
    let image = gif(9);
    let send = || {
        post_form(
            &server,
            &server.key,
            form(&[("file", Some("fox.gif"), &image)]),
        )
    };
    let memory = &server.app.memory;
    // Each upload releases its memory.
    for _ in 0..3 {
        assert_eq!(response_json(send()).await.0, 200);
        assert_eq!(memory.held_bytes(), 0);
    }
    let (_, user) = response_json(server.get("/api/v1/auths/")).await;
    let own = memory.of(user["id"].as_str());
    let own = own.lease(memory.max_bytes() / 2).await.unwrap();
    let response = send().send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "2");
    let refused: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("your other requests"), "{detail}");
    assert_eq!(server.stored_files(), 3);
    drop(own);
    assert_eq!(response_json(send()).await.0, 200);
}
