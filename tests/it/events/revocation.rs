//! Open connections whose key or session becomes invalid.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::EventStream;
use super::socket_client::{PATIENCE, SocketClient};

const PASSWORD: &str = "correct horse";

/// Creates a user. Returns the user's id and session.
async fn create_user(server: &TestServer, name: &str) -> (String, String) {
    let email = format!("{name}@example.com");
    let account = json!({"name": name, "email": email, "password": PASSWORD, "role": "user"});
    let (status, response) = server.post_json("/api/v1/auths/add", &account).await;
    assert_eq!(status, 200, "{response}");
    let proof = json!({"email": email, "password": PASSWORD});
    let (sign_in_status, session) = server.post_json("/api/v1/auths/signin", &proof).await;
    assert_eq!(sign_in_status, 200, "{session}");
    let text = |field: &str| session[field].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

/// Opens a socket and an event stream with this session.
async fn listen_as(server: &TestServer, session: &str) -> (SocketClient, EventStream) {
    let socket = SocketClient::connect_as(server, session).await;
    let stream = server.client.get(server.url("/api/events"));
    let response = stream.bearer_auth(session).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let read = String::new();
    (socket, EventStream { response, read })
}

/// Waits until both have ended.
async fn assert_ended((mut socket, mut stream): (SocketClient, EventStream)) {
    // The server sends a disconnect packet before it closes.
    assert_eq!(socket.next().await.as_deref(), Some("41"));
    let ended = async { while let Ok(Some(_)) = stream.response.chunk().await {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_end_when_access_is_revoked() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let (_, leaving) = create_user(&server, "leaving").await;
    let (demoted, of_demoted) = create_user(&server, "demoted").await;
    let (removed, of_removed) = create_user(&server, "removed").await;
    let (changing, of_changing) = create_user(&server, "changing").await;
    let (_, staying) = create_user(&server, "staying").await;
    let listeners = [
        listen_as(&server, &leaving).await,
        listen_as(&server, &of_demoted).await,
        listen_as(&server, &of_removed).await,
        listen_as(&server, &of_changing).await,
    ];
    let (mut socket, _stream) = listen_as(&server, &staying).await;
    let (mut key, _of_key) = listen_as(&server, &server.key).await;
    // Another one of the same session, closed by the client.
    drop(listen_as(&server, &leaving).await);

    let signout = server.client.get(server.url("/api/v1/auths/signout"));
    let signout = signout.bearer_auth(&leaving).send().await.unwrap();
    assert_eq!(signout.status(), 200);
    for (id, change) in [
        (&demoted, json!({"role": "pending"})),
        (&changing, json!({"password": "another horse"})),
    ] {
        let (status, now) = server
            .post_json(&format!("/api/v1/users/{id}/update"), &change)
            .await;
        assert_eq!(status, 200, "{now}");
    }
    let url = server.url(&format!("/api/v1/users/{removed}"));
    let deletion = server.client.delete(url).bearer_auth(&server.key).send();
    assert_eq!(deletion.await.unwrap().status(), 200);

    for listener in listeners {
        assert_ended(listener).await;
    }
    // The other connections are still open.
    assert_ne!(socket.join(&staying).await, Value::Null);
    assert_ne!(key.join(&server.key).await, Value::Null);
    assert_eq!(server.app.events.listeners(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_follows_its_newest_session() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let (_, old) = create_user(&server, "ada").await;
    let proof = json!({"email": "ada@example.com", "password": PASSWORD});
    let (_, new) = server.post_json("/api/v1/auths/signin", &proof).await;
    let new = new["token"].as_str().unwrap();
    let mut renewed = SocketClient::connect_as(&server, &old).await;
    assert_ne!(renewed.join(new).await, Value::Null);
    let mut of_old = SocketClient::connect_as(&server, &old).await;
    let signout = server.client.get(server.url("/api/v1/auths/signout"));
    signout.bearer_auth(&old).send().await.unwrap();
    assert_eq!(of_old.next().await.as_deref(), Some("41"));
    assert_ne!(renewed.join(new).await, Value::Null);
}
