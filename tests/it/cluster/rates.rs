//! Limits that hosts share.

use super::*;
use crate::cut::Network;

async fn statuses(host: &TestServer, path: &str, body: &Value, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(host.post_json(path, body).await.0);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_all_hosts_count_together() {
    let Some(hosts) = Hosts::start(&[("PINHOLE_REQUESTS_PER_MINUTE", "4")]).await else {
        return;
    };
    let path = "/api/v1/images/generations";
    let send = async |host, count| statuses(host, path, &json!({}), count).await;
    assert_eq!(send(&hosts.first, 2).await, [422, 422]);
    assert_eq!(send(&hosts.second, 3).await, [422, 422, 429]);
    let refused = hosts.first.post(path, &json!({})).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    // Without Redis, each host allows its own share: the second one has counted three.
    hosts.proxy.set(Network::Cut);
    let alone = send(&hosts.second, 3).await;
    assert_eq!(alone.last(), Some(&429), "{alone:?}");
    assert_eq!(alone.first(), Some(&422), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_sign_in_count_together() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let path = "/api/v1/auths/signin";
    let body = json!({"email": "nobody@example.org", "password": "wrong password"});
    let send = async |host, count| statuses(host, path, &body, count).await;
    // Less than a host allows by itself. A slow machine needs seconds for each, in which a few more are allowed.
    assert_eq!(send(&hosts.first, 12).await, [400; 12]);
    let other = send(&hosts.second, 12).await;
    assert_eq!(other.first(), Some(&400), "{other:?}");
    assert_eq!(other.last(), Some(&429), "{other:?}");
    let pattern = format!("{}:pinhole:rate:*", hosts.prefix);
    let keys: Vec<String> = hosts.command(&["KEYS", &pattern]).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("nobody")), "{keys:?}");
}
