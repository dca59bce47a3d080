//! Lists of chats: pages, search, pinned and archived chats, export.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{ask, conversation, create, get, path, post, server};

/// The titles in a list, in its order.
async fn titles(server: &TestServer, list: &str) -> Vec<String> {
    let list = get(server, &format!("/api/v1/chats{list}")).await;
    let title = |chat: &Value| chat["title"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(title).collect()
}

async fn titled(server: &TestServer, title: &str) -> String {
    create(server, &json!({"title": title})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn list_has_pages_of_sixty() {
    let server = server().await;
    for at in 0..61 {
        titled(&server, &format!("chat {at}")).await;
    }
    let all = titles(&server, "/").await;
    assert_eq!(all.len(), 61);
    let first = titles(&server, "/?page=1").await;
    let second = titles(&server, "/list?page=2").await;
    assert_eq!((first.len(), second.len()), (60, 1));
    assert_eq!([first, second].concat(), all);
    assert_eq!(titles(&server, "/?page=4294967295").await.len(), 0);
    let line = &get(&server, "/api/v1/chats?page=1").await[0];
    let mut fields: Vec<_> = line.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(
        fields,
        ["created_at", "id", "last_read_at", "title", "updated_at"]
    );
    for wrong in [
        "/?page=0",
        "/?page=x",
        "/?include_pinned=maybe",
        "/search",
        "/archived?page=-1",
    ] {
        let path = format!("/api/v1/chats{wrong}");
        assert_eq!(
            ask(&server, Method::GET, &path, &server.key, None).await.0,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pin_and_archive_move_a_chat_between_lists() {
    let server = server().await;
    let (top, away) = (titled(&server, "top").await, titled(&server, "away").await);
    titled(&server, "plain").await;
    let pinned = post(&server, &format!("{top}/pin"), &json!({})).await;
    assert_eq!(
        (&pinned["pinned"], path(&pinned)),
        (&json!(true), top.clone())
    );
    let put_away = post(&server, &format!("{away}/archive"), &json!({})).await;
    assert_eq!(put_away["archived"], true);
    assert_eq!(titles(&server, "/").await, ["plain"]);
    let mut with_pinned = titles(&server, "/?include_pinned=true").await;
    with_pinned.sort();
    assert_eq!(with_pinned, ["plain", "top"]);
    assert_eq!(titles(&server, "/pinned").await, ["top"]);
    assert_eq!(titles(&server, "/archived").await, ["away"]);
    assert_eq!(titles(&server, "/archived?query=AWA").await, ["away"]);
    assert_eq!(titles(&server, "/archived?query=top").await.len(), 0);
    assert_eq!(titles(&server, "/all").await.len(), 3);
    assert_eq!(titles(&server, "/all/archived").await, ["away"]);
    assert_eq!(get(&server, &format!("{top}/pinned")).await, true);

    post(&server, &format!("{top}/pin"), &json!({})).await;
    post(&server, &format!("{away}/archive"), &json!({})).await;
    assert_eq!(titles(&server, "/").await.len(), 3);
    assert_eq!(get(&server, &format!("{top}/pinned")).await, false);
    assert_eq!(get(&server, &format!("{top}/tags")).await, json!([]));
    assert_eq!(get(&server, "/api/v1/chats/all/tags").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_titles_and_messages() {
    let server = server().await;
    let mut chat = conversation();
    chat["title"] = json!("Füchse 100%_\\ \"rot\"");
    create(&server, &chat).await;
    let mut quoting = conversation();
    quoting["history"]["messages"]["answer"]["content"] = json!("50%\\ of \"them\"");
    quoting["title"] = json!("Hens");
    create(&server, &quoting).await;
    assert_eq!(titles(&server, &url_of("0%\\ OF \"")).await, ["Hens"]);
    assert_eq!(titles(&server, &url_of("draw a")).await.len(), 2);
    for found in ["Füchse", "100%", "%_\\", "\"ROT\"", " rot"] {
        let url = url_of(found);
        assert_eq!(titles(&server, &url).await.len(), 1, "{found}");
    }
    for nothing in ["h_ns", "100%0", "wolf", "draw%fox", "assistant"] {
        let url = url_of(nothing);
        assert_eq!(titles(&server, &url).await.len(), 0, "{nothing}");
    }
    assert_eq!(titles(&server, "/search?text=").await.len(), 2);
    let long = format!("/api/v1/chats/search?text={}", "x".repeat(501));
    assert_eq!(
        ask(&server, Method::GET, &long, &server.key, None).await.0,
        400
    );
}

fn url_of(text: &str) -> String {
    let byte = |byte: u8| format!("%{byte:02x}");
    format!(
        "/search?text={}",
        text.bytes().map(byte).collect::<String>()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn export_contains_all_chats_completely() {
    let server = server().await;
    assert_eq!(get(&server, "/api/v1/chats/all").await, json!([]));
    let chats = [
        create(&server, &conversation()).await,
        titled(&server, "Hens").await,
    ];
    let all = get(&server, "/api/v1/chats/all").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    for chat in all.as_array().unwrap() {
        assert!(chats.contains(&path(chat)));
        assert_eq!(get(&server, &path(chat)).await, *chat);
    }
}
