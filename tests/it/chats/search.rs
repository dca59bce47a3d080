//! Limits of searches.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use super::{ask, conversation, create, delete, get, server};

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_indexed_chats_of_the_caller_only() {
    let server = server().await;
    let second = server.add_second_user().await;
    let chat = create(&server, &conversation()).await;
    while server.app.store.index_batch().await.unwrap() {}
    let search = "/api/v1/chats/search?text=DRAW%20A%20F";
    assert_eq!(get(&server, search).await[0]["title"], "Foxes");
    let theirs = ask(&server, Method::GET, search, second, None).await;
    assert_eq!(theirs, (200, json!([])));
    delete(&server, &chat).await;
    assert_eq!(get(&server, search).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_of_one_user_are_limited() {
    let server = server().await;
    let second = server.add_second_user().await;
    create(&server, &conversation()).await;
    let many = (0..200).map(|_| {
        let request = server.get("/api/v1/chats/search?text=fox");
        async move { request.send().await.unwrap() }
    });
    let mut refused = 0;
    for response in join_all(many).await {
        match response.status().as_u16() {
            200 => {}
            429 => {
                assert_eq!(response.headers()["retry-after"], "1");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let search = "/api/v1/chats/search?text=fox";
    assert_eq!(ask(&server, Method::GET, search, second, None).await.0, 200);
}
