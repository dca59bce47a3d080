//! Socket.IO connections without a user.

use super::*;

const HANDSHAKE: &str = "/ws/socket.io/?EIO=4&transport=polling";
/// Connections without a user from one IP address.
const MAX_ANONYMOUS: usize = 100;

/// Opens a connection from this client of the proxy.
fn handshake(server: &TestServer, client: &str) -> reqwest::RequestBuilder {
    let request = server.client.get(server.url(HANDSHAKE));
    request.header("x-forwarded-for", client)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_user_are_few_and_never_those_of_users() {
    let server = TestServer::start(&[("PINHOLE_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let mut first_id = String::new();
    for number in 0..MAX_ANONYMOUS {
        let response = handshake(&server, "1.1.1.1").send().await.unwrap();
        assert_eq!(response.status(), 200, "{number}");
        let opened = response.text().await.unwrap();
        let terms: Value = serde_json::from_str(opened.trim_start_matches('0')).unwrap();
        first_id = terms["sid"].as_str().unwrap().to_owned();
    }
    let refused = handshake(&server, "1.1.1.1").send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "10");
    let other = handshake(&server, "1.1.1.2").send().await.unwrap();
    assert_eq!(other.status(), 200);
    // Those of users, by key and by cookie.
    let with_key = handshake(&server, "1.1.1.1").bearer_auth(&server.key);
    assert_eq!(with_key.send().await.unwrap().status(), 200);
    let cookie = format!("token={}", server.key);
    let with_cookie = handshake(&server, "1.1.1.1").header("cookie", cookie);
    assert_eq!(with_cookie.send().await.unwrap().status(), 200);
    let unknown = handshake(&server, "1.1.1.1").bearer_auth("sk-unknown");
    assert_eq!(unknown.send().await.unwrap().status(), 429);

    // A connection that sends its token makes room.
    let url = server.url(&format!("{HANDSHAKE}&sid={first_id}"));
    let connect = format!("40{{\"token\":\"{}\"}}", server.key);
    let sent = server.client.post(&url).body(connect).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let connected = async {
        // The first packet may be a ping.
        loop {
            let polled = server.client.get(&url).send().await.unwrap();
            if polled.text().await.unwrap().contains("40{") {
                return;
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("not connected");
    let next = handshake(&server, "1.1.1.1").send().await.unwrap();
    assert_eq!(next.status(), 200);
}
