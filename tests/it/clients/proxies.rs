//! The IP addresses of clients behind proxies.

use super::*;

/// Attempts to sign in from one IP address.
const MAX_ATTEMPTS: usize = 60;

async fn sign_in(server: &TestServer, forwarded_for: &str) -> u16 {
    let request = server
        .client
        .post(server.url("/api/v1/auths/signin"))
        .header("x-forwarded-for", forwarded_for)
        .body("{}");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_have_their_own_sign_in_limits() {
    let server = TestServer::start(&[("PINHOLE_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")]).await;
    for attempt in 0..MAX_ATTEMPTS {
        // The client writes the left end.
        let hops = format!("6.6.6.{attempt}, 1.1.1.1, 10.0.0.1");
        assert_eq!(sign_in(&server, &hops).await, 400, "{attempt}");
    }
    assert_eq!(sign_in(&server, "6.6.6.200, 1.1.1.1, 10.0.0.2").await, 429);
    assert_eq!(sign_in(&server, "1.1.1.2").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_header_without_trusted_proxy_changes_nothing() {
    for variables in [&[][..], &[("PINHOLE_TRUSTED_PROXIES", "10.0.0.1")]] {
        let server = TestServer::start(variables).await;
        for attempt in 0..MAX_ATTEMPTS {
            let forged = format!("6.6.6.{attempt}");
            assert_eq!(sign_in(&server, &forged).await, 400, "{attempt}");
        }
        assert_eq!(sign_in(&server, "6.6.6.200").await, 429);
    }
}
